"""What a solver of linear heads asks of the rows: their products with planes and with residuals, nothing else."""

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
RowSelection = Positions | slice  # of the rows
ResidualsOf = Callable[
    [RowSelection, Array], Array
]  # from some rows' products with planes to their residuals, (k, rows) both


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


class Products(Protocol):
    """Rows ``(n, r)`` in a basis of theirs.

    Attributes
    ----------
    sums
        Of the columns, ``(r,)``.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    sums: Array

    def project(self, planes: Array) -> Array:
        """Return ``(k, n)``: planes ``(k, r)`` times the rows."""

    def gather(self, residuals: Array) -> Array:
        """Return ``(k, r)``: residuals ``(k, n)`` times the rows."""

    def sweep(self, planes: Array, look: ResidualsOf) -> tuple[Array, Array | None]:
        """Return what ``project`` returns and what ``gather`` would return for the residuals that `look` finds in it.

        In one pass where rows must be fetched. Where they need not, the latter is None: nothing would be saved.
        """


class InMemory:
    """Rows at hand, worked on in ``dtype``; what is not of that type is turned into it block by block."""

    BLOCK = 2048

    def __init__(self, rows: Array, dtype: npt.DTypeLike) -> None:
        self.rows, self.dtype, self.shape = rows, np.dtype(dtype), (rows.shape[0], rows.shape[1])
        self.sums = rows.sum(axis=0, dtype=self.dtype)
        self._multiply = Multiply(rows.size, dtype)

    def project(self, planes: Array) -> Array:
        """See :class:`Products`."""
        if self.rows.dtype == self.dtype:
            return self._multiply.project(planes, self.rows)
        return np.concatenate([self._multiply.project(planes, block) for _, block in self._blocks()], axis=1)

    def gather(self, residuals: Array) -> Array:
        """See :class:`Products`."""
        if self.rows.dtype == self.dtype:
            return self._multiply.gather(residuals, self.rows)
        found = np.zeros((len(residuals), self.shape[1]), self.dtype)
        for places, block in self._blocks():
            found += self._multiply.gather(residuals[:, places], block)
        return found

    def sweep(self, planes: Array, look: ResidualsOf) -> tuple[Array, Array | None]:
        """See :class:`Products`."""
        if self.rows.dtype == self.dtype:
            moved = self.project(planes)
            look(slice(None), moved)
            return moved, None
        return _sweep(planes, self._blocks(), len(self.rows), look, self._multiply)

    def _blocks(self) -> Iterable[tuple[slice, Array]]:
        for first in range(0, len(self.rows), self.BLOCK):
            places = slice(first, first + self.BLOCK)
            yield places, self.rows[places].astype(self.dtype)


class Streamed:
    """Rows that are read for each product, and turned into the basis by turning the planes instead.

    Parameters
    ----------
    rows
        What yields positions and rows as they are, ``(block, d)``.
    axes
        The basis, ``(d, r)``.
    """

    def __init__(self, rows: "Blocks", axes: Array, dtype: npt.DTypeLike) -> None:
        self.rows, self.axes, self.dtype = rows, axes, np.dtype(dtype)
        self.shape = (len(rows), axes.shape[1])
        self._multiply = Multiply(len(rows) * len(axes), dtype)
        self.sums = self.gather(np.ones((1, len(rows)), self.dtype))[0]

    def project(self, planes: Array) -> Array:
        """See :class:`Products`."""
        turned = planes @ self.axes.T.astype(self.dtype, copy=False)
        found = np.empty((len(planes), len(self.rows)), self.dtype)
        for places, block in self._blocks():
            found[:, places] = self._multiply.project(turned, block)
        return found

    def gather(self, residuals: Array) -> Array:
        """See :class:`Products`."""
        found = np.zeros((len(residuals), len(self.axes)), self.dtype)
        for places, block in self._blocks():
            found += self._multiply.gather(residuals[:, places], block)
        return np.asarray(found @ self.axes.astype(self.dtype, copy=False))

    def sweep(self, planes: Array, look: ResidualsOf) -> tuple[Array, Array | None]:
        """See :class:`Products`."""
        turned = planes @ self.axes.T.astype(self.dtype, copy=False)
        moved, gathered = _sweep(turned, self._blocks(), len(self.rows), look, self._multiply)
        return moved, gathered @ self.axes.astype(self.dtype, copy=False)

    def _blocks(self) -> Iterable[tuple[Positions, Array]]:
        every = self.rows.blocks(np.arange(len(self.rows)))
        return ((places, block.astype(self.dtype, copy=False)) for places, block in every)


def _sweep(
    planes: Array, blocks: Iterable[tuple[RowSelection, Array]], n: int, look: ResidualsOf, multiply: Multiply
) -> tuple[Array, Array]:
    moved, gathered = np.empty((len(planes), n), planes.dtype), np.zeros_like(planes)
    for places, block in blocks:
        part = multiply.project(planes, block)
        moved[:, places] = part
        gathered += multiply.gather(look(places, part), block)
    return moved, gathered


class Blocks(Protocol):
    """Rows that come in blocks, in any order."""

    def __len__(self) -> int:
        """Return their number."""

    def blocks(self, rows: Positions) -> Iterable[tuple[Positions, Array]]:
        """Yield positions and rows, all those asked for once."""
