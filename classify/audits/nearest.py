"""Nearest: the rows nearest to every row by cosine, block by block, without a matrix of all pairs in memory."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...extract.progress import Progress, silent
from ..arrays import Positions, unit

_BLOCK = 2**24  # cosines in memory at a time: 64 MiB


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
        """Return pairs ``(m, 2)`` of near rows with cosines of `threshold` or more, each pair once, and the cosines."""
        rows, rank = np.nonzero(self.cosines >= threshold)
        ordered = np.sort(np.column_stack([rows, self.places[rows, rank]]), axis=1)
        pairs, first = np.unique(ordered, axis=0, return_index=True)
        return pairs, self.cosines[rows, rank][first]


def nearest(vectors: npt.NDArray[np.floating], count: int, *, progress: Progress = silent) -> Nearest:
    """Find the `count` rows nearest to each row.

    Parameters
    ----------
    vectors
        ``(n, d)``, finite; a row of zeros has cosine 0 to every row.
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
        products = rows[block] @ rows.T
        products[np.arange(len(block)), block] = -np.inf
        near = np.argpartition(products, n - count, axis=1)[:, n - count :]
        values = np.take_along_axis(products, near, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        places[block] = np.take_along_axis(near, order, axis=1)
        cosines[block] = np.take_along_axis(values, order, axis=1)
        progress("compare embeddings", int(block[-1]) + 1, n)
    return Nearest(places, cosines)
