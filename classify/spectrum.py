"""Eigenvalues of symmetric matrices."""

from typing import Any

import numpy as np
import numpy.typing as npt

SMALL = 2000  # below, loading torch would take longer than the rest


def eigh(matrix: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return eigenvalues ``(r,)``, the largest first and none that is rounding, and eigenvectors ``(n, r)``.

    Large matrices go to torch, whose wheels for x86 bring MKL: its reduction to tridiagonal form works in blocks, and
    takes a quarter of the time of the OpenBLAS in NumPy's and SciPy's wheels.
    """
    if len(matrix) <= SMALL:
        values, vectors = np.linalg.eigh(matrix)
    else:
        import torch

        values, vectors = (part.numpy() for part in torch.linalg.eigh(torch.from_numpy(matrix)))
    least = values.max(initial=0) * len(values) * np.finfo(matrix.dtype).eps
    kept = np.flatnonzero(values > least)[::-1]
    return values[kept], np.ascontiguousarray(vectors[:, kept])
