"""The eigenbasis of rows: a rotation that makes their second moment diagonal, computed once for all heads."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import DataError
from ..arrays import Floats, Positions
from . import map_reduce
from .class_sums import Block, ClassSums, second_moment
from .device_rows import DeviceRows, OnDeviceProducts
from .lapack import eigh
from .namespaces import NUMPY, Array, NumPy
from .products import InMemory, Multiply, Products, RowSelection, Streamed
from .row_stream import Stream

if TYPE_CHECKING:
    import torch

SMALL = 2000  # dimensions up to which second moment and eigenvectors are float64, whatever the rows are
BLOCK = 2048  # rows or columns that are held in float64 at once


class Eigenbasis:
    """Rows ``(n, d)`` rotated into the eigenbasis of their second moment, in ``r <= min(n, d)`` dimensions.

    The rotation keeps all distances and inner products between rows and uses no label: L2-penalised linear heads,
    neighbours, centroids, RBF and linear kernels answer as in all dimensions (the representer theorem), and folds may
    be cut afterwards. What a head needs is computed when it is first asked for: with fewer rows than dimensions
    (``wide``) through the ``(n, n)`` Gram matrix, otherwise through the ``(d, d)`` second moment, in float64.

    Parameters
    ----------
    inputs
        ``(n, d)`` float32 or float64, not copied; or a stream, whose blocks are read again for each use.
    device
        What computes with them: the processor by default, or a device of torch that has float64.
    """

    def __init__(self, inputs: npt.NDArray[Any] | Stream, device: "torch.device | None" = None) -> None:
        self.streamed = isinstance(inputs, Stream)
        self._source, self.device = inputs, device
        self.wide = not self.streamed and inputs.shape[0] < inputs.shape[1]

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it computes on its processor."""
        if self.device is None:
            return vars(self)
        return {"streamed": self.streamed, "_source": self._source, "device": None, "wide": self.wide}

    @cached_property
    def there(self) -> DeviceRows:
        """The rows on the device."""
        if self.device is None:
            raise TypeError("there is no device")
        dtype = np.float32 if isinstance(self._source, Stream) else self._source.dtype
        return DeviceRows(self.selected, (len(self), self.dim), dtype, self.device)

    @property
    def arrays(self) -> NumPy:
        """What computes with them does with arrays."""
        return NUMPY if self.device is None else self.there.arrays

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._source.shape[0])

    @property
    def dim(self) -> int:
        """The number of columns before the rotation."""
        return int(self._source.shape[1])

    @property
    def inputs(self) -> npt.NDArray[Any]:
        """The rows as they were passed, in memory."""
        if isinstance(self._source, Stream):
            raise TypeError("the rows are streamed: ask for blocks")
        return self._source

    @property
    def max_ram(self) -> int | None:
        """Bytes of memory allowed for work on streamed rows; None for rows in memory, or on a device."""
        return self._source.max_ram if isinstance(self._source, Stream) and self.device is None else None

    def prepare(self) -> None:
        """Compute now what is otherwise computed on first use."""
        if self.device is None:
            _ = self.gram if self.wide else self.second, self.rows32, self.squares

    def blocks(self, rows: Positions) -> Iterator[Block]:
        """Yield some of the rows as they were passed, in any order: positions, and ``(block, d)``."""
        if isinstance(self._source, Stream):
            yield from self._source.blocks(rows)
            return
        yield from ((rows[places], block) for places, block in self.selected(rows))

    def selected(self, rows: Positions | None) -> Iterator[tuple[RowSelection, npt.NDArray[Any]]]:
        """Yield some of the rows, or all: where each stands among `rows`, and ``(block, d)`` as they were passed."""
        if isinstance(self._source, Stream):
            rows = np.arange(len(self)) if rows is None else rows
            order = np.argsort(rows)
            for positions, block in self._source.blocks(rows):
                yield order[np.searchsorted(rows, positions, sorter=order)], block
            return
        for first in range(0, len(self) if rows is None else len(rows), BLOCK):
            places = slice(first, first + BLOCK)
            yield places, self._source[places if rows is None else rows[places]]

    def class_sums(self, y: Positions, rows: Positions | None = None, *, squares: bool = False) -> ClassSums:
        """Return the sums by class over all or some of the rows; `y` are the codes of all rows."""
        places = np.arange(len(self)) if rows is None else rows
        if self.device is not None:
            return self.there.class_sums(y, places, squares=squares)
        if isinstance(self._source, Stream) and self._source.map_parts is not None:
            return map_reduce.class_sums(self._source, places, y, self._source.map_parts, squares=squares)
        return ClassSums.over(self.blocks(places), y, int(y.max()) + 1, self.dim, squares=squares)

    def weighted_sums(self, y: Positions, weights: Floats) -> ClassSums:
        """Return the sums by class of all rows in memory, weighted ``(n,)``."""
        blocks = self.blocks(np.arange(len(self)))
        return ClassSums.over(blocks, y, int(y.max()) + 1, self.dim, squares=False, weights=weights)

    def weighted_moment(self, weights: Floats) -> Array:
        """Return the second moment ``(d, d)`` of all rows, weighted ``(n,)``."""
        return self._moment(np.arange(len(self)), np.sqrt(weights))

    @cached_property
    def narrow(self) -> "Eigenbasis":
        """The same rows in no more dimensions than there are rows."""
        return Eigenbasis(self.rows, self.device) if self.wide else self

    @cached_property
    def centred(self) -> "Eigenbasis":
        """The rows minus their mean, in an eigenbasis of their own.

        A fit with a free intercept is the same on them, and float32 resolves more of their spectrum: the eigenvalue of
        the mean is often the largest by far.
        """
        inputs = self.inputs.astype(np.float64) if self.wide else self.inputs
        mean = self.inputs.mean(axis=0, dtype=np.float64)
        return Eigenbasis(inputs - mean.astype(inputs.dtype))

    def moments(
        self, y: Positions, total: ClassSums, rows: Positions, weights: Floats | None = None
    ) -> tuple[ClassSums, Array]:
        """Return the sums by class and the second moment ``(d, d)`` of some of the rows, where the device is.

        They are those of all rows minus those of the other rows: `total` are the sums over all rows, which many folds
        share. With `weights` ``(classes,)`` every row is weighted by its class.
        """
        absent = np.setdiff1d(np.arange(len(self)), rows, assume_unique=True)
        sums = total - self.class_sums(y, absent)
        if weights is None:
            moment = self._moment(absent)
            moment *= -1
            moment += self.second
            return sums, moment
        self._require_memory()
        return sums.weighted(weights), self._moment(rows, np.sqrt(weights)[y])

    @cached_property
    def second(self) -> Array:
        """The second moment of all rows, ``(d, d)``, where the device is.

        Raises
        ------
        DataError
            The rows are streamed, and three such matrices would take more than the memory allowed.
        """
        self._require_memory()
        return self._moment(np.arange(len(self)))

    def _moment(self, rows: Positions, roots: Floats | None = None, dtype: npt.DTypeLike = np.float64) -> Array:
        """Return the second moment ``(d, d)`` of some rows, each multiplied by its root."""
        if self.device is not None:
            return self.there.second_moment(rows, dtype, roots)
        if isinstance(self._source, Stream) and self._source.map_parts is not None:
            moment = map_reduce.second_moment(self._source, rows, self._source.map_parts, roots)
            return moment.astype(dtype, copy=False)
        blocks = self.blocks(rows)
        if roots is not None:
            blocks = ((places, block * roots[places, None]) for places, block in blocks)
        return second_moment(blocks, self.dim, dtype)

    def _require_memory(self) -> None:
        need = 3 * 8 * self.dim**2
        if self.device is None and isinstance(self._source, Stream) and need > self._source.max_ram:
            raise DataError(
                f"Moments of {self.dim}-d embeddings take {need // 2**20} MB, --max-ram "
                f"allows {self._source.max_ram // 2**20} MB. Raise it, or take a head "
                "without them: centroid, gaussian-nb, knn."
            )

    @cached_property
    def gram(self) -> Floats:
        """All inner products, ``(n, n)``."""
        if self.device is not None:
            return self.there.inner(np.arange(len(self)), np.arange(len(self)))
        blocks = (self.inputs[:, first : first + BLOCK].astype(np.float64) for first in range(0, self.dim, BLOCK))
        return np.asarray(sum((block @ block.T for block in blocks), np.zeros((len(self), len(self)))))

    @property
    def values(self) -> Floats:
        """Eigenvalues of the second moment, ``(r,)``, the largest first: the squared lengths of the columns of rows."""
        return self._eigen[0]

    @cached_property
    def rows(self) -> Floats:
        """The rotated rows, ``(n, r)``; their columns are orthogonal."""
        values, vectors = self.values, self._axes
        return vectors * np.sqrt(values) if self.wide else np.asarray(self.inputs.astype(np.float64) @ vectors)

    @cached_property
    def rows32(self) -> npt.NDArray[np.float32]:
        """The rotated rows in float32, for a search that float64 will finish."""
        if self.wide:
            return self.rows.astype(np.float32)
        rows, axes = (matrix.astype(np.float32, copy=False) for matrix in (self.inputs, self._axes))
        return Multiply(rows.size, np.float32).turn(rows, axes)

    @property
    def finest(self) -> npt.NDArray[Any]:
        """The rotated rows in the precision of the inputs: rotating many float32 rows in float64 is slow."""
        return self.rows if self.wide or self.inputs.dtype == np.float64 else self.rows32

    def products(self, dtype: npt.DTypeLike) -> Products:
        """Return the products that a solver needs of the rotated rows, in float32 or float64."""
        if self.device is not None and not self.wide:
            return OnDeviceProducts(self.there, self._eigen[1], self.values, dtype)
        if isinstance(self._source, Stream):
            return Streamed(self._source, self._eigen[1], self.values, dtype)
        rows = self.finest if np.dtype(dtype) == np.float64 else self.rows32
        if self.device is not None:
            rotated = Eigenbasis(rows, self.device).there
            return OnDeviceProducts(rotated, None, self.values, dtype)
        return InMemory(rows, self.values, dtype)

    @cached_property
    def left(self) -> Floats:
        """Left singular vectors ``(n, r)``: the rotated rows with columns of unit length."""
        return self._axes if self.wide else np.asarray(self.rows / np.sqrt(self.values))

    def margins(self, rows: Positions | None, coefficients: Floats, intercepts: Floats) -> Floats:
        """Return some rows, or all, times coefficients ``(d, k)``, plus intercepts: ``(rows, k)`` float64."""
        if self.device is not None:
            return self.there.margins(rows, coefficients, intercepts)
        # In float32 LDA was right on 1.000 of rows that nearly coincide in folds, and on 0.377 afterwards: rounding
        # depends on how many rows are multiplied at once.
        margins = np.empty((len(self) if rows is None else len(rows), coefficients.shape[1]))
        for places, block in self.selected(rows):
            margins[places] = block.astype(np.float64, copy=False) @ coefficients + intercepts
        return margins

    def restore(self, coefficients: Floats) -> Floats:
        """Return coefficients ``(k, r)`` of the rotated rows as coefficients ``(k, d)`` of the inputs."""
        if not self.wide:
            vectors = self.arrays.asarray(self._eigen[1], np.float64)
            return self.arrays.host(self.arrays.asarray(coefficients, np.float64) @ vectors.T)
        return np.asarray(((coefficients / np.sqrt(self.values)) @ self._axes.T) @ self.inputs)

    def inner(self, rows: Positions, columns: Positions) -> Floats:
        """Return the inner products of two selections of rows, ``(len(rows), len(columns))``."""
        if self.wide or "gram" in vars(self):
            return np.asarray(self.gram[np.ix_(rows, columns)])
        if self.device is not None:
            return self.there.inner(rows, columns)
        return np.asarray(self.inputs[rows].astype(np.float64) @ self.inputs[columns].T.astype(np.float64))

    @cached_property
    def squares(self) -> Floats:
        """Squared lengths ``(n,)``."""
        if "gram" in vars(self):
            return self.gram.diagonal().copy()
        if self.device is not None:
            return self.there.squares()
        return np.asarray(np.square(self.inputs, dtype=np.float64).sum(axis=1))

    @property
    def _axes(self) -> npt.NDArray[Any]:
        """The eigenvectors, in memory."""
        return self.arrays.host(self._eigen[1])

    @cached_property
    def _eigen(self) -> tuple[Floats, Array]:
        """Eigenvalues ``(r,)``, and eigenvectors ``(n, r)`` of the Gram matrix or ``(d, r)`` of the second moment.

        The latter are where the device is, and the Gram matrix, which is small, is in memory.

        Large moments have float32 eigenvectors, which take a third of the time and half of the memory: they decide how
        fast a solver converges, not the optimum. Heads that solve systems of moments do so in float64.
        """
        if self.wide:
            values, vectors = eigh(self.arrays.asarray(self.gram))
            return values, np.ascontiguousarray(self.arrays.host(vectors))  # folds take rows of them
        if self.streamed or (self.dim > SMALL and self.inputs.dtype != np.float64):
            self._require_memory()
            second = self.second if "second" in vars(self) else self._moment(np.arange(len(self)), dtype=np.float32)
            values, vectors = eigh(self.arrays.asarray(second, np.float32))
        else:
            values, vectors = eigh(self.second)
        # Products take columns.
        return values.astype(np.float64), vectors if self.device is not None else np.asfortranarray(vectors)
