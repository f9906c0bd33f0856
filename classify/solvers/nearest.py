"""Nearest: the rows nearest to each query, by cosine or by distance, exact, without a matrix of all pairs in memory.

A product in float32 finds candidates: all rows that rounding could hide among the nearest. Only these are computed in
float64, unless there are too many, or few rows: then the product is. The answer is that of float64, mostly at the cost
of float32.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import Vectors
from ...cache.store import StoredVectors
from ...extract.progress import Progress, silent
from ..arrays import Floats, Positions
from .device_rows import DeviceRows
from .namespaces import NUMPY, Array, NumPy

if TYPE_CHECKING:
    import torch

# Twice what products of rows of unit length differ by from what they are, and what makes a tie in float64.
ROUNDING: dict[type, float] = {np.float32: 4e-6, np.float64: 4e-9}
DECIMALS = 12  # of a cosine: what differs less is a tie
DIGITS = 30  # binary ones of a squared distance: what differs less is a tie
CLOSE = 1e-6  # squared distances below this share of the squared lengths are computed from differences

_NUMBERS = 2**21  # of rows in a block: in float32 they stay in the processor's cache
_PRODUCTS = 2**22  # in a block
_ON_DEVICE = 16  # times as many of both on a device
_QUERIES = (2**8, 2**12)  # compared at once, at least and at most
_OF_QUERIES = 2**24  # numbers in these
_WAITING = 4  # candidates for each neighbour that is asked for; beyond, products are computed in float64
_DENSE = 32  # a pair of rows takes as long alone as so many in a product

Blocks = Callable[[Positions], Iterator[tuple[Positions, Array]]]  # some rows, in any order: places, and (block, d)


@dataclass(frozen=True)
class Nearest:
    """The rows nearest to each query."""

    # `(queries, count)` intp and float64, the nearest first, of ties the first row first; `count` is less where there
    # are fewer rows.
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
    device: "torch.device | None" = None,
    progress: Progress = silent,
) -> Nearest:
    """Find the `count` rows nearest to each query by cosine.

    Parameters
    ----------
    vectors
        ``(n, d)``, finite, in memory or on disk; read in blocks. A row of zeros has cosine 0 to every row.
    queries
        ``(q, d)``, finite; by default each row of `vectors`, which is not near itself.
    device
        What computes: the processor by default, or a device of torch that has float64.
    progress
        Called with queries done and all queries.
    """
    n, own = len(vectors), queries is None
    asked = vectors if queries is None else queries
    count = max(0, min(count, n - own))
    places, cosines = np.empty((len(asked), count), np.intp), np.empty((len(asked), count))
    if not count:
        return Nearest(places, cosines)
    there = None if device is None else _on_device(vectors, device)
    arrays, everything = (there.arrays if there else NUMPY), np.arange(n)

    def blocks(rows: Positions) -> Iterator[tuple[Positions, Array]]:
        return there.blocks(rows, vectors.dtype) if there else _blocks(vectors, rows)

    for part in batches(len(asked), vectors.shape[1]):
        search = ByCosine(asked[part], count, n, blocks, arrays)
        seen, first = 0, part.start if own else None
        for rows, block in blocks(everything):
            search.compare(rows, block, first)
            seen += len(rows)
            progress("compare embeddings", part.start + (part.stop - part.start) * seen // n, len(asked))
        places[part], cosines[part] = search.found()
    return Nearest(places, cosines)


def batches(queries: int, dim: int) -> Iterator[slice]:
    """Yield queries to be compared at once."""
    least, most = _QUERIES
    size = min(max(_OF_QUERIES // dim, least), most)
    return (slice(start, min(start + size, queries)) for start in range(0, queries, size))


def _blocks(vectors: Vectors, rows: Positions) -> Iterator[tuple[Positions, npt.NDArray[Any]]]:
    size = max(1, _NUMBERS // vectors.shape[1])
    if isinstance(vectors, StoredVectors):  # in their order on disk
        rows = rows[np.argsort(vectors.rank[rows])]
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        together = part[-1] - part[0] == len(part) - 1 and (np.diff(part) == 1).all()  # then no copy
        yield part, np.asarray(vectors[part[0] : part[-1] + 1] if together else vectors[part])


def _on_device(vectors: Vectors, device: "torch.device") -> DeviceRows:
    def select(rows: Positions | None) -> Iterator[tuple[Positions, npt.NDArray[Any]]]:
        rows = np.arange(len(vectors)) if rows is None else rows
        order = np.argsort(rows)
        for part, block in _blocks(vectors, rows):
            yield order[np.searchsorted(rows, part, sorter=order)], block

    return DeviceRows(select, vectors.shape, vectors.dtype, device)


class Prepared(NamedTuple):
    """Rows to be multiplied, divided by a scale, how long they are at most, and their squared lengths if they count."""

    rows: Array
    scale: float = 1.0
    longest: float = 1.0
    squares: Array = None


class Search(ABC):
    """The nearest rows to some queries among those that were compared so far.

    The score of a pair is `factor` times its product, minus the squared lengths of both.

    Parameters
    ----------
    queries
        ``(q, d)``.
    count
        How many are asked for; as many rows must be compared.
    among
        About how many rows will be compared: among few, float32 saves nothing.
    blocks
        Yields rows that are needed again.
    arrays
        What computes.
    products
        Of the queries with the rows at some places, ``(q, rows)`` float64, where they are known.
    """

    factor: float

    def __init__(
        self, queries: npt.NDArray[Any], count: int, among: int, blocks: Blocks, arrays: NumPy = NUMPY,
        products: Callable[[Positions], Floats] | None = None,
    ) -> None:  # fmt: skip
        self._count, self._blocks, self._arrays, self._products = count, blocks, arrays, products
        self._kind: type = np.float64 if products or count * _DENSE >= among else np.float32  # of products
        self._queries: dict[type, Prepared] = {kind: self._prepared(queries, kind) for kind in {self._kind, np.float64}}
        squares = self._queries[np.float64].squares
        self._squares = np.zeros(len(queries)) if squares is None else arrays.host(squares)
        self._longest = 0.0  # of the rows
        self._least = np.full(len(queries), -np.inf)  # scores that `count` rows exceed, but for rounding
        # Candidates: the query of each, its row, and its score.
        self._query, self._place, self._score = np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0)

    @abstractmethod
    def _prepared(self, rows: Array, kind: type) -> Prepared:
        """Return rows or queries for a product in a type; in float64 they keep their scale."""

    @abstractmethod
    def _settled(self, prepared: Prepared, query: Array, column: Array, score: Array) -> Floats:
        """Return the scores of pairs as they are, ties equal; `score` are those of a product in float64."""

    def compare(self, places: Positions, rows: Array, first: int | None = None) -> None:
        """Look for candidates among rows ``(b, d)`` at some places.

        If the queries are rows themselves, `first` is the place of the first, and the others follow; none is near
        itself.
        """
        for part in self._parts(rows):
            itself = np.full(0, -1) if first is None else places[part] - first
            columns = np.flatnonzero((itself >= 0) & (itself < len(self._least)))
            self._compare(places[part], rows[part], (itself[columns], columns))

    def found(self) -> tuple[Positions, Floats]:
        """Return places and scores, ``(queries, count)`` each."""
        if self._kind is np.float32:
            self._decide()
        shape = len(self._least), self._count
        return self._place.reshape(shape), self._score.reshape(shape)

    def _parts(self, rows: Array) -> Iterator[slice]:
        times = 1 if self._arrays is NUMPY else _ON_DEVICE
        size = max(1, times * min(_NUMBERS // rows.shape[1], _PRODUCTS // max(len(self._least), 1)))
        return (slice(start, start + size) for start in range(0, len(rows), size))

    def _compare(self, places: Positions, rows: Array, itself: tuple[Positions, Positions]) -> None:
        arrays, kind = self._arrays, self._kind
        asked, block = self._queries[kind], self._prepared(rows, kind)
        scale = self.factor * asked.scale * block.scale
        products = self._products(places) if self._products else asked.rows @ block.rows.T
        if block.squares is not None:
            products -= arrays.asarray(block.squares / scale, kind)
        products[tuple(map(arrays.index, itself))] = -np.inf
        self._longest = max(self._longest, block.longest)
        length = (asked.longest + self._longest) / 2 or 1.0
        slack = ROUNDING[kind] * self.factor * length**2
        if len(rows) > self._count and self._least.min() == -np.inf:
            largest = arrays.host(arrays.kth_largest(products, self._count)).astype(np.float64)
            self._least = np.maximum(self._least, largest * scale - self._squares - slack)
        least = arrays.asarray((self._least + self._squares) / scale, kind)
        query, column = arrays.places_where(products > least[:, None])
        score = arrays.asarray(products[query, column], np.float64) * scale
        if block.squares is not None:
            score -= asked.squares[query]
        score = arrays.host(score) if kind is np.float32 else self._settled(block, query, column, score)
        query, column = arrays.host(query), arrays.host(column)
        self._query, self._place = np.append(self._query, query), np.append(self._place, places[column])
        self._score = np.append(self._score, score)
        rank = self._sort()
        last = np.flatnonzero(rank == self._count - 1)
        self._least[self._query[last]] = self._score[last] - slack
        self._keep(rank < self._count if kind is np.float64 else self._score >= self._least[self._query])
        if kind is np.float32 and len(self._query) > _WAITING * self._count * len(self._least):  # all are alike
            self._decide()
            self._kind = np.float64

    def _decide(self) -> None:
        """Compute the candidates in float64, and keep the nearest of them."""
        column_of = np.full(self._place.max(initial=0) + 1, -1)
        for places, rows in self._blocks(np.unique(self._place)):
            for part in self._parts(rows):
                column_of[places[part]] = np.arange(len(places[part]))
                pairs = np.flatnonzero(column_of[self._place] >= 0)
                block = self._prepared(rows[part], np.float64)
                self._score[pairs] = self._exact(block, self._query[pairs], column_of[self._place[pairs]])
                column_of[places[part]] = -1
        self._keep(self._sort() < self._count)

    def _exact(self, block: Prepared, query: Positions, column: Positions) -> Floats:
        """Return the scores of some pairs, computed in float64."""
        arrays, asked = self._arrays, self._queries[np.float64]
        query, column = arrays.index(query), arrays.index(column)
        if len(query) * _DENSE > len(asked.rows) * len(block.rows):
            product = (asked.rows @ block.rows.T)[query, column]
        else:
            product = self._by_pairs(lambda one, other: (asked.rows[one], block.rows[other]), query, column)
        if block.squares is not None:
            product = self.factor * product - block.squares[column] - asked.squares[query]
        return self._settled(block, query, column, product)

    def _by_pairs(self, sides: Callable[[Array, Array], tuple[Array, Array]], query: Array, column: Array) -> Array:
        """Return the inner products of two sides of each pair, of few pairs at once."""
        size = max(1, _NUMBERS // max(self._queries[np.float64].rows.shape[1], 1))
        parts = [slice(first, first + size) for first in range(0, max(len(query), 1), size)]
        return self._arrays.concatenate(
            [self._arrays.einsum("pd,pd->p", *sides(query[part], column[part])) for part in parts], axis=0
        )

    def _sort(self) -> Positions:
        """Put the candidates of each query in order, the nearest first, and return their ranks."""
        self._keep(np.lexsort((self._place, -self._score, self._query)))
        counts = np.bincount(self._query, minlength=len(self._least))
        return np.asarray(np.arange(len(self._query)) - np.repeat(np.cumsum(counts) - counts, counts))

    def _keep(self, chosen: npt.NDArray[Any]) -> None:
        self._query, self._place, self._score = self._query[chosen], self._place[chosen], self._score[chosen]


class ByCosine(Search):
    """By cosine; a row of zeros has cosine 0 to every row."""

    factor = 1.0

    def _prepared(self, rows: Array, kind: type) -> Prepared:
        return Prepared(self._arrays.unit(self._arrays.array(rows, kind)))

    def _settled(self, prepared: Prepared, query: Array, column: Array, score: Array) -> Floats:
        return self._arrays.host(score).round(DECIMALS)


class ByDistance(Search):
    """By Euclidean distance; a score is minus its square.

    Of rows that nearly coincide it is computed from the differences, as inner products would lose it.
    """

    factor = 2.0

    def _prepared(self, rows: Array, kind: type) -> Prepared:
        wide = self._arrays.asarray(rows, np.float64)
        squares = self._arrays.einsum("nd,nd->n", wide, wide)
        longest = float(squares.max()) ** 0.5 if len(squares) else 0.0
        if kind is np.float64:
            return Prepared(wide, longest=longest, squares=squares)
        scale = longest or 1.0
        return Prepared(self._arrays.asarray(wide * (1 / scale), kind), scale, longest, squares)

    def _settled(self, prepared: Prepared, query: Array, column: Array, score: Array) -> Floats:
        asked = self._queries[np.float64]
        square = -score
        (close,) = self._arrays.places_where(square <= CLOSE * (asked.squares[query] + prepared.squares[column]))

        def difference(one: Array, other: Array) -> tuple[Array, Array]:
            differences = asked.rows[one] - prepared.rows[other]
            return differences, differences

        square[close] = self._by_pairs(difference, query[close], column[close])
        mantissa, exponent = np.frexp(self._arrays.host(square))
        return np.asarray(-np.ldexp(np.round(np.ldexp(mantissa, DIGITS)), exponent - DIGITS))
