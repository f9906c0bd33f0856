"""Answers of least expected cost: what a wrong answer costs depends on which class is taken for which.

With calibrated probabilities the answer that costs least, in the mean, is the one with the least expected cost (Elkan
2001). Of two classes that is a threshold on the probability: with costs of 1 and 9 it is 0.1 and not 0.5.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Floats, Positions
from .effective_size import Z, effective_size

_ROUNDING = 1e-12  # of a cost


def least_cost(probability: Floats, costs: Floats) -> Positions:
    """Return the answer of least expected cost of each image, ``(n,)``; of equal ones the most probable.

    Parameters
    ----------
    probability
        ``(n, classes)``.
    costs
        ``(classes, classes)``: of an image of the class of the row that gets the class of the column as its answer.
    """
    expected = probability @ costs
    least = expected <= expected.min(axis=1, keepdims=True) + _ROUNDING * np.abs(costs).max()
    return np.asarray(np.where(least, probability, -1.0).argmax(axis=1))


@dataclass(frozen=True)
class MeanCost:
    """The mean cost of an image, and its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        large = max(abs(self.low), abs(self.high))  # three of its digits count
        form = f".{max(2 - math.floor(math.log10(large)), 0)}f" if 1e-4 <= large < 1e7 else ".3g"
        return f"{self.value:{form}} (95 % {self.low:{form}} to {self.high:{form}})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"value": self.value, "interval": [self.low, self.high], "n": self.n}


def mean_cost(
    y: Positions, predicted: Positions, costs: Floats, *, groups: Positions | None = None, folds: int = 1
) -> MeanCost:
    """Return the mean cost of predictions; see :func:`fc7.classify.evaluation.metrics.measure`.

    The interval is Agresti and Coull's (1998), of as many independent images as these are worth, and where every
    mistake costs 1 it is that of the share of mistakes: as if about two images more had the least cost, and two the
    largest one, that images like these can have. Without them a study without a mistake would seem to be sure. It is
    too short where most of the cost is that of few images of a class.
    """
    scale = float(np.abs(costs).max()) or 1.0
    unit = costs / scale  # no sum of large costs is infinite
    paid, ends = unit[y, predicted], np.array([unit[y].min(axis=1), unit[y].max(axis=1)])
    span = float(unit.max() - unit.min()) or 1.0
    size = effective_size((paid - unit.min()) / span, groups, folds)
    share, value = size / (size + Z * Z), float(paid.mean())
    middle = share * value + (1 - share) * float(ends.mean())
    variance = share * float((paid**2).mean()) + (1 - share) * float((ends**2).mean()) - middle**2
    half = Z * math.sqrt(max(variance, 0.0) / (size + Z * Z))
    low, high = (float(end) for end in ends.mean(axis=1))
    low, high = min(max(middle - half, low), value), max(min(middle + half, high), value)
    return MeanCost(scale * value, scale * low, scale * high, len(y))
