"""Products of rows with coefficients and with residuals: all that a solver of linear heads computes from the rows."""

import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Positions
from .namespaces import NUMPY, NumPy
from .namespaces import Array as AnyArray

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]
RowSelection = Positions | slice
# From some rows and their products with coefficients to residuals, (k, rows).
ResidualsOf = Callable[[RowSelection, AnyArray], AnyArray]

MANY = 2**25  # numbers in the rows; with fewer, loading torch takes longer than it saves


class Multiply:
    """Products with rows ``(n, d)``, whole or in blocks.

    NumPy computes them. Large float32 rows go to oneDNN instead, as convolutions: with AVX-512 NumPy's OpenBLAS reaches
    two thirds of its speed, on Zen 5 half (docs/heads.md). `numbers` is the size of all rows together.
    """

    def __init__(self, numbers: int, dtype: npt.DTypeLike) -> None:
        self._onednn = np.dtype(dtype) == np.float32 and numbers >= MANY and _has_wide_vectors()

    def project(self, coefficients: Array, rows: Array) -> Array:
        """Return ``(k, n)``: coefficients ``(k, d)`` times the rows."""
        return np.ascontiguousarray(_convolve(rows, coefficients).T) if self._onednn else coefficients @ rows.T

    def gather(self, residuals: Array, rows: Array) -> Array:
        """Return ``(k, d)``: residuals ``(k, n)`` times the rows."""
        return _gradient(rows, residuals) if self._onednn else residuals @ rows

    def turn(self, rows: Array, axes: Array) -> Array:
        """Return ``(n, r)``: the rows times axes ``(d, r)``."""
        return _convolve(rows, axes.T) if self._onednn else rows @ axes


def _convolve(rows: Array, coefficients: Array) -> Array:
    """Return ``(n, k)``."""
    from torch.nn.functional import conv2d

    return np.asarray(conv2d(_pixels(rows), _tensor(coefficients)[:, :, None, None])[0, :, :, 0].numpy().T)


def _gradient(rows: Array, residuals: Array) -> Array:
    from torch.nn.grad import conv2d_weight

    kernels = (len(residuals), rows.shape[1], 1, 1)
    gradient = conv2d_weight(_pixels(rows), kernels, _tensor(residuals)[None, :, :, None])
    return np.ascontiguousarray(gradient[:, :, 0, 0].numpy())


def _pixels(rows: Array) -> "Tensor":
    """Return rows as an image ``(1, d, n, 1)`` whose channels come last in memory: a view, no copy."""
    return _tensor(rows)[None, :, None, :].permute(0, 3, 1, 2)


def _tensor(matrix: Array) -> "Tensor":
    from torch.utils.dlpack import from_dlpack

    return from_dlpack(np.ascontiguousarray(matrix))


@cache
def _has_wide_vectors() -> bool:
    """Return whether torch is built with oneDNN and finds AVX-512."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    import torch

    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"


class Products(ABC):
    """Rows ``(n, r)`` in their eigenbasis, read in blocks.

    Attributes
    ----------
    sums
        Sums of the columns, ``(r,)``.
    values
        The squared lengths of the columns, ``(r,)``.
    """

    sums: Array
    arrays: NumPy = NUMPY

    def __init__(self, n: int, dim: int, values: Floats, dtype: npt.DTypeLike) -> None:
        self.shape, self.values, self.dtype, self._dim = (n, len(values)), values, np.dtype(dtype), dim
        self._multiply = Multiply(n * dim if self.arrays is NUMPY else 0, dtype)

    @abstractmethod
    def _blocks(self) -> Iterable[tuple[RowSelection, Array]]:
        """Yield positions and rows, in the precision to work in."""

    def project(self, coefficients: AnyArray) -> AnyArray:
        """Return ``(k, n)``: coefficients ``(k, r)`` times the rows."""
        projected = self.arrays.empty((len(coefficients), self.shape[0]), self.dtype)
        for places, block in self._blocks():
            projected[:, self.arrays.index(places)] = self._multiply.project(coefficients, block)
        return projected

    def gather(self, residuals: AnyArray) -> AnyArray:
        """Return ``(k, r)``: residuals ``(k, n)`` times the rows."""
        gathered = self.arrays.zeros((len(residuals), self._dim), self.dtype)
        for places, block in self._blocks():
            gathered += self._multiply.gather(residuals[:, self.arrays.index(places)], block)
        return gathered

    def sweep(self, coefficients: AnyArray, residuals_of: ResidualsOf) -> tuple[AnyArray, Any]:
        """Return what ``project`` returns, and what ``gather`` returns for the residuals of these products.

        Blocks are read once for both. Whole rows in memory return None for the second: one pass saves nothing.
        """
        projected = self.arrays.empty((len(coefficients), self.shape[0]), self.dtype)
        gathered = self.arrays.zeros((len(coefficients), self._dim), self.dtype)
        for places, block in self._blocks():
            products = self._multiply.project(coefficients, block)
            projected[:, self.arrays.index(places)] = products
            gathered += self._multiply.gather(residuals_of(places, products), block)
        return projected, gathered


class InMemory(Products):
    """Rows in memory. Products are in ``dtype``; rows of another type are converted block by block."""

    BLOCK = 2048

    def __init__(self, rows: Array, values: Floats, dtype: npt.DTypeLike) -> None:
        super().__init__(len(rows), rows.shape[1], values, dtype)
        self.rows, self._whole = rows, rows.dtype == self.dtype
        self.sums = rows.sum(axis=0, dtype=self.dtype)

    def project(self, coefficients: Array) -> Array:
        """Return ``(k, n)``: coefficients ``(k, r)`` times the rows."""
        return self._multiply.project(coefficients, self.rows) if self._whole else super().project(coefficients)

    def gather(self, residuals: Array) -> Array:
        """Return ``(k, r)``: residuals ``(k, n)`` times the rows."""
        return self._multiply.gather(residuals, self.rows) if self._whole else super().gather(residuals)

    def sweep(self, coefficients: Array, residuals_of: ResidualsOf) -> tuple[Array, Any]:
        """See :class:`Products`."""
        if not self._whole:
            return super().sweep(coefficients, residuals_of)
        projected = self.project(coefficients)
        residuals_of(slice(None), projected)
        return projected, None

    def _blocks(self) -> Iterable[tuple[slice, Array]]:
        for first in range(0, len(self.rows), self.BLOCK):
            places = slice(first, first + self.BLOCK)
            yield places, self.rows[places].astype(self.dtype)


class Streamed(Products):
    """Rows that are read for each product. The coefficients are rotated instead of the rows by the axes ``(d, r)``.

    Rows without axes are rotated already.
    """

    def __init__(self, rows: Any, axes: AnyArray | None, values: Floats, dtype: npt.DTypeLike) -> None:
        super().__init__(len(rows), rows.shape[1], values, dtype)
        self.rows, self._axes = rows, None if axes is None else self.arrays.asarray(axes, self.dtype)
        self.sums = self.gather(self.arrays.zeros((1, len(rows)), self.dtype) + 1)[0]

    def project(self, coefficients: AnyArray) -> AnyArray:
        """Return ``(k, n)``: coefficients ``(k, r)`` times the rows."""
        return super().project(self._turned(self.arrays.asarray(coefficients, self.dtype)))

    def gather(self, residuals: AnyArray) -> AnyArray:
        """Return ``(k, r)``: residuals ``(k, n)`` times the rows."""
        return self._turned_back(super().gather(residuals))

    def sweep(self, coefficients: AnyArray, residuals_of: ResidualsOf) -> tuple[AnyArray, Any]:
        """See :class:`Products`."""
        projected, gathered = super().sweep(self._turned(coefficients), residuals_of)
        return projected, self._turned_back(gathered)

    def _turned(self, coefficients: AnyArray) -> AnyArray:
        return coefficients if self._axes is None else coefficients @ self._axes.T

    def _turned_back(self, gathered: AnyArray) -> AnyArray:
        return gathered if self._axes is None else gathered @ self._axes

    def _blocks(self) -> Iterable[tuple[RowSelection, AnyArray]]:
        blocks = self.rows.blocks(np.arange(len(self.rows)))
        return ((places, block.astype(self.dtype, copy=False)) for places, block in blocks)
