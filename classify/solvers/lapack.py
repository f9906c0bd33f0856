"""Positive definite systems, solved without a quarrel over the cores."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import ThreadpoolController, threadpool_limits

from ..arrays import Floats

SMALL = 3000  # unknowns of a system that one thread solves


SMALL = 2000  # rows that one thread fits as fast as several, and the most in a subset of a learning curve


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def solve(system: Floats, right: Floats) -> Floats:
    """Return the solution of a symmetric positive definite system ``(n, n)``, which is used up.

    NumPy and SciPy bring a pool of threads each, and those of the one wait awake after a product while the others
    factor: a system of 1,600 took 140 ms on two cores that way, and takes 40 ms on one.

    Raises
    ------
    numpy.linalg.LinAlgError
        It is not positive definite.
    """
    if len(system) > SMALL:
        return _solve(system, right)
    with _pools().limit(limits=1):
        return _solve(system, right)


def _solve(system: Floats, right: Floats) -> Floats:
    # Its transpose is the same matrix in the order that LAPACK wants, and need not be copied.
    factor = cho_factor(system.T, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(cho_solve(factor, right, check_finite=False))


def threads(rows: int) -> threadpool_limits:
    """Keep small problems on one thread: handing out their crumbs costs more than it saves.

    On a machine that does other work too, two threads that wait for each other are many times slower than one.
    """
    return threadpool_limits(1 if rows <= SMALL else None)


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
