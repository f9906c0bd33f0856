"""Paired comparisons of runs on the same images."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from ..evaluation.paired_tests import bootstrap_interval, holm, mcnemar, smallest_detectable
from .description import labels
from .runs import Run, by_images

BASELINES = frozenset({"baseline"})

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RunPair:
    """Two runs on the same images.

    Attributes
    ----------
    first, second, names
        Ids and labels of the two runs.
    n
        Images both predicted.
    difference, interval
        Accuracy of the first minus the second, and its 95 % paired bootstrap interval.
    only_first, only_second
        Images that only the first or only the second run predicted correctly.
    p, p_corrected
        Exact McNemar, alone and after Holm's correction for all pairs of the same comparison on these images.
    smallest_detectable
        See :func:`smallest_detectable`: in the best case; ``inf`` where n is too small for any.
    likely_detectable
        The same for 80 % power at this pair's share of discordant images.
    """

    first: str
    second: str
    names: tuple[str, str]
    n: int
    difference: float
    interval: tuple[float, float]
    only_first: int
    only_second: int
    p: float
    p_corrected: float
    smallest_detectable: float
    likely_detectable: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; an infinite difference is None, as JSON has no infinity."""
        values = asdict(self) | {"names": list(self.names), "interval": list(self.interval)}
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
    counted = list(_counts([_aligned(run) for run in runs]))
    p_values = [float(p) for p in mcnemar([row[2] for row in counted], [row[3] for row in counted])]
    return [
        RunPair(
            first=runs[i].id,
            second=runs[j].id,
            names=(names[runs[i].id], names[runs[j].id]),
            n=n,
            difference=(b - c) / n,
            interval=bootstrap_interval(b, c, n),
            only_first=b,
            only_second=c,
            p=p,
            p_corrected=corrected,
            smallest_detectable=smallest_detectable(n),
            likely_detectable=smallest_detectable(n, (b + c) / n),
        )
        for (i, j, b, c, n), p, corrected in zip(counted, p_values, holm(p_values), strict=True)
    ]


def compare_planned(chosen: Run, others: Sequence[Run], names: Mapping[str, str] | None = None) -> list[RunPair]:
    """Return `chosen` against each of `others` on the same images, Holm-corrected over these pairs only."""
    names = names or labels([chosen, *others])
    pairs = [pair for run in others for pair in compare_pairs([chosen, run], names)]
    corrected = holm([pair.p for pair in pairs])
    return [replace(pair, p_corrected=p) for pair, p in zip(pairs, corrected, strict=True)]


def _aligned(run: Run) -> Bools:
    """Return whether each image was right, ``(n,)``, in the order of keys and classes; copies in that of paths."""
    classes, columns = run.data["classes"], run.predictions
    names = [classes[label] for label in columns["label"]]
    images = list(zip(columns["key"], names, columns["path"], strict=True))
    return run.right[sorted(range(len(images)), key=images.__getitem__)]


def _counts(rows: list[Bools]) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield place, place, only first, only second, n of every pair of runs."""
    right = np.array(rows, dtype=np.float64)
    only = (right @ (1 - right).T).astype(int)  # [i, j]: i right and j wrong; counts are exact in float64
    for i, j in combinations(range(len(rows)), 2):
        yield i, j, int(only[i, j]), int(only[j, i]), right.shape[1]
