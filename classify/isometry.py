"""Exact reductions: a rotation into the span of the rows changes no distance and no inner product between them."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from .eigenbasis import Eigenbasis

ROUNDING = 1e-6  # of a squared length of 1


class UnitRows(TransformerMixin, BaseEstimator):
    """Bring rows to unit length, which puts every backbone on one scale; float16 rows become float32."""

    def fit(self, X: npt.ArrayLike, y: Any = None) -> "UnitRows":
        """Learn nothing but the number of columns."""
        validate_data(self, X, dtype=[np.float32, np.float64])
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n, d)``; a row of zeros stays one."""
        check_is_fitted(self, "n_features_in_")
        return unit(validate_data(self, X, dtype=[np.float32, np.float64], reset=False))


class UnitSpan(TransformerMixin, BaseEstimator):
    """Bring rows to unit length and rotate them into the span of the fitted ones: at most ``n`` dimensions, not ``d``.

    The rotation leaves L2-penalised linear heads, nearest neighbours and centroids their answers (the representer
    theorem; the part of a new row outside the span is at right angles to every fitted row, and its length is kept as
    one more coordinate). It uses no labels and keeps every distance to a fitted row, so it may come before folds are
    cut. Where ``n >= d`` there is nothing to rotate.

    Attributes
    ----------
    components_
        ``(d, r)`` float32 with orthonormal columns, or None where rows pass unchanged.
    """

    def fit(self, X: npt.ArrayLike, y: Any = None) -> "UnitSpan":
        """Find the span of ``X``, ``(n, d)``, from the eigenvectors of its ``(n, n)`` Gram matrix."""
        return self.fit_prepared(Eigenbasis(unit(validate_data(self, X, dtype=[np.float32, np.float64]))))

    def fit_prepared(self, basis: Eigenbasis) -> "UnitSpan":
        """Find the span of rows of unit length whose eigenbasis may be known already."""
        self.n_features_in_ = basis.dim
        self.components_: npt.NDArray[np.float32] | None = None
        if basis.wide:
            span = basis.restore(np.eye(len(basis.values))).T
            self.components_ = np.linalg.qr(span)[0].astype(np.float32)
        self.fitted_ = True
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n, r + 1)`` coordinates in the span, float16 input in float32.

        The last one is the distance to the span: 0 for fitted rows, it keeps a new row's distance to each of them.
        """
        check_is_fitted(self)
        rows = unit(validate_data(self, X, dtype=[np.float32, np.float64], reset=False))
        if self.components_ is None:
            return rows
        inside = rows @ self.components_.astype(rows.dtype)
        outside = np.square(rows, dtype=np.float64).sum(axis=1) - np.square(inside, dtype=np.float64).sum(axis=1)
        # What float32 leaves of a fitted row is rounding, and its root would be large.
        return np.column_stack([inside, np.sqrt(np.where(outside < ROUNDING, 0, outside)).astype(rows.dtype)])


def unit(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Divide rows by their length; a row of zeros stays one."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length == 0, 1, length))
