"""Streams: rows of unit length that are read from the cache when they are needed, block by block."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.disk_vectors import StoredVectors
from ...extract.engines.malloc import trim
from ..arrays import Positions, single, unit

# From a function of a part of the rows, the parts, and what else the function takes: what it makes of each, in order.
MapParts = Callable[..., Iterator[Any]]

AHEAD = 2  # blocks that are read while one is worked on


class Stream:
    """The rows of some images in all their views, view after view, as float32 of unit length.

    Parameters
    ----------
    views
        Vectors of all images, one table per view.
    images
        Which of them.
    map_parts
        Runs sums over rows, see :mod:`fc7.classify.solvers.map_reduce`; default: they are made here, block by block.
    """

    def __init__(self, views: Sequence[StoredVectors], images: Positions, map_parts: MapParts | None = None) -> None:
        self.views, self.images, self.map_parts = views, images, map_parts
        self.shape = (len(views) * len(images), views[0].shape[1])
        self.max_ram = views[0].max_ram
        self._place = np.empty(self.shape[0], np.intp)  # of each row, in the order in which rows lie on disk
        for number, view in enumerate(views):
            rank = np.argsort(view.order)
            self._place[number * len(images) :][: len(images)] = number * len(view) + rank[images]

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def blocks(self, rows: Positions) -> Iterator[tuple[Positions, npt.NDArray[np.float32]]]:
        """Yield some of the rows in the order in which they lie: their positions, and ``(block, dim)``."""
        parts = self._parts(rows)
        with ThreadPoolExecutor(AHEAD) as pool:
            coming = deque((part, pool.submit(self._read, *part)) for part in islice(parts, AHEAD))
            while coming:
                (number, some), block = coming.popleft()
                read = block.result()
                coming.extend((part, pool.submit(self._read, *part)) for part in islice(parts, 1))
                yield number * len(self.images) + some, read
        trim()

    def parts(self, rows: Positions, size: int) -> Iterator[tuple[Positions, StoredVectors]]:
        """Cut rows, in the order in which they lie, into parts of one view each: their positions, and their vectors."""
        for number, cut in self._by_view(rows):
            for first in range(0, len(cut), size):
                some = cut[first : first + size]
                yield number * len(self.images) + some, self.views[number].take(self.images[some])

    def _parts(self, rows: Positions) -> Iterator[tuple[int, Positions]]:
        """Cut rows into blocks of one view each: its number, and places among the images."""
        for number, cut in self._by_view(rows):
            yield from ((number, some) for some in self.views[number].chunks(cut))

    def _by_view(self, rows: Positions) -> Iterator[tuple[int, Positions]]:
        ordered = rows[np.argsort(self._place[rows])]
        view = ordered // len(self.images)  # ascending, as places are
        cuts = np.searchsorted(view, range(1, len(self.views)))
        yield from enumerate(np.split(ordered % len(self.images), cuts))

    def _read(self, number: int, some: Positions) -> npt.NDArray[np.float32]:
        rows = single(self.views[number][self.images[some]])
        return unit(rows, out=rows)
