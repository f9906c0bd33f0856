"""What a solver of linear heads asks of the rows: their products with planes and with residuals, nothing else."""

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .splits import Positions

Array = npt.NDArray[Any]


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


class InMemory:
    """Rows at hand, worked on in ``dtype``; what is not of that type is turned into it block by block."""

    BLOCK = 2048

    def __init__(self, rows: Array, dtype: npt.DTypeLike) -> None:
        self.rows, self.dtype, self.shape = rows, np.dtype(dtype), (rows.shape[0], rows.shape[1])
        self.sums = rows.sum(axis=0, dtype=self.dtype)

    def project(self, planes: Array) -> Array:
        """See :class:`Products`."""
        if self.rows.dtype == self.dtype:
            return np.asarray(planes @ self.rows.T)
        return np.concatenate([planes @ block.T for block in self._blocks()], axis=1)

    def gather(self, residuals: Array) -> Array:
        """See :class:`Products`."""
        if self.rows.dtype == self.dtype:
            return np.asarray(residuals @ self.rows)
        parts = np.split(residuals, range(self.BLOCK, len(self.rows), self.BLOCK), axis=1)
        return np.asarray(sum(part @ block for part, block in zip(parts, self._blocks(), strict=True)))

    def _blocks(self) -> Iterable[Array]:
        return (
            self.rows[first : first + self.BLOCK].astype(self.dtype) for first in range(0, len(self.rows), self.BLOCK)
        )


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
        self.sums = self.gather(np.ones((1, len(rows)), self.dtype))[0]

    def project(self, planes: Array) -> Array:
        """See :class:`Products`."""
        turned = planes @ self.axes.T.astype(self.dtype)
        found = np.empty((len(planes), len(self.rows)), self.dtype)
        for places, block in self.rows.blocks(np.arange(len(self.rows))):
            found[:, places] = turned @ block.T.astype(self.dtype)
        return found

    def gather(self, residuals: Array) -> Array:
        """See :class:`Products`."""
        found = np.zeros((len(residuals), len(self.axes)), self.dtype)
        for places, block in self.rows.blocks(np.arange(len(self.rows))):
            found += residuals[:, places] @ block.astype(self.dtype)
        return np.asarray(found @ self.axes.astype(self.dtype))


class Blocks(Protocol):
    """Rows that come in blocks, in any order."""

    def __len__(self) -> int:
        """Return their number."""

    def blocks(self, rows: Positions) -> Iterable[tuple[Positions, Array]]:
        """Yield positions and rows, all those asked for once."""
