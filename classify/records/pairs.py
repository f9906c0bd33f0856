"""Paired comparisons of runs on the same images."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from ..evaluation.paired_tests import bootstrap_interval, holm, mcnemar, smallest_detectable
from .runs import Run

BASELINES = frozenset({"baseline"})

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RunPair:
    """Two runs on the same images.

    Attributes
    ----------
    first, second, names
        Ids and names of the two runs.
    n
        Images both predicted.
    difference, interval
        Accuracy of the first minus the second, and its 95 % paired bootstrap interval.
    only_first, only_second
        Images that only the first or only the second run predicted correctly.
    p, p_corrected
        Exact McNemar, alone and after Holm's correction for all pairs of the same comparison.
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


def compare_pairs(runs: Sequence[Run]) -> list[RunPair]:
    """Return every pair of runs on the same images, Holm-corrected over all of them.

    Images are matched by path and class name, in any order. Runs on other images, or on the same images with other
    labels, are not paired: no paired test exists for them.
    """
    groups: dict[tuple[tuple[str, str], ...], list[tuple[int, Bools]]] = {}
    for place, run in enumerate(runs):
        images, right = _aligned(run)
        groups.setdefault(images, []).append((place, right))
    counted = sorted(row for members in groups.values() for row in _counts(members))
    p_values = [float(p) for p in mcnemar([row[2] for row in counted], [row[3] for row in counted])]
    return [
        RunPair(
            first=runs[i].id,
            second=runs[j].id,
            names=(runs[i].name, runs[j].name),
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


def compare_planned(chosen: Run, others: Sequence[Run]) -> list[RunPair]:
    """Return `chosen` against each of `others` on the same images, Holm-corrected over these pairs only."""
    pairs = [pair for run in others for pair in compare_pairs([chosen, run])]
    corrected = holm([pair.p for pair in pairs])
    return [RunPair(**{**vars(pair), "p_corrected": p}) for pair, p in zip(pairs, corrected, strict=True)]


def _aligned(run: Run) -> tuple[tuple[tuple[str, str], ...], Bools]:
    """Return the run's images as sorted (path, class name), and in that order ``(n,)`` whether each was right."""
    classes, columns = run.data["classes"], run.predictions
    images = [(path, classes[label]) for path, label in zip(columns["path"], columns["label"], strict=True)]
    order = sorted(range(len(images)), key=images.__getitem__)
    return tuple(images[place] for place in order), run.right[order]


def _counts(members: list[tuple[int, Bools]]) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield place, place, only first, only second, n of every pair of one set of images."""
    right = np.array([row for _, row in members], dtype=np.float64)
    only = (right @ (1 - right).T).astype(int)  # [i, j]: i right and j wrong; counts are exact in float64
    for i, j in combinations(range(len(members)), 2):
        yield members[i][0], members[j][0], int(only[i, j]), int(only[j, i]), right.shape[1]
