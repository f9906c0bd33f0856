"""Rows in the type that they are stored in, and how much of them it keeps."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.recipe import Recipe
from ...errors import FC7Error

MAX_ERROR = 1e-3  # relative, of a row in the L2 norm; a row of ordinary numbers loses 2e-4 in float16, 5e-4 at most

NOT_FINITE = "its embedding is not finite"


def in_stored_type(matrix: npt.NDArray[np.float32], dtype: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Return rows as they are stored, and the relative L2 error of each.

    Parameters
    ----------
    matrix
        ``(n, dim)``.

    Returns
    -------
    stored, error
        ``(n, dim)`` and ``(n,)``. The error is 0 for a row of zeros, infinite where numbers overflow, and NaN where a
        row is not finite itself.
    """
    with np.errstate(all="ignore"):
        stored = matrix.astype(dtype)
        if stored.dtype == matrix.dtype:
            return stored, np.where(np.isfinite(matrix).all(axis=1), 0.0, np.nan)
        square = _square(matrix)
        error = np.sqrt(_square(stored - matrix) / square).astype(np.float64)
        doubtful = ~((square > 1e-20) & (square < 1e20))
        rows = matrix[doubtful]
        # The squares of these are not all numbers of float32: measure them in units of their largest number.
        largest = np.abs(rows).max(axis=1, initial=0, keepdims=True)
        unit = np.maximum(largest, np.finfo(np.float32).smallest_subnormal)
        exact = np.sqrt(_square((stored[doubtful] - rows) / unit) / _square(rows / unit))
        error[doubtful] = np.where(largest[:, 0] == 0, 0, exact)
        return stored, error


def imprecise(error: float, dtype: str) -> str:
    """Return why a row is not stored."""
    return f"{dtype} cannot hold its embedding: {_loss(error, dtype)}; use --dtype float32"


def too_imprecise(recipe: Recipe, error: float) -> FC7Error:
    """Return the error of a run whose first rows cannot be stored."""
    return FC7Error(
        f"{recipe.dtype} cannot hold {recipe.backbone} {recipe.layer}: {_loss(error, recipe.dtype)}. "
        f"Nothing was stored. Extract with --dtype float32."
    )


def _loss(error: float, dtype: str) -> str:
    """Return what becomes of numbers that are too large or too small; rounding alone is never that much."""
    limits = np.finfo(np.dtype(dtype))
    if np.isinf(error):
        return f"it has numbers above {limits.max:g}, the largest of the type"
    return (
        f"its numbers are too small, {error:.2g} of its length would be lost, over {MAX_ERROR:g} (numbers below "
        f"{limits.tiny:.0e} lose digits, below {limits.smallest_subnormal:.0e} all)"
    )


def _square(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the squared length of each row."""
    squares: npt.NDArray[np.float32] = np.einsum("ij,ij->i", matrix, matrix)
    return squares
