"""Streams: rows of unit length that are read from the cache when they are needed, block by block."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..cache.stored import StoredVectors
from .splits import Positions
from .unit_rows import unit


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
        ordered = rows[np.argsort(self._place[rows])]
        for some in self.views[0].chunks(ordered):
            for number in np.unique(some // len(self.images)):
                own = some[some // len(self.images) == number]
                read = self.views[number][self.images[own % len(self.images)]]
                yield own, unit(read.astype(np.float32))
