"""Positive definite systems, solved without a quarrel over the cores."""

from functools import cache

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import ThreadpoolController

from .arrays import Floats

SMALL = 3000  # unknowns of a system that one thread solves


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
