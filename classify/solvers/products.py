"""Products of rows with coefficients and with residuals: all that a solver of linear heads computes from the rows."""

import platform
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ..arrays import Positions

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]
RowSelection = Positions | slice
ResidualsOf = Callable[[RowSelection, Array], Array]  # some rows' products with coefficients -> residuals, (k, rows)

MANY = 2**25  # numbers in the rows; with fewer, loading torch takes longer than it saves


class Multiply:
    """Products with rows ``(n, d)``, whole or in blocks.

    NumPy computes them. Large float32 rows go to oneDNN instead, as convolutions: on processors with AVX-512 it is
    faster than OpenBLAS. `numbers` is the size of all rows together.
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

    def sweep(
        self, coefficients: Array, blocks: Iterable[tuple[RowSelection, Array]], n: int, residuals_of: ResidualsOf
    ) -> tuple[Array, Array]:
        """See :class:`Products`; `n` is the number of rows in all blocks."""
        projected, gathered = np.empty((len(coefficients), n), coefficients.dtype), np.zeros_like(coefficients)
        for places, block in blocks:
            products = self.project(coefficients, block)
            projected[:, places] = products
            gathered += self.gather(residuals_of(places, products), block)
        return projected, gathered


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
    """Say whether torch is built with oneDNN and finds AVX-512."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    import torch

    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"


class Products(Protocol):
    """Rows ``(n, r)`` in their eigenbasis.

    Attributes
    ----------
    sums
        Sums of the columns, ``(r,)``.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    sums: Array

    def project(self, coefficients: Array) -> Array:
        """Return ``(k, n)``: coefficients ``(k, r)`` times the rows."""

    def gather(self, residuals: Array) -> Array:
        """Return ``(k, r)``: residuals ``(k, n)`` times the rows."""

    def sweep(self, coefficients: Array, residuals_of: ResidualsOf) -> tuple[Array, Array | None]:
        """Return what ``project`` returns, and what ``gather`` returns for the residuals of these products.

        Streamed rows are read once for both. Rows in memory return None for the second: one pass saves nothing.
        """


class InMemory:
    """Rows in memory. Products are in ``dtype``; rows of another type are converted block by block."""

    BLOCK = 2048

    def __init__(self, rows: Array, dtype: npt.DTypeLike) -> None:
        self.rows, self.dtype, self.shape = rows, np.dtype(dtype), (rows.shape[0], rows.shape[1])
        self.sums = rows.sum(axis=0, dtype=self.dtype)
        self._multiply = Multiply(rows.size, dtype)

    def project(self, coefficients: Array) -> Array:
        """See :class:`Products`."""
        if self.rows.dtype == self.dtype:
            return self._multiply.project(coefficients, self.rows)
        return np.concatenate([self._multiply.project(coefficients, block) for _, block in self._blocks()], axis=1)

    def gather(self, residuals: Array) -> Array:
        """See :class:`Products`."""
        if self.rows.dtype == self.dtype:
            return self._multiply.gather(residuals, self.rows)
        gathered = np.zeros((len(residuals), self.shape[1]), self.dtype)
        for places, block in self._blocks():
            gathered += self._multiply.gather(residuals[:, places], block)
        return gathered

    def sweep(self, coefficients: Array, residuals_of: ResidualsOf) -> tuple[Array, Array | None]:
        """See :class:`Products`."""
        if self.rows.dtype == self.dtype:
            projected = self.project(coefficients)
            residuals_of(slice(None), projected)
            return projected, None
        return self._multiply.sweep(coefficients, self._blocks(), len(self.rows), residuals_of)

    def _blocks(self) -> Iterable[tuple[slice, Array]]:
        for first in range(0, len(self.rows), self.BLOCK):
            places = slice(first, first + self.BLOCK)
            yield places, self.rows[places].astype(self.dtype)


class Streamed:
    """Rows that are read for each product. The coefficients are rotated instead of the rows.

    Parameters
    ----------
    rows
        Yields positions and unrotated rows, ``(block, d)``.
    axes
        The basis, ``(d, r)``.
    """

    def __init__(self, rows: "Blocks", axes: Array, dtype: npt.DTypeLike) -> None:
        self.rows, self.axes, self.dtype = rows, axes, np.dtype(dtype)
        self.shape = (len(rows), axes.shape[1])
        self._multiply = Multiply(len(rows) * len(axes), dtype)
        self.sums = self.gather(np.ones((1, len(rows)), self.dtype))[0]

    def project(self, coefficients: Array) -> Array:
        """See :class:`Products`."""
        turned = coefficients @ self.axes.T.astype(self.dtype, copy=False)
        projected = np.empty((len(coefficients), len(self.rows)), self.dtype)
        for places, block in self._blocks():
            projected[:, places] = self._multiply.project(turned, block)
        return projected

    def gather(self, residuals: Array) -> Array:
        """See :class:`Products`."""
        gathered = np.zeros((len(residuals), len(self.axes)), self.dtype)
        for places, block in self._blocks():
            gathered += self._multiply.gather(residuals[:, places], block)
        return np.asarray(gathered @ self.axes.astype(self.dtype, copy=False))

    def sweep(self, coefficients: Array, residuals_of: ResidualsOf) -> tuple[Array, Array | None]:
        """See :class:`Products`."""
        turned = coefficients @ self.axes.T.astype(self.dtype, copy=False)
        projected, gathered = self._multiply.sweep(turned, self._blocks(), len(self.rows), residuals_of)
        return projected, gathered @ self.axes.astype(self.dtype, copy=False)

    def _blocks(self) -> Iterable[tuple[Positions, Array]]:
        blocks = self.rows.blocks(np.arange(len(self.rows)))
        return ((places, block.astype(self.dtype, copy=False)) for places, block in blocks)


class Blocks(Protocol):
    """Rows that come in blocks, in any order."""

    def __len__(self) -> int:
        """Return their number."""

    def blocks(self, rows: Positions) -> Iterable[tuple[Positions, Array]]:
        """Yield positions and rows, all those asked for once."""
