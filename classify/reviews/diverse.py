"""Which image to label next: the one that brings most of what is still uncertain close to a labelled image.

Greedy facility location (Nemhauser et al. 1978), weighted by how uncertain each image is. At the start all images are
as uncertain as each other, and the choice is diverse and typical. Later it is uncertain, and still not twice the same.
``python benchmarks/labelling.py`` compares it with random order, k-centre and the smallest lead.
"""

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Positions
from .leave_one_out import scaled

FIRST = 24  # images that are chosen with regard to each other; the page shows about as many at once
SAMPLE = 2048  # images that are chosen from, and covered; more of them change little and cost their square


class Coverage:
    """A sample of images, and how near they are to each other.

    Parameters
    ----------
    vectors
        ``(n, d)``, finite.
    places
        The images to choose from, in an order that is no class's. At most :data:`SAMPLE` of them, evenly spread, are
        taken.
    """

    def __init__(self, vectors: npt.NDArray[np.floating], places: Positions) -> None:
        spread = np.linspace(0, len(places) - 1, min(len(places), SAMPLE)).round().astype(np.intp)
        self._vectors, self._sample = vectors, places[spread]
        self._rows = scaled(vectors[self._sample])
        self._near = self._rows @ self._rows.T
        self._covered = np.full(len(self._sample), -1, np.float32)
        self._seen: set[int] = set()

    def choose(self, weights: Floats, seen: Positions, count: int = FIRST) -> Positions:
        """Return the images to label next, the best first.

        Parameters
        ----------
        weights
            ``(n,)`` how uncertain each image is; what is not covered yet counts by it.
        seen
            The images that were decided on, which cover those near them, and are not chosen.
        """
        self._see({int(image) for image in seen})
        taken = np.isin(self._sample, seen)
        covered, weight, chosen = self._covered.copy(), weights[self._sample].astype(np.float32), list[int]()
        weight[taken] = 0
        for _ in range(min(count, int((~taken).sum()))):
            gain = np.maximum(self._near - covered, 0) @ weight
            gain[taken] = -1
            best = int(gain.argmax())
            taken[best] = True
            np.maximum(covered, self._near[best], out=covered)
            chosen.append(best)
        return self._sample[chosen]

    def _see(self, seen: set[int]) -> None:
        """Bring up to date how near each image of the sample is to one that was decided on."""
        if not self._seen <= seen:  # something was undone
            self._seen, self._covered = set(), np.full(len(self._sample), -1, np.float32)
        fresh = np.array(sorted(seen - self._seen), np.intp)
        for start in range(0, len(fresh), SAMPLE):
            near = self._rows @ scaled(self._vectors[fresh[start : start + SAMPLE]]).T
            np.maximum(self._covered, near.max(axis=1), out=self._covered)
        self._seen = seen
