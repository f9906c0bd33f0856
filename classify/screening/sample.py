"""The sample that candidates are screened on: images that no final figure is measured on.

With a split these are images of train. Without one the sample is set aside: every fold is fitted on it, too, and the
other images are predicted (:data:`fc7.classify.data.splits.SET_ASIDE`). A choice among many on the images that it is
judged on would flatter the winner.
"""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from ...cache.embeddings import Rows
from ...errors import DataError
from ..arrays import Positions
from ..data.splits import SET_ASIDE, protocol, together
from ..settings import FitSettings, ProtocolSettings

FIRST, MOST_AT_FIRST = 60, 2000  # images of the first round, where an eighth of them is not between
OF_A_CLASS = 5  # at least, where a class has twice as many


@dataclass(frozen=True)
class Sample:
    """Images in an order whose beginnings are samples: stratified by class, groups and copies together."""

    images: Rows  # of the data set, all of them
    order: Positions  # positions of those that may be sampled
    ends: Positions  # where a sample may end, ascending: no group is cut, and at most half of these images are in it
    least: int  # the smallest sample in which every class can be cross-validated
    folds: bool  # whether the images that are not sampled are cross-validated, as there is no split

    @classmethod
    def of(cls, images: Rows, settings: ProtocolSettings) -> "Sample":
        """Draw the order; raises as :func:`fc7.classify.data.splits.protocol`."""
        pairs = protocol(images, settings).pairs
        folds = len(pairs) > 1
        rows = np.arange(len(images)) if folds else pairs[0][0]
        order, ends, least = _stratified(images, rows, np.random.default_rng(settings.random_state))
        return cls(images, order, ends[ends <= len(rows) // 2], least, folds)

    def sizes(self, first: int | None = None) -> list[int]:
        """Return the sizes of the samples of all rounds that there can be: each about twice the one before.

        None is as large as `first`, by default an eighth of the images, where half of them is less.
        """
        wanted = first or max(FIRST, OF_A_CLASS * len(self.images.classes), min(len(self.order) // 8, MOST_AT_FIRST))
        sizes: list[int] = []
        while (place := np.searchsorted(self.ends, max(wanted, self.least))) < len(self.ends):
            sizes.append(int(self.ends[place]))
            wanted = 2 * sizes[-1]
        return sizes

    def rows(self, size: int) -> Positions:
        """Return the positions of a sample, ascending."""
        return np.sort(self.order[:size])

    def can_be_fitted(self, size: int, settings: FitSettings) -> bool:
        """Return whether a sample can be cross-validated, and the other images can be once it is set aside."""
        sample = replace(self.images[self.rows(size)], split=np.full(size, ""))
        try:
            protocol(sample, replace(settings, on=None, cross_validate=None))
            if self.folds:
                protocol(self.set_aside(size), settings)
        except DataError:
            return False
        return True

    def set_aside(self, size: int) -> Rows:
        """Return all images, those of a sample set aside from what is evaluated; with a split, as they are."""
        if not self.folds:
            return self.images
        split = np.full(len(self.images), "", f"<U{len(SET_ASIDE)}")
        split[self.order[:size]] = SET_ASIDE
        return replace(self.images, split=split)


def _stratified(images: Rows, rows: Positions, rng: np.random.Generator) -> tuple[Positions, Positions, int]:
    """Return rows in order, where each of their groups ends, and the end at which each class has its first images."""
    groups, labels = np.unique(together(images, rows), return_inverse=True)[1], images.labels[rows]
    counts = Counter(labels.tolist())
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    seen: Counter[str] = Counter()
    first: list[tuple[float, Positions]] = []
    later: list[tuple[float, Positions]] = []
    for group in rng.permutation(len(members)):
        inside = members[group]
        label = str(labels[inside[0]])
        # A class of c images has its own at 1/c, 2/c, ...: each beginning has about the shares of the whole.
        (first if seen[label] < min(OF_A_CLASS, counts[label] // 2) else later).append(
            ((seen[label] + 1) / counts[label], inside)
        )
        seen[label] += len(inside)
    ordered = [inside for part in (first, later) for _, inside in sorted(part, key=lambda item: item[0])]
    ends = np.cumsum([len(inside) for inside in ordered])
    return rows[np.concatenate(ordered)], ends, int(ends[len(first) - 1]) if first else 0
