"""Nearest: the rows nearest to each query by cosine, exact, without a matrix of all pairs in memory.

A product in float32 finds candidates: all rows that rounding could hide among the nearest. Only these are computed in
float64. So the answer is that of float64, at the cost of float32.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...cache.disk_vectors import StoredVectors
from ...cache.embeddings import Vectors
from ...extract.progress import Progress, silent
from ..arrays import Floats, Positions, unit

ROUNDING = 4e-6  # twice what a product of two rows of unit length in float32 may differ from that in float64
DECIMALS = 12  # of a cosine in float64: what differs less is a tie

_QUERIES = 1024  # compared at once
_NUMBERS = 2**21  # of rows in a block: in float32 they stay in the processor's cache
_PRODUCTS = 2**22  # in a block
_ON_DEVICE = 16  # times as many of both on a device
_WAITING = 16  # candidates for each neighbour that is asked for; beyond, they are decided at once

Single = npt.NDArray[np.float32]
Candidates = tuple[Positions, Positions, Single]  # the query of each, its column in the block, its cosine


@dataclass(frozen=True)
class Nearest:
    """The rows nearest to each query.

    Attributes
    ----------
    places, cosines
        ``(queries, count)`` intp and float64, the nearest first, of ties the first row first; `count` is less where
        there are fewer rows.
    """

    places: Positions
    cosines: Floats

    def pairs(self, threshold: float) -> tuple[Positions, Floats]:
        """Return pairs ``(m, 2)`` of near rows with cosines of `threshold` or more, each pair once, and the cosines.

        The queries must have been the rows themselves.
        """
        rows, rank = np.nonzero(self.cosines >= threshold)
        ordered = np.sort(np.column_stack([rows, self.places[rows, rank]]), axis=1)
        pairs, first = np.unique(ordered, axis=0, return_index=True)
        return pairs, self.cosines[rows, rank][first]


def nearest(
    vectors: Vectors,
    count: int,
    *,
    queries: npt.NDArray[Any] | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Nearest:
    """Find the `count` rows nearest to each query.

    Parameters
    ----------
    vectors
        ``(n, d)``, finite, in memory or on disk; read in blocks. A row of zeros has cosine 0 to every row.
    queries
        ``(q, d)``, finite; by default each row of `vectors`, which is not near itself.
    device
        Of torch; ``cpu`` is NumPy.
    progress
        Called with queries done and all queries.
    """
    n, own = len(vectors), queries is None
    asked = vectors if queries is None else queries
    count = max(0, min(count, n - own))
    places, cosines = np.empty((len(asked), count), np.intp), np.empty((len(asked), count))
    for start in range(0, len(asked) if count else 0, _QUERIES):
        part = slice(start, min(start + _QUERIES, len(asked)))
        search = _Search(vectors, asked[part], count, device, first=start if own else None)
        for block, seen in _blocks(vectors, part.stop - start, 1 if device == "cpu" else _ON_DEVICE):
            search.compare(block)
            progress("compare embeddings", start + (part.stop - start) * seen // n, len(asked))
        places[part], cosines[part] = search.found()
    return Nearest(places, cosines)


def _blocks(vectors: Vectors, queries: int, times: int) -> Iterator[tuple[Positions, int]]:
    """Yield the places of the rows to compare at once, on disk in their order there, and how many there are so far."""
    n, dim = vectors.shape
    size = max(1, times * min(_NUMBERS // dim, _PRODUCTS // queries))
    order = np.argsort(vectors.order) if isinstance(vectors, StoredVectors) else np.arange(n)
    for start in range(0, n, size):
        block = order[start : start + size]
        yield block, start + len(block)


class _Compare(Protocol):
    """Finds candidates in a block of rows."""

    def __call__(self, rows: npt.NDArray[Any], itself: tuple[Positions, Positions], least: Single) -> Candidates:
        """Return what is nearer to a query than `least`, which is raised in place where it is infinite.

        Parameters
        ----------
        rows
            ``(b, d)``.
        itself
            Queries and columns that are the same row, and no candidates.
        least
            ``(q,)``; minus infinity where fewer rows were seen than are asked for.
        """


class _Search:
    """The nearest rows to some queries, among the blocks that were compared so far.

    Parameters
    ----------
    first
        The row that the first query is, if they are rows; the others follow.
    """

    def __init__(
        self, vectors: Vectors, queries: npt.NDArray[Any], count: int, device: str, *, first: int | None
    ) -> None:
        self._vectors, self._count, self._first = vectors, count, first
        self._queries = unit(queries.astype(np.float64))
        single = self._queries.astype(np.float32)
        self._candidates: _Compare = _Processor(single, count) if device == "cpu" else _Device(single, count, device)
        self._least = np.full(len(queries), -np.inf, np.float32)  # what `count` rows exceed, but for rounding
        # Candidates: the query of each, its row, and its cosine.
        self._query, self._place, self._cosine = np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0)

    def compare(self, block: Positions) -> None:
        """Look for candidates among the rows at some places."""
        itself = np.full(len(block), -1) if self._first is None else block - self._first
        columns = np.flatnonzero((itself >= 0) & (itself < len(self._queries)))
        query, column, cosine = self._candidates(self._rows(block), (itself[columns], columns), self._least)
        self._query, self._place = np.append(self._query, query), np.append(self._place, block[column])
        self._cosine = np.append(self._cosine, cosine)
        last = np.flatnonzero(self._sort() == self._count - 1)
        self._least[self._query[last]] = self._cosine[last] - ROUNDING
        self._keep(self._cosine >= self._least[self._query])
        if len(self._query) > _WAITING * self._count * len(self._queries):  # rows that are all alike
            self._decide()

    def found(self) -> tuple[Positions, Floats]:
        """Return places and cosines, ``(queries, count)`` each."""
        self._decide()
        shape = len(self._queries), self._count
        return self._place.reshape(shape), self._cosine.reshape(shape)

    def _decide(self) -> None:
        """Compute the candidates in float64, and keep the nearest of them."""
        size = max(1, _NUMBERS // self._queries.shape[1])
        by_place = np.argsort(self._place, kind="stable")
        for start in range(0, len(by_place), size):
            some = by_place[start : start + size]
            rows = unit(self._rows(self._place[some]).astype(np.float64))
            self._cosine[some] = np.vecdot(self._queries[self._query[some]], rows).round(DECIMALS)
        self._keep(self._sort() < self._count)

    def _sort(self) -> Positions:
        """Put the candidates of each query in order, the nearest first, and return their ranks."""
        self._keep(np.lexsort((self._place, -self._cosine, self._query)))
        counts = np.bincount(self._query, minlength=len(self._queries))
        return np.asarray(np.arange(len(self._query)) - np.repeat(np.cumsum(counts) - counts, counts))

    def _keep(self, chosen: npt.NDArray[Any]) -> None:
        self._query, self._place, self._cosine = self._query[chosen], self._place[chosen], self._cosine[chosen]

    def _rows(self, places: Positions) -> npt.NDArray[Any]:
        if isinstance(self._vectors, np.ndarray) and (np.diff(places) == 1).all():
            return self._vectors[places[0] : places[-1] + 1]  # no copy
        return np.asarray(self._vectors[places])


class _Processor:
    """See :class:`_Compare`; by NumPy."""

    def __init__(self, queries: Single, count: int) -> None:
        self._queries, self._count = queries, count

    def __call__(self, rows: npt.NDArray[Any], itself: tuple[Positions, Positions], least: Single) -> Candidates:
        single = rows.astype(np.float32)
        products = self._queries @ unit(single, out=single).T
        products[itself] = -np.inf
        if least.min() == -np.inf and len(rows) > self._count:
            np.maximum(least, np.partition(products, -self._count, axis=1)[:, -self._count] - ROUNDING, out=least)
        query, column = np.nonzero(products > least[:, None])
        return query, column, products[query, column]


class _Device:
    """See :class:`_Compare`; by torch. Only rows as they are stored, and candidates, are copied."""

    def __init__(self, queries: Single, count: int, device: str) -> None:
        import torch

        self._torch, self._device, self._count = torch, device, count
        self._queries = torch.from_numpy(queries).to(device)

    def __call__(self, rows: npt.NDArray[Any], itself: tuple[Positions, Positions], least: Single) -> Candidates:
        torch = self._torch
        single = torch.from_numpy(np.require(rows, requirements=["C", "W"])).to(self._device).float()
        single /= single.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        products = self._queries @ torch.nn.functional.normalize(single).T
        products[tuple(torch.from_numpy(places).to(self._device) for places in itself)] = -torch.inf
        if least.min() == -np.inf and len(rows) > self._count:
            largest = products.topk(self._count, dim=1).values[:, -1]
            np.maximum(least, largest.cpu().numpy() - np.float32(ROUNDING), out=least)
        query, column = torch.nonzero(products > torch.from_numpy(least).to(self._device)[:, None], as_tuple=True)
        return query.cpu().numpy(), column.cpu().numpy(), products[query, column].cpu().numpy()
