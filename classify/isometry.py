"""Exact reductions: a rotation into the span of the rows changes no distance and no inner product between them."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

ROUNDING = 1e-6  # of a squared length of 1


class UnitSpan(TransformerMixin, BaseEstimator):
    """Bring rows to unit length and rotate them into the span of the fitted ones: at most ``n`` dimensions, not ``d``.

    Unit length puts every backbone on one scale. The rotation leaves L2-penalised linear heads, nearest neighbours and
    centroids their answers (the representer theorem; the part of a new row outside the span is at right angles to every
    fitted row, and its length is kept as one more coordinate). It uses no labels and keeps every distance to a fitted
    row, so it may come before folds are cut. Where ``n >= d`` there is nothing to rotate.

    Attributes
    ----------
    components_
        ``(d, r)`` float32 with orthonormal columns, or None where rows pass unchanged.
    """

    def fit(self, X: npt.ArrayLike, y: Any = None) -> "UnitSpan":
        """Find the span of ``X``, ``(n, d)``, from the eigenvectors of its ``(n, n)`` Gram matrix."""
        rows = _unit(validate_data(self, X, dtype=[np.float32, np.float64]))
        self.components_: npt.NDArray[np.float32] | None = None
        if rows.shape[0] < rows.shape[1]:
            wide = rows.astype(np.float64)
            values, vectors = np.linalg.eigh(wide @ wide.T)
            kept = values > values.max(initial=0) * len(values) * np.finfo(np.float64).eps
            basis = wide.T @ (vectors[:, kept] / np.sqrt(values[kept]))
            self.components_ = np.linalg.qr(basis)[0].astype(np.float32)
        self.fitted_ = True
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n, r + 1)`` coordinates in the span, float16 input in float32.

        The last one is the distance to the span: 0 for fitted rows, it keeps a new row's distance to each of them.
        """
        check_is_fitted(self)
        rows = _unit(validate_data(self, X, dtype=[np.float32, np.float64], reset=False))
        if self.components_ is None:
            return rows
        inside = rows @ self.components_.astype(rows.dtype)
        outside = np.square(rows, dtype=np.float64).sum(axis=1) - np.square(inside, dtype=np.float64).sum(axis=1)
        # What float32 leaves of a fitted row is rounding, and its root would be large.
        return np.column_stack([inside, np.sqrt(np.where(outside < ROUNDING, 0, outside)).astype(rows.dtype)])


def _unit(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Divide rows by their length; a row of zeros stays one."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length == 0, 1, length))
