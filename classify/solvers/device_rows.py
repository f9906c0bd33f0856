"""Rows on a device: whole if its memory has room for them, else sent block by block for each use."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Positions
from .class_sums import ClassSums
from .namespaces import Array, OnDevice
from .products import ResidualsOf, RowSelection, Streamed

if TYPE_CHECKING:
    import torch

NUMBERS = 2**25  # in a block: 128 MB in float32, and twice that in float64
SHARE = 0.4  # of the device's free memory that rows may take: what is computed with them needs the rest

Select = Callable[[Positions | None], Iterator[tuple[RowSelection, npt.NDArray[Any]]]]


class DeviceRows:
    """Rows ``(n, d)`` that a device computes with.

    Parameters
    ----------
    select
        Yields some of the rows, or all, from where they are: their places among those asked for, and blocks.

    Attributes
    ----------
    whole
        ``(n, d)`` on the device; None if they are sent for each use.
    """

    def __init__(self, select: Select, shape: tuple[int, int], dtype: npt.DTypeLike, device: "torch.device") -> None:
        self.shape, self.dtype, self.arrays = shape, np.dtype(dtype), OnDevice(device)
        self._select, self._send = select, _Sender(device)
        self._size = max(NUMBERS // max(shape[1], 1), 1)
        self.whole: Array | None = None
        if shape[0] * shape[1] * self.dtype.itemsize <= SHARE * free_memory(device):
            whole = self.arrays.empty(shape, dtype)
            for places, block in select(None):
                whole[self.arrays.index(places)] = self._send(block)
            self.whole = whole

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def selected(self, rows: Positions | None, dtype: npt.DTypeLike) -> Iterator[tuple[RowSelection, Array]]:
        """Yield some of the rows, or all: where each stands among `rows`, and ``(block, d)`` in a type."""
        if self.whole is None:
            for places, block in self._select(rows):
                yield places, self.arrays.asarray(self._send(block), dtype)
        elif rows is None and np.dtype(dtype) == self.dtype:
            yield slice(None), self.whole
        else:
            for first in range(0, len(self) if rows is None else len(rows), self._size):
                places = slice(first, first + self._size)
                block = self.whole[places] if rows is None else self.whole[self.arrays.index(rows[places])]
                yield places, self.arrays.asarray(block, dtype)

    def blocks(self, rows: Positions, dtype: npt.DTypeLike) -> Iterator[tuple[Positions, Array]]:
        """Yield some of the rows, in any order: their positions, and ``(block, d)`` in a type."""
        yield from ((rows[places], block) for places, block in self.selected(rows, dtype))

    def class_sums(self, y: Positions, rows: Positions, *, squares: bool) -> ClassSums:
        """Return the sums by class over some of the rows, in float64; `y` are the codes of all rows."""
        classes, dim = int(y.max()) + 1, self.shape[1]
        sums = self.arrays.zeros((classes, dim), np.float64)
        square_sums = self.arrays.zeros((classes, dim if squares else 0), np.float64)
        numbers = self.arrays.index(np.arange(classes))[:, None]
        for positions, block in self.blocks(rows, np.float64):
            member = (self.arrays.index(y[positions]) == numbers).to(block.dtype)
            sums += member @ block
            if squares:
                square_sums += member @ (block * block)
        counts = np.bincount(y[rows], minlength=classes).astype(np.float64)
        return ClassSums(counts, self.arrays.host(sums), self.arrays.host(square_sums))

    def second_moment(self, rows: Positions, dtype: npt.DTypeLike, roots: Floats | None = None) -> Array:
        """Return the sum of outer products of some rows, each times its root, ``(d, d)`` on the device."""
        moment = self.arrays.zeros((self.shape[1], self.shape[1]), dtype)
        for positions, block in self.blocks(rows, dtype):
            factor = block if roots is None else block * self.arrays.asarray(roots[positions], dtype)[:, None]
            moment.addmm_(factor.T, factor)
        return moment

    def margins(self, rows: Positions | None, coefficients: Floats, intercepts: Floats) -> Floats:
        """Return some rows, or all, times coefficients ``(d, k)``, plus intercepts: ``(rows, k)`` float64."""
        there, levels = self.arrays.asarray(coefficients, np.float64), self.arrays.asarray(intercepts, np.float64)
        margins = np.empty((len(self) if rows is None else len(rows), coefficients.shape[1]))
        for places, block in self.selected(rows, np.float64):
            margins[places] = self.arrays.host(block @ there + levels)
        return margins

    def inner(self, rows: Positions, columns: Positions) -> Floats:
        """Return the inner products of two selections of rows, ``(len(rows), len(columns))`` float64."""
        products = np.empty((len(rows), len(columns)))
        for places, left in self.selected(rows, np.float64):
            for other_places, right in self.selected(columns, np.float64):
                products[places, other_places] = self.arrays.host(left @ right.T)
        return products

    def kernel(self, rows: Positions, columns: Positions, gamma: float) -> Floats:
        """Return ``exp(-gamma |x - y|^2)`` of two selections of rows, ``(len(rows), len(columns))`` float64."""
        kernel = np.empty((len(rows), len(columns)))
        for places, left in self.selected(rows, np.float64):
            lengths = (left * left).sum(dim=1)[:, None]
            for other_places, right in self.selected(columns, np.float64):
                square = (left @ right.T).mul_(-2).add_(lengths).add_((right * right).sum(dim=1))
                kernel[places, other_places] = self.arrays.host(square.clamp_(min=0).mul_(-gamma).exp_())
        return kernel

    def squares(self) -> Floats:
        """Return squared lengths ``(n,)``, in float64."""
        squares = np.empty(len(self))
        for places, block in self.selected(np.arange(len(self)), np.float64):
            squares[places] = self.arrays.host((block * block).sum(dim=1))
        return squares


class OnDeviceProducts(Streamed):
    """Products of rows on a device; axes ``(d, r)``, or None of rows that are rotated already."""

    def __init__(self, rows: DeviceRows, axes: Array | None, values: Floats, dtype: npt.DTypeLike) -> None:
        self.arrays = rows.arrays
        super().__init__(rows, axes, values, dtype)

    def sweep(self, coefficients: Array, residuals_of: ResidualsOf) -> tuple[Array, Any]:
        """See :class:`fc7.classify.solvers.products.Products`; rows that are there count as rows in memory."""
        if self.rows.whole is None:
            return super().sweep(coefficients, residuals_of)
        projected = self.project(coefficients)
        residuals_of(slice(None), projected)
        return projected, None

    def _blocks(self) -> Iterator[tuple[RowSelection, Array]]:
        return self.rows.selected(None, self.dtype)  # type: ignore[no-any-return]


class _Sender:
    """Sends blocks to a device: to CUDA through pinned memory, so that it computes while the next one is read."""

    def __init__(self, device: "torch.device") -> None:
        self._device, self._buffers, self._next = device, list[tuple[Any, Any]](), 0

    def __call__(self, block: npt.NDArray[Any]) -> Array:
        import torch

        values = torch.from_numpy(block if block.flags.writeable else block.copy())
        if self._device.type != "cuda":
            return values.to(self._device)
        buffer, sent = self._buffer(values.numel() * values.element_size())
        sent.synchronize()  # until what it held last is there
        pinned = buffer[: values.numel() * values.element_size()].view(values.dtype).view(values.shape)
        pinned.copy_(values)
        there = torch.empty(values.shape, dtype=values.dtype, device=self._device)
        there.copy_(pinned, non_blocking=True)
        sent.record(torch.cuda.current_stream(self._device))
        return there

    def _buffer(self, size: int) -> tuple[Any, Any]:
        """Return one of two buffers in turn, with the event that says that it may be written."""
        import torch

        if not self._buffers or len(self._buffers[0][0]) < size:
            for _, sent in self._buffers:
                sent.synchronize()
            self._buffers = [
                (torch.empty(size, dtype=torch.uint8, pin_memory=True), torch.cuda.Event()) for _ in range(2)
            ]
        self._next = 1 - self._next
        return self._buffers[self._next]


def free_memory(device: "torch.device") -> float:
    """Return the bytes of a device's memory that nobody has."""
    import torch

    if device.type != "cuda":
        return float("inf")
    torch.cuda.empty_cache()  # what the network has had
    return float(torch.cuda.mem_get_info(device)[0])
