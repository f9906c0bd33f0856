"""Eigenvalues of symmetric matrices."""

from typing import Any

import numpy as np
import numpy.typing as npt

SMALL = 2000  # below, loading torch would take longer than the rest


def eigh(matrix: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return eigenvalues ``(r,)``, the largest first, and eigenvectors ``(n, r)``.

    In float64 those that are rounding are left out, ``r <= n``. Float32 cannot tell them from small ones, and those
    matter when there are thousands: all are kept, none smaller than what is rounded away of the largest.

    Large matrices go to torch, whose wheels for x86 bring MKL: its reduction to tridiagonal form works in blocks, and
    takes a quarter of the time of the OpenBLAS in NumPy's and SciPy's wheels.
    """
    if len(matrix) <= SMALL:
        values, vectors = np.linalg.eigh(matrix)
    else:
        import torch

        values, vectors = (part.numpy() for part in torch.linalg.eigh(torch.from_numpy(matrix)))
    least = values.max(initial=0) * np.finfo(matrix.dtype).eps
    if matrix.dtype == np.float32:
        return np.maximum(values, least)[::-1], np.ascontiguousarray(vectors[:, ::-1])
    kept = np.flatnonzero(values > least * len(values))[::-1]
    return values[kept], np.ascontiguousarray(vectors[:, kept])
