"""Streams: rows of unit length that are read from the cache when they are needed, block by block."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import numpy.typing as npt

from ..cache.stored import StoredVectors
from .splits import Positions
from .unit_rows import unit

AHEAD = 2  # blocks that are read while one is worked on


class Stream:
    """The rows of some images in all their views, view after view, as float32 of unit length.

    Parameters
    ----------
    views
        Vectors of all images, one table per view.
    images
        Which of them.
    """

    def __init__(self, views: Sequence[StoredVectors], images: Positions) -> None:
        self.views, self.images = views, images
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

    def _parts(self, rows: Positions) -> Iterator[tuple[int, Positions]]:
        """Cut rows into blocks of one view each: its number, and places among the images."""
        ordered = rows[np.argsort(self._place[rows])]
        view = ordered // len(self.images)  # ascending, as places are
        cuts = np.searchsorted(view, range(1, len(self.views)))
        for number, cut in enumerate(np.split(ordered % len(self.images), cuts)):
            yield from ((number, some) for some in self.views[number].chunks(cut))

    def _read(self, number: int, some: Positions) -> npt.NDArray[np.float32]:
        rows = self.views[number][self.images[some]].astype(np.float32, copy=False)
        return unit(rows, out=rows)
