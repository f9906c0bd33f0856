"""Sums over rows that stay on disk: a map sums each part, and the sums are added in the order of the parts.

The map is a plain function, such as :func:`fc7.classify.fitting.ray_sums.ray_map` returns: nothing here knows who runs
it. A part is a fixed number of rows in their order on disk, so that the result depends neither on the number of workers
nor on which of them finishes first.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...cache.directory import open_directory
from ...cache.keys import Keys
from ...cache.recipe import Recipe
from ...cache.store import Store, StoredVectors
from ..arrays import Floats, Positions, single, unit
from .class_sums import Block, ClassSums
from .class_sums import second_moment as moment_of
from .row_stream import MapParts, Stream

ROWS = 8192  # in a part: a second or more of work, and half a second to hand over its second moment


class RowPart(NamedTuple):
    """Some rows of one store, with their class codes or a factor for each where the sum needs them."""

    recipe: str
    directory: str
    keys: bytes
    max_ram: int
    codes: Positions | None = None
    roots: Floats | None = None

    def blocks(self) -> Iterator[Block]:
        """Yield the rows as a stream does: their positions in this part, and ``(block, d)`` of unit length."""
        keys = Keys.from_bytes(self.keys)
        vectors = StoredVectors(_store(self.recipe, self.directory), keys, self.max_ram)
        for places in vectors.chunks(np.arange(len(keys))):
            rows = single(vectors[places])
            rows = unit(rows, out=rows)
            yield places, rows if self.roots is None else rows * self.roots[places, None]


def class_sums(stream: Stream, rows: Positions, y: Positions, map_parts: MapParts, *, squares: bool) -> ClassSums:
    """Return the sums by class over some rows of a stream; `y` are the codes of all rows."""
    classes, dim = int(y.max()) + 1, stream.shape[1]
    total = ClassSums.over([], y, classes, dim, squares=squares)
    parts = (part._replace(codes=y[places]) for places, part in _parts(stream, rows))
    for sums in map_parts(_sums, parts, classes, squares):
        total = total + sums
    return total


def second_moment(stream: Stream, rows: Positions, map_parts: MapParts, roots: Floats | None = None) -> Floats:
    """Return the sum of outer products of some rows of a stream, each times its root, ``(d, d)``."""
    total = np.zeros((stream.shape[1], stream.shape[1]))
    parts = (part._replace(roots=None if roots is None else roots[places]) for places, part in _parts(stream, rows))
    for moment in map_parts(_moment, parts):
        total += moment
    return total


def _parts(stream: Stream, rows: Positions) -> Iterator[tuple[Positions, RowPart]]:
    for places, vectors in stream.parts(rows, ROWS):
        store = vectors.store
        directory = str(store.directory.absolute())
        yield places, RowPart(store.recipe.to_json(), directory, vectors.keys.tobytes(), stream.max_ram)


def _sums(part: RowPart, classes: int, squares: bool) -> ClassSums:
    """Return the sums by class of a part."""
    codes = np.empty(0, np.intp) if part.codes is None else part.codes
    return ClassSums.over(part.blocks(), codes, classes, Recipe.from_json(part.recipe).dim, squares=squares)


def _moment(part: RowPart) -> npt.NDArray[np.float64]:
    """Return the second moment of a part."""
    return moment_of(part.blocks(), Recipe.from_json(part.recipe).dim)


@cache
def _store(recipe: str, directory: str) -> Store:
    """Open a store once in each worker process."""
    return Store(Recipe.from_json(recipe), open_directory(directory, new=False))
