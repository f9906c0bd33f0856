"""Sums over rows that stay on disk, made part by part on a Ray cluster and added up here, in the order of the parts.

A part is a fixed number of rows in the order in which they lie, so that what comes out depends neither on how many
workers there are nor on which of them is done first.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...cache.directory import existing_directory
from ...cache.disk_vectors import StoredVectors
from ...cache.keys import Keys
from ...cache.recipe import Recipe
from ...cache.store import Store
from ...errors import DataError, EngineError, FC7Error
from ..arrays import Floats, Positions, single, unit
from .class_sums import Block, ClassSums
from .class_sums import second_moment as moment_of
from .row_stream import Stream

ROWS = 8192  # of a part: a second or more of work, and half a second to hand over the moment that comes of it
AHEAD = 2  # parts given out for each core


class RowPart(NamedTuple):
    """Some rows, and what is known of them: their codes, or a factor for each, or nothing."""

    recipe: str
    directory: str
    keys: bytes
    max_ram: int
    codes: Positions | None = None
    roots: Floats | None = None

    def blocks(self) -> Iterator[Block]:
        """Yield the rows as a stream would: their places in this part, and ``(block, d)`` of unit length."""
        keys = Keys.from_bytes(self.keys)
        vectors = StoredVectors(_store(self.recipe, self.directory), keys, self.max_ram)
        for places in vectors.chunks(np.arange(len(keys))):
            rows = single(vectors[places])
            rows = unit(rows, out=rows)
            yield places, rows if self.roots is None else rows * self.roots[places, None]


def class_sums(stream: Stream, rows: Positions, y: Positions, *, squares: bool) -> ClassSums:
    """Return the sums by class over some rows of a stream; ``y`` are the codes of all.

    Raises
    ------
    DataError
        A worker cannot read the cache.
    EngineError
        A part does not come to its end.
    """
    classes, dim = int(y.max()) + 1, stream.shape[1]
    total = ClassSums.over([], y, classes, dim, squares=squares)
    parts = (part._replace(codes=y[places]) for places, part in _parts(stream, rows))
    for found in _mapped(stream, _sums, parts, classes, squares):
        total = total + found
    return total


def second_moment(stream: Stream, rows: Positions, roots: Floats | None = None) -> Floats:
    """Return the sum of outer products of some rows of a stream, each times its root, ``(d, d)``; raises as above."""
    total = np.zeros((stream.shape[1], stream.shape[1]))
    parts = (part._replace(roots=None if roots is None else roots[places]) for places, part in _parts(stream, rows))
    for found in _mapped(stream, _moment, parts):
        total += found
    return total


def _parts(stream: Stream, rows: Positions) -> Iterator[tuple[Positions, RowPart]]:
    for places, vectors in stream.parts(rows, ROWS):
        store = vectors.store
        where = str(store.directory.absolute())
        yield places, RowPart(store.recipe.to_json(), where, vectors.keys.tobytes(), stream.max_ram)


def _mapped(stream: Stream, work: Callable[..., Any], parts: Iterator[RowPart], *options: Any) -> Iterator[Any]:
    """Yield what work makes of each part, in order; a few of them are at work at a time."""
    engine = stream.engine
    if engine is None:
        raise TypeError("there is no engine")
    ray = engine.ray
    task = ray.remote(max_retries=3)(work)
    most = AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1)
    given: deque[Any] = deque()
    try:
        for part in parts:
            given.append(task.remote(part, *options))
            if len(given) >= most:
                yield _taken(ray, given[0], engine.patience)
                given.popleft()
        while given:
            yield _taken(ray, given[0], engine.patience)
            given.popleft()
    finally:
        for answer in given:  # after an error or an interrupt
            ray.cancel(answer, force=True)


def _taken(ray: Any, answer: Any, patience: float) -> Any:
    try:
        found = ray.get(answer, timeout=patience)
    except ray.exceptions.GetTimeoutError as error:
        raise EngineError(f"Sums over {ROWS} rows did not come back in {patience:.0f} s. Run it again.") from error
    except ray.exceptions.RayError as error:
        reason = str(error).strip().split("\n", 1)[0][:300]
        raise EngineError(f"Sums over rows failed on Ray: {reason}. Run it again, or with --engine local.") from error
    if isinstance(found, str):
        raise DataError(f"A worker on Ray cannot sum up rows: {found}")
    return found


def _sums(part: RowPart, classes: int, squares: bool) -> ClassSums | str:
    """Return the sums by class of a part; or what is wrong."""
    codes = np.empty(0, np.intp) if part.codes is None else part.codes
    dim = Recipe.from_json(part.recipe).dim
    try:
        return ClassSums.over(part.blocks(), codes, classes, dim, squares=squares)
    except FC7Error as error:
        return str(error)


def _moment(part: RowPart) -> npt.NDArray[np.float64] | str:
    """Return the second moment of a part; or what is wrong."""
    try:
        return moment_of(part.blocks(), Recipe.from_json(part.recipe).dim)
    except FC7Error as error:
        return str(error)


@cache
def _store(recipe: str, directory: str) -> Store:
    """Open a store once in each process of Ray's."""
    return Store(Recipe.from_json(recipe), existing_directory(Path(directory)))
