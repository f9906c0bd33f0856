"""Eigenvalues of symmetric matrices."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg


def eigh(matrix: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return eigenvalues ``(r,)``, the largest first, and eigenvectors ``(n, r)``: views of what LAPACK gives.

    By divide and conquer, of SciPy, as NumPy turns float32 into float64; LAPACK wants columns in order, and the
    transpose of what is symmetric need not be copied. In float64 those that are rounding are left out, ``r <= n``.
    Float32 cannot tell them from small ones, and those matter when there are thousands: all are kept, none smaller than
    what is rounded away of the largest.
    """
    values, vectors = linalg.eigh(matrix.T, driver="evd", check_finite=False)
    least = values.max(initial=0) * np.finfo(matrix.dtype).eps
    if matrix.dtype == np.float32:
        return np.maximum(values, least)[::-1], vectors[:, ::-1]
    first = np.searchsorted(values, least * len(values), side="right")
    return values[first:][::-1], vectors[:, first:][:, ::-1]
