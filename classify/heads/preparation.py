"""Preparations of rows, which all heads share: unit length by default, one scale, or standardised columns."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ..arrays import Floats, unit
from .base import exported, validated

BLOCK = 2048  # rows that are turned into float64 at once


@exported
class UnitRows(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Bring rows to unit length, which puts every backbone on one scale; float16 rows become float32.

    Unlike scikit-learn's ``Normalizer`` it does not square float16 numbers, most of which would overflow.
    """

    def fit(self, X: npt.ArrayLike, y: Any = None) -> "UnitRows":
        """Learn nothing but the number of columns."""
        validated(self, X, dtype=[np.float32, np.float64])
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n, d)``; a row of zeros stays one."""
        check_is_fitted(self, "n_features_in_")
        return unit(validated(self, X, dtype=[np.float32, np.float64], reset=False))


@exported
class OneScale(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Divide all rows by one number, the root mean square length of the fitted ones.

    Attributes
    ----------
    scale_
        That number; 1 where all rows are zero.
    """

    def fit(self, X: npt.ArrayLike, y: Any = None) -> "OneScale":
        """Measure the rows."""
        rows = validated(self, X, dtype=[np.float32, np.float64])
        largest = float(np.abs(rows).max()) or 1.0  # float64 has no square of the longest rows that it has
        shares = rows / rows.dtype.type(largest)
        self.scale_ = (
            largest * (float(np.einsum("nd,nd->", shares, shares, dtype=np.float64)) / len(rows)) ** 0.5 or 1.0
        )
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n, d)``."""
        check_is_fitted(self, "scale_")
        rows = validated(self, X, dtype=[np.float32, np.float64], reset=False)
        return np.asarray(np.divide(rows, np.float64(self.scale_), out=np.empty_like(rows), casting="same_kind"))


@exported
class StandardRows(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Bring every column to mean 0 and one spread, so that rows have unit length on average.

    That is scikit-learn's ``StandardScaler``, and division by the square root of the number of columns: penalties,
    widths and learning rates then mean the same for every backbone. It measures the columns of the rows it is fitted
    on, so every fold has its own.

    Attributes
    ----------
    mean_, scale_
        ``(d,)``: what is taken off, and what the rest is divided by. A column of equal numbers becomes zeros.
    """

    def fit(self, X: npt.ArrayLike, y: Any = None) -> "StandardRows":
        """Measure the columns, in float64."""
        rows = validated(self, X, dtype=[np.float32, np.float64])
        self.mean_ = rows.mean(axis=0, dtype=np.float64)
        squares = sum(np.square(rows[block] - self.mean_).sum(axis=0) for block in _blocks(len(rows)))
        spread = np.asarray(squares / len(rows), np.float64)
        rounding = len(rows) * np.finfo(np.float64).eps  # of StandardScaler
        constant = spread <= rounding * spread + np.square(rounding * self.mean_)
        self.scale_ = np.sqrt(np.where(constant, 1.0, spread) * rows.shape[1])
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n, d)``."""
        check_is_fitted(self, "scale_")
        rows = validated(self, X, dtype=[np.float32, np.float64], reset=False)
        prepared: npt.NDArray[Any] = np.empty_like(rows)
        for block in _blocks(len(rows)):
            prepared[block] = (rows[block] - self.mean_) / self.scale_
        return prepared


def _blocks(count: int) -> list[slice]:
    return [slice(first, first + BLOCK) for first in range(0, count, BLOCK)]


def on_raw_rows(preparation: Any, weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Return coefficients ``(classes, d)`` and intercepts of rows that are not prepared; of unit rows those they are.

    Bringing rows to unit length is not linear: whoever uses the coefficients has to do that first.
    """
    if isinstance(preparation, OneScale | StandardRows):
        weight = weight / preparation.scale_
    if isinstance(preparation, StandardRows):
        bias = bias - weight @ preparation.mean_
    return weight, bias


PREPARATIONS: dict[str, Callable[[], Any]] = {"unit": UnitRows, "scale": OneScale, "standard": StandardRows}
OF_EACH_FOLD = (StandardRows,)  # fitted on the fitted rows of every fold; what others learn is not of a fold
