"""Positive definite systems and eigenvectors by LAPACK, on as many threads as their size is worth."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import ThreadpoolController, threadpool_limits

from ..arrays import Floats

SMALL_SYSTEM = 3000  # unknowns of a system that one thread solves
FEW_ROWS = 2000  # that one thread fits as fast as several, and the most in a subset of a learning curve


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def solve(system: Floats, right: Floats) -> Floats:
    """Return the solution of a symmetric positive definite system ``(n, n)``, which is overwritten.

    Small systems are solved on one thread. NumPy and SciPy have a pool of threads each, and after a product NumPy's
    threads spin while SciPy's factor: a system of 1,600 took 140 ms on two cores that way, and takes 40 ms on one.

    Raises
    ------
    numpy.linalg.LinAlgError
        It is not positive definite.
    """
    with _pools().limit(limits=1 if len(system) <= SMALL_SYSTEM else None):
        # The transpose is the same matrix in LAPACK's column order, and need not be copied.
        factor = cho_factor(system.T, lower=True, overwrite_a=True, check_finite=False)
        return np.asarray(cho_solve(factor, right, check_finite=False))


def threads(rows: int) -> threadpool_limits:
    """Limit small problems to one thread: handing out their small tasks costs more than it saves.

    On a machine that does other work too, two threads that wait for each other are many times slower than one.
    """
    return threadpool_limits(1 if rows <= FEW_ROWS else None)


def eigh(matrix: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return eigenvalues ``(r,)``, the largest first, and eigenvectors ``(n, r)``: views of LAPACK's result.

    By divide and conquer, from SciPy, as NumPy converts float32 to float64. LAPACK wants columns in order; the
    transpose of a symmetric matrix has them without a copy. In float64 eigenvalues that are rounding errors are left
    out, ``r <= n``. In float32 they cannot be told from small ones, which matter when there are thousands: all are
    kept, and raised to the rounding error of the largest at least.
    """
    values, vectors = linalg.eigh(matrix.T, driver="evd", check_finite=False)
    least = values.max(initial=0) * np.finfo(matrix.dtype).eps
    if matrix.dtype == np.float32:
        return np.maximum(values, least)[::-1], vectors[:, ::-1]
    first = np.searchsorted(values, least * len(values), side="right")
    return values[first:][::-1], vectors[:, first:][:, ::-1]
