"""Positive definite systems and eigenvectors by LAPACK, on as many threads as their size is worth."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import ThreadpoolController, threadpool_limits

from ..arrays import Floats
from .namespaces import Array, OnDevice

SMALL_SYSTEM = 3000  # unknowns of a system that one thread solves
FEW_ROWS = 2000  # that one thread fits as fast as several, and the most in a subset of a learning curve


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def solve(system: Floats, right: Floats) -> Floats:
    """Return the solution of a symmetric positive definite system ``(n, n)``, which is overwritten.

    Small systems are solved on one thread. NumPy and SciPy have a pool of threads each, and after a product NumPy's
    threads spin while SciPy's factor: a system of 1,600 took 140 ms on two cores that way, and takes 40 ms on one.

    Raises LinAlgError if it is not positive definite.
    """
    with _pools().limit(limits=1 if len(system) <= SMALL_SYSTEM else None):
        # The transpose is the same matrix in LAPACK's column order, and need not be copied.
        factor = cho_factor(system.T, lower=True, overwrite_a=True, check_finite=False)
        return np.asarray(cho_solve(factor, right, check_finite=False))


def solve_shifted(moment: Array, right: Floats, shift: float, scale: float = 1.0) -> Floats:
    """Return the solution ``(n, k)`` of ``(scale * moment + shift * I) x = right``, on the device where `moment` is.

    Raises LinAlgError if it is not positive definite.
    """
    system = scale * moment
    if isinstance(moment, np.ndarray):
        system.flat[:: len(system) + 1] += shift
        return solve(system, right)
    import torch

    system.diagonal().add_(shift)
    factor, failed = torch.linalg.cholesky_ex(system)
    if int(failed):
        raise np.linalg.LinAlgError(f"{int(failed)}-th leading minor of the array is not positive definite")
    return np.asarray(torch.cholesky_solve(OnDevice(moment.device).array(right, np.float64), factor).cpu().numpy())


def threads(rows: int) -> threadpool_limits:
    """Limit small problems to one thread: handing out their small tasks costs more than it saves.

    On a machine that does other work too, two threads that wait for each other are many times slower than one.
    """
    return threadpool_limits(1 if rows <= FEW_ROWS else None)


def eigh(matrix: Array) -> tuple[npt.NDArray[Any], Array]:
    """Return eigenvalues ``(r,)``, the largest first, and eigenvectors ``(n, r)``, on the device where the matrix is.

    By divide and conquer, from SciPy, as NumPy converts float32 to float64. LAPACK wants columns in order; the
    transpose of a symmetric matrix has them without a copy. In float64 eigenvalues that are rounding errors are left
    out, ``r <= n``. In float32 they cannot be told from small ones, which matter when there are thousands: all are
    kept, and raised to the rounding error of the largest at least.
    """
    if isinstance(matrix, np.ndarray):
        values, vectors = linalg.eigh(matrix.T, driver="evd", check_finite=False)
        descending = vectors[:, ::-1]
    else:
        values, descending = _eigh_on_device(matrix)
    least = values.max(initial=0) * np.finfo(values.dtype).eps
    if values.dtype == np.float32:
        return np.maximum(values, least)[::-1], descending
    first = np.searchsorted(values, least * len(values), side="right")
    return values[first:][::-1], descending[:, : len(values) - first]


def _eigh_on_device(matrix: Array) -> tuple[npt.NDArray[Any], Array]:
    """Return eigenvalues, the least first, and eigenvectors of which the first belongs to the largest."""
    import torch

    try:
        values, vectors = torch.linalg.eigh(matrix)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # the device's algorithm did not converge
        values, vectors = (part.to(matrix.device) for part in torch.linalg.eigh(matrix.cpu()))
    return values.cpu().numpy(), vectors.flip(1)
