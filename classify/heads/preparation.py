"""Preparations of rows, which all heads share: unit length by default, or one scale."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ..arrays import unit
from .base import exported


@exported
class UnitRows(TransformerMixin, BaseEstimator):
    """Bring rows to unit length, which puts every backbone on one scale; float16 rows become float32.

    Unlike scikit-learn's ``Normalizer`` it does not square float16 numbers, most of which would overflow.
    """

    def fit(self, X: npt.ArrayLike, y: Any = None) -> "UnitRows":
        """Learn nothing but the number of columns."""
        validate_data(self, X, dtype=[np.float32, np.float64])
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n, d)``; a row of zeros stays one."""
        check_is_fitted(self, "n_features_in_")
        return unit(validate_data(self, X, dtype=[np.float32, np.float64], reset=False))


@exported
class OneScale(TransformerMixin, BaseEstimator):
    """Divide all rows by one number, the root mean square length of the fitted ones.

    Attributes
    ----------
    scale_
        That number; 1 where all rows are zero.
    """

    def fit(self, X: npt.ArrayLike, y: Any = None) -> "OneScale":
        """Measure the rows."""
        rows = validate_data(self, X, dtype=[np.float32, np.float64])
        largest = float(np.abs(rows).max()) or 1.0  # float64 has no square of the longest rows that it has
        shares = rows / rows.dtype.type(largest)
        self.scale_ = (
            largest * (float(np.einsum("nd,nd->", shares, shares, dtype=np.float64)) / len(rows)) ** 0.5 or 1.0
        )
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n, d)``."""
        check_is_fitted(self, "scale_")
        rows = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        return np.asarray(np.divide(rows, np.float64(self.scale_), out=np.empty_like(rows), casting="same_kind"))


PREPARATIONS: dict[str, Callable[[], Any]] = {"unit": UnitRows, "scale": OneScale}
