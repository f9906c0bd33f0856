"""Streams: rows of unit length, read from the cache block by block when they are needed."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.store import StoredVectors
from ...extract.engines.malloc import trim
from ..arrays import Positions, single, unit

# Called with a function, parts of the rows and further arguments; yields the function's result for each part, in order.
MapParts = Callable[..., Iterator[Any]]

AHEAD = 2  # blocks that are read while one is worked on


class Stream:
    """The rows of some images in all their views, view after view, as float32 of unit length.

    Parameters
    ----------
    views
        Vectors of all images, one table per view.
    images
        Positions of the images whose rows are streamed.
    map_parts
        Runs sums over rows, see :mod:`fc7.classify.solvers.map_reduce`; by default this process sums block by block.
    """

    def __init__(self, views: Sequence[StoredVectors], images: Positions, map_parts: MapParts | None = None) -> None:
        self.views, self.images, self.map_parts = views, images, map_parts
        self.shape = (len(views) * len(images), views[0].shape[1])
        self.max_ram = views[0].max_ram
        self._disk_place = np.empty(self.shape[0], np.intp)  # of each row, in the order in which rows lie on disk
        for index, view in enumerate(views):
            self._disk_place[index * len(images) :][: len(images)] = index * len(view) + view.rank[images]

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def blocks(self, rows: Positions) -> Iterator[tuple[Positions, npt.NDArray[np.float32]]]:
        """Yield some of the rows in their order on disk: their positions, and ``(block, dim)``."""
        blocks = ((view, block) for view, places in self._by_view(rows) for block in self.views[view].chunks(places))
        with ThreadPoolExecutor(AHEAD) as pool:
            pending = deque((request, pool.submit(self._read, *request)) for request in islice(blocks, AHEAD))
            while pending:
                (view, places), block = pending.popleft()
                vectors = block.result()
                pending.extend((request, pool.submit(self._read, *request)) for request in islice(blocks, 1))
                yield view * len(self.images) + places, vectors
        trim()

    def parts(self, rows: Positions, size: int) -> Iterator[tuple[Positions, StoredVectors]]:
        """Cut rows, in their order on disk, into parts of one view each: their positions, and their vectors."""
        for view, places in self._by_view(rows):
            for first in range(0, len(places), size):
                part = places[first : first + size]
                yield view * len(self.images) + part, self.views[view].take(self.images[part])

    def _by_view(self, rows: Positions) -> Iterator[tuple[int, Positions]]:
        """Cut rows, in their order on disk, by their views: number of the view, and places among the images."""
        ordered = rows[np.argsort(self._disk_place[rows])]
        view = ordered // len(self.images)  # ascending, as places are
        cuts = np.searchsorted(view, range(1, len(self.views)))
        yield from enumerate(np.split(ordered % len(self.images), cuts))

    def _read(self, view: int, places: Positions) -> npt.NDArray[np.float32]:
        rows = single(self.views[view][self.images[places]])
        return unit(rows, out=rows)
