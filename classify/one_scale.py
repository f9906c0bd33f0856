"""Rows on one scale: a preparation that a plain last layer can take in, as it cannot take in rows of unit length."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data


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
        square = float(np.einsum("nd,nd->", rows, rows, dtype=np.float64)) / len(rows)
        self.scale_ = square**0.5 or 1.0
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n, d)``."""
        check_is_fitted(self, "scale_")
        rows = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        return np.asarray(rows / rows.dtype.type(self.scale_))
