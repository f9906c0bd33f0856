"""Answers of least expected cost: what a wrong answer costs depends on which class is taken for which.

With calibrated probabilities the answer that costs least, in the mean, is the one with the least expected cost (Elkan
2001). Of two classes that is a threshold on the probability: with costs of 1 and 9 it is 0.1 and not 0.5.
"""

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
        return f"{self.value:.3f} (95 % {self.low:.3f}-{self.high:.3f})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"value": self.value, "interval": [self.low, self.high], "n": self.n}


def mean_cost(
    y: Positions, predicted: Positions, costs: Floats, *, groups: Positions | None = None, folds: int = 1
) -> MeanCost:
    """Return the mean cost of predictions; see :func:`fc7.classify.evaluation.metrics.measure`.

    The interval is that of a mean of independent images, as many as they are worth.
    """
    paid = costs[y, predicted]
    span = float(costs.max() - costs.min()) or 1.0
    size = effective_size((paid - costs.min()) / span, groups, folds)
    value, half = float(paid.mean()), Z * float(paid.std()) / float(np.sqrt(size))
    return MeanCost(value, max(value - half, float(costs.min())), min(value + half, float(costs.max())), len(y))
