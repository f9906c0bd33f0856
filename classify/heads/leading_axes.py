"""Leading axes: fewer columns for heads that would take minutes over thousands."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..solvers.eigenbasis import Eigenbasis
from .base import exported, validated


@exported
class LeadingAxes(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Coordinates along the leading eigenvectors of the second moment; each fold fits its own, as others are dropped.

    Parameters
    ----------
    count
        The most axes.

    Attributes
    ----------
    components_
        ``(axes, d)``, orthonormal rows.
    """

    def __init__(self, count: int = 64) -> None:
        self.count = count

    def fit(self, X: npt.ArrayLike, y: Any = None) -> "LeadingAxes":
        """Find the axes of ``X``, ``(n, d)``."""
        rows = validated(self, X, dtype=[np.float32, np.float64])
        basis = Eigenbasis(rows)
        components = basis.restore(np.eye(len(basis.values))[: self.count])
        self.components_ = (components if len(components) else np.zeros((1, basis.dim))).astype(rows.dtype)
        return self

    @property
    def _n_features_out(self) -> int:
        """The number of axes, for the names of columns."""
        return len(self.components_)

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n, axes)``."""
        check_is_fitted(self)
        rows = validated(self, X, dtype=[np.float32, np.float64], reset=False)
        axes = self.components_.astype(np.float64).T
        return Eigenbasis(rows).margins(None, axes, np.zeros(axes.shape[1])).astype(rows.dtype)
