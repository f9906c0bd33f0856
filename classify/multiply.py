"""Products of matrices with many rows: by NumPy's BLAS, or where the processor has AVX-512 by torch's oneDNN.

OpenBLAS multiplies many rows by a hundred planes at two thirds of oneDNN's speed, and at half of it on AMD's Zen 5,
which it takes for a processor without AVX-512 (a later release than the one in NumPy 2.4 will not: OpenBLAS pull
request 6033). Of what torch sends to oneDNN in full float32, a 1 x 1 convolution is the product wanted: rows ``(n,
d)`` are an image of n pixels with d channels, planes are its kernels, and what residuals gather of the rows is the
gradient of the kernels. No row is copied.
"""

import platform
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]

MANY = 2**25  # numbers in the rows; with fewer, loading torch takes longer than what is saved


class Multiply:
    """Products with rows of a type, which have so many numbers in all, and may come in blocks ``(n, d)``."""

    def __init__(self, numbers: int, dtype: npt.DTypeLike) -> None:
        self._onednn = np.dtype(dtype) == np.float32 and numbers >= MANY and _has_wide_vectors()

    def project(self, planes: Array, rows: Array) -> Array:
        """Return ``(k, n)``: planes ``(k, d)`` times the rows."""
        return np.ascontiguousarray(_convolve(rows, planes).T) if self._onednn else planes @ rows.T

    def gather(self, residuals: Array, rows: Array) -> Array:
        """Return ``(k, d)``: residuals ``(k, n)`` times the rows."""
        return _gradient(rows, residuals) if self._onednn else residuals @ rows

    def turn(self, rows: Array, axes: Array) -> Array:
        """Return ``(n, r)``: the rows times axes ``(d, r)``."""
        return _convolve(rows, axes.T) if self._onednn else rows @ axes


def _convolve(rows: Array, planes: Array) -> Array:
    """Return ``(n, k)``."""
    from torch.nn.functional import conv2d

    return np.asarray(conv2d(_pixels(rows), _tensor(planes)[:, :, None, None])[0, :, :, 0].numpy().T)


def _gradient(rows: Array, residuals: Array) -> Array:
    from torch.nn.grad import conv2d_weight

    kernels = (len(residuals), rows.shape[1], 1, 1)
    found = conv2d_weight(_pixels(rows), kernels, _tensor(residuals)[None, :, :, None])
    return np.ascontiguousarray(found[:, :, 0, 0].numpy())


def _pixels(rows: Array) -> "Tensor":
    """Return rows as an image ``(1, d, n, 1)`` whose channels come last in memory, as they do."""
    return _tensor(rows)[None, :, None, :].permute(0, 3, 1, 2)


def _tensor(matrix: Array) -> "Tensor":
    from torch.utils.dlpack import from_dlpack

    return from_dlpack(np.ascontiguousarray(matrix))


@cache
def _has_wide_vectors() -> bool:
    """Say whether torch is built with oneDNN and finds AVX-512."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    import torch

    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"
