"""Paired comparisons of runs on the same images."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.tables import counted
from ..evaluation.effective_size import ALPHA, effective_size, fold_inflation, group_correlation
from ..evaluation.group_power import likely_in_groups
from ..evaluation.paired_tests import (
    allow_for,
    difference_interval,
    holm,
    holm_levels,
    least_count,
    likely_difference,
    mcnemar,
    sign_flip,
)
from .description import labels
from .runs import Run, by_images

BASELINES = frozenset({"baseline"})

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RunPair:
    """Two runs on the same images."""

    # Ids and labels of the two runs.
    first: str
    second: str
    names: tuple[str, str]
    n: int  # images both predicted
    # How many groups these are in, n where each is its own; and in how many folds they were predicted, 1 for a split.
    groups: int
    folds: int
    effective: float  # independent images that they are worth for the interval of this difference
    correlation: float  # of the differences of two images of a group; 0 where each is its own
    # Accuracy of the first minus the second, and its interval, which holds 0 if, and only if, the corrected test finds
    # no difference: of 95 %, or more where several are tested.
    difference: float
    interval: tuple[float, float]
    # Images that only the first or only the second run predicted correctly.
    only_first: int
    only_second: int
    # Of the exact test, alone and after Holm's correction for all pairs that are tested with it.
    p: float
    p_corrected: float
    level: float = ALPHA  # of significance, which the correction leaves: that of the interval, and of what n could show
    sizes: tuple[int, ...] = field(default=(), repr=False)  # of the groups; none where each image is its own

    @property
    def count(self) -> str:
        """How many images, and in how many groups where these are fewer."""
        return counted(self.n, "image") + (f" in {counted(self.groups, 'group')}" if self.groups < self.n else "")

    @property
    def confidence(self) -> str:
        """The level of the interval, ``98.3 %``."""
        return f"{100 - float(f'{100 * self.level:.2g}'):g} %"

    @property
    def clear(self) -> bool:
        """Whether one is better, by the corrected test."""
        return self.p_corrected <= ALPHA

    @property
    def test(self) -> str:
        """What the test is called."""
        name = f"exact test over {counted(self.groups, 'group')}" if self.groups < self.n else "exact McNemar"
        return f"{name} that allows for {self.folds} folds" if self.folds > 1 else name

    @property
    def smallest_detectable(self) -> float:
        """The smallest difference that can be significant; ``inf`` where there are too few images for any.

        That is the best case: all images that only one run gets right favour the same one, each in a group of its own.
        """
        count = least_count(allow_for(self.level, 1 / fold_inflation(self.folds)))
        return count / self.n if count <= self.groups else math.inf

    @property
    def likely_detectable(self) -> float:
        """The difference that is found with 80 % power at this pair's share of images that only one run gets right."""
        discordant = (self.only_first + self.only_second) / self.n
        if self.sizes:
            return likely_in_groups(self.sizes, self.correlation, discordant, self.level, self.folds)
        return likely_difference(self.n / fold_inflation(self.folds), discordant, self.level)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; an infinite difference is None, as JSON has no infinity."""
        values = asdict(self) | {"names": list(self.names), "interval": list(self.interval)}
        values |= {"smallest_detectable": self.smallest_detectable, "likely_detectable": self.likely_detectable}
        del values["sizes"]
        infinite = [name for name, value in values.items() if isinstance(value, float) and math.isinf(value)]
        return values | dict.fromkeys(infinite)


def compare_pairs(runs: Sequence[Run], names: Mapping[str, str] | None = None) -> list[RunPair]:
    """Return every pair of runs on the same images, Holm-corrected over all pairs on these images.

    Images are matched by content and class name, whatever their order and paths. Runs on other images, or on the same
    images with other labels, are not paired: no paired test exists for them. Old records are not, either: they do not
    say what was predicted.

    Parameters
    ----------
    names
        What the runs are called, by id; default their :func:`fc7.classify.records.description.labels`.
    """
    names = names or labels(runs)
    place = {run.id: number for number, run in enumerate(runs)}
    tested = [pair for group in by_images([run for run in runs if not run.old]) for pair in _tested(group, names)]
    return sorted(tested, key=lambda pair: (place[pair.first], place[pair.second]))


def _tested(runs: Sequence[Run], names: Mapping[str, str]) -> list[RunPair]:
    """Return the pairs of runs on the same images."""
    orders = [image_order(run) for run in runs]
    rows = [run.right[order] for run, order in zip(runs, orders, strict=True)]
    groups = runs[0].groups[orders[0]] if runs and runs[0].groups is not None else None
    counted, pairs = list(_counts(rows)), []
    by_image = mcnemar([row[2] for row in counted], [row[3] for row in counted])
    for (i, j, b, c, n), exact in zip(counted, by_image.tolist(), strict=True):
        folds = max(runs[i].folds_number, runs[j].folds_number)
        differences = rows[i].astype(int) - rows[j]
        if groups is not None:
            exact = sign_flip(np.bincount(groups, differences).astype(int))
        p = allow_for(exact, fold_inflation(folds))
        effective = effective_size(differences, groups, folds)
        pair = RunPair(
            first=runs[i].id,
            second=runs[j].id,
            names=(names[runs[i].id], names[runs[j].id]),
            n=n,
            groups=n if groups is None else int(groups.max()) + 1,
            folds=folds,
            effective=effective,
            correlation=0.0 if groups is None else group_correlation(differences, groups),
            sizes=() if groups is None else tuple(np.sort(np.bincount(groups)).tolist()),
            difference=(b - c) / n,
            interval=(-1.0, 1.0),  # until it is known how many are tested
            only_first=b,
            only_second=c,
            p=p,
            p_corrected=p,
        )
        pairs.append(pair)
    return _corrected(pairs)


def compare_planned(planned: Sequence[tuple[Run, Run]], names: Mapping[str, str] | None = None) -> list[RunPair]:
    """Return these pairs of runs on the same images, Holm-corrected over them only.

    What n could show knows of the correction, too.
    """
    names = names or labels(list({run.id: run for pair in planned for run in pair}.values()))
    return _corrected([pair for two in planned for pair in compare_pairs(two, names)])


def _corrected(pairs: Sequence[RunPair]) -> list[RunPair]:
    """Return the pairs with Holm's correction over them, and intervals that agree with it."""
    corrected = holm([pair.p for pair in pairs])
    return [
        replace(
            pair,
            p_corrected=p,
            level=level,
            interval=difference_interval(pair.only_first, pair.only_second, pair.n, p, pair.effective, level),
        )
        for pair, p, level in zip(pairs, corrected, holm_levels(corrected), strict=True)
    ]


def image_order(run: Run) -> list[int]:
    """Return the order of a run's images ``(n,)`` by keys and classes, of copies by paths."""
    classes, columns = run.data["classes"], run.predictions
    names = [classes[label] for label in columns["label"]]
    images = list(zip(columns["key"], names, columns["path"], strict=True))
    return sorted(range(len(images)), key=images.__getitem__)


def _counts(rows: list[Bools]) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield place, place, only first, only second, n of every pair of runs."""
    right = np.array(rows, dtype=np.float64)
    only = (right @ (1 - right).T).astype(int)  # [i, j]: i right and j wrong; counts are exact in float64
    for i, j in combinations(range(len(rows)), 2):
        yield i, j, int(only[i, j]), int(only[j, i]), right.shape[1]
