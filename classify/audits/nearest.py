"""Nearest: for every row the rows most like it by cosine, block by block; no matrix of all pairs is ever held."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...extract.progress import Progress, silent
from ..arrays import Positions, unit

_BLOCK = 2**24  # cosines held at a time: 64 MiB


@dataclass(frozen=True)
class Nearest:
    """The rows nearest to every row, itself excepted.

    Attributes
    ----------
    places, cosines
        ``(n, count)`` intp and float32, the nearest first; `count` is less where there are fewer other rows.
    """

    places: Positions
    cosines: npt.NDArray[np.float32]

    def pairs(self, threshold: float) -> tuple[Positions, npt.NDArray[np.float32]]:
        """Return pairs ``(m, 2)`` of rows of which one is among the nearest of the other, and their cosines ``(m,)``.

        A pair is there once, if its cosine is not below the threshold.
        """
        one, rank = np.nonzero(self.cosines >= threshold)
        both = np.sort(np.column_stack([one, self.places[one, rank]]), axis=1)
        found, first = np.unique(both, axis=0, return_index=True)
        return found, self.cosines[one, rank][first]


def nearest(vectors: npt.NDArray[np.floating], count: int, *, progress: Progress = silent) -> Nearest:
    """Find the `count` rows most like each row.

    Parameters
    ----------
    vectors
        ``(n, d)``, finite; a row of zeros is like none.
    progress
        Called with rows done and all rows.
    """
    rows = vectors.astype(np.float32)
    unit(rows, out=rows)
    n = len(rows)
    count = max(0, min(count, n - 1))
    places, cosines = np.empty((n, count), np.intp), np.empty((n, count), np.float32)
    step = max(1, _BLOCK // max(n, 1))
    for start in range(0, n if count else 0, step):
        block = np.arange(start, min(start + step, n))
        found = rows[block] @ rows.T
        found[np.arange(len(block)), block] = -np.inf
        near = np.argpartition(found, n - count, axis=1)[:, n - count :]
        values = np.take_along_axis(found, near, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        places[block] = np.take_along_axis(near, order, axis=1)
        cosines[block] = np.take_along_axis(values, order, axis=1)
        progress("compare embeddings", int(block[-1]) + 1, n)
    return Nearest(places, cosines)
