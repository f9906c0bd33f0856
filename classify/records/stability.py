"""How stable figures are: means over other splits with their intervals, and curves over a few images of each class."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..evaluation.effective_size import agresti_coull, fold_inflation
from ..evaluation.paired_tests import bonett_price
from ..evaluation.resampled import Resampled, corrected_interval
from ..pages.text import figure
from .pairs import BASELINES
from .runs import Run

PROMISE = (
    "The intervals (corrected resampled t, Nadeau and Bengio 2003) are about fitting again: on as many other images, "
    "evaluated on others, from the same source. They are approximate, as splits share images, and nothing estimates "
    "their variance without a bias. They are never shorter than those of one run evaluated on all images."
)
CHOICE = "the choice, made anew in each split"


@dataclass(frozen=True)
class Stability:
    """One run over the random splits that all runs have."""

    id: str  # of the run; empty for the choice that is made anew in each split, by the log loss inside
    # Over the splits: mean, interval and standard deviation; the difference is that of the first run minus this one.
    accuracy: Resampled
    difference: Resampled | None
    # Accuracy on the worst and the best split.
    least: float
    most: float
    first: int  # in how many splits the choice fell on it

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        values = asdict(self) | {"accuracy": self.accuracy._asdict()}
        return values | {"difference": self.difference._asdict() if self.difference else None}


@dataclass(frozen=True)
class Splits:
    """The runs over the random splits that all of them have."""

    number: int
    fitted: float
    evaluated: float
    rows: list[Stability]  # the choice that is made anew in each split, then the run in the verdict, then the others

    def sentence(self) -> str:
        """Return what was done."""
        return (
            f"Over {self.number} random splits of the same images ({self.fitted:g} fitted and {self.evaluated:g} "
            "evaluated in each, hyper-parameters chosen anew)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        figures = {"splits": self.number, "fitted": self.fitted, "evaluated": self.evaluated}
        return figures | {"runs": [row.to_dict() for row in self.rows], "promise": PROMISE}


def over_splits(runs: Sequence[Run], chosen: Run) -> Splits | None:
    """Return the figures of the runs that were fitted on random splits; None where fewer than two splits were."""
    repeated = [run for run in runs if len(run.repeats) > 1]
    if not repeated:
        return None
    repeated.sort(key=lambda run: run.id != chosen.id)
    common = set.intersection(*({split["split"] for split in run.repeats} for run in repeated))
    if len(common) < 2:
        return None
    by_number = [{split["split"]: split for split in run.repeats} for run in repeated]
    tables = [[splits[number] for number in sorted(common)] for splits in by_number]
    accuracy = np.array([[split["correct"] / split["evaluated"] for split in splits] for splits in tables])
    losses = np.array([[split["log_loss"] for split in splits] for splits in tables])
    fitted, evaluated = (float(np.mean([split[side] for split in tables[0]])) for side in ("fitted", "evaluated"))
    able = np.array([run.head not in BASELINES for run in repeated])
    winners = np.where(able[:, None] | ~able.any(), losses, np.inf).argmin(axis=0)
    firsts = Counter(winners.tolist())

    # Splits that are all alike, as where all images are right, have no spread, and say no more than these images.
    size = (fitted + evaluated) * _worth(chosen)

    def row(identity: str, own: Any, difference: Any, first: int) -> Stability:
        mean = corrected_interval(own, fitted, evaluated)
        inside = _widened(mean, agresti_coull(mean.mean, 1, size), 0.0)
        compared = None
        if difference is not None:
            ahead = corrected_interval(difference, fitted, evaluated)
            compared = _widened(ahead, bonett_price(max(ahead.mean, 0.0), max(-ahead.mean, 0.0), size), -1.0)
        return Stability(identity, inside, compared, float(own.min()), float(own.max()), first)

    rows = [
        row(run.id, own, accuracy[0] - own if place else None, firsts[place])
        for place, (run, own) in enumerate(zip(repeated, accuracy, strict=True))
    ]
    if able.sum() > 1:
        anew = accuracy[winners, np.arange(len(winners))]
        rows.insert(0, row("", anew, accuracy[0] - anew, len(winners)))
    return Splits(len(common), round(fitted, 1), round(evaluated, 1), rows)


def _worth(run: Run) -> float:
    """Return how many independent images an image is worth, where groups are alike; folds are not allowed for."""
    metrics = run.metrics
    return float(metrics.get("effective", metrics["n"]) / metrics["n"]) * fold_inflation(run.folds_number)


def _widened(figure: Resampled, ends: tuple[float, float], least: float) -> Resampled:
    """Return a figure with an interval that has these ends in it, from `least` to 1."""
    low, high = min(figure.low, ends[0], figure.mean), max(figure.high, ends[1], figure.mean)
    return figure._replace(low=max(low, least), high=min(high, 1.0))


def few_shot_curve(run: Run) -> list[dict[str, float]]:
    """Return a point for each number of images of a class: ``per_class, accuracy, low, high, repeats``.

    ``low`` and ``high`` are the 5th and 95th percentile over the draws.
    """
    points = []
    for size in sorted({point["per_class"] for point in run.few_shot}):
        drawn = [point["accuracy"] for point in run.few_shot if point["per_class"] == size]
        low, high = np.quantile(drawn, [0.05, 0.95])
        figures = {"accuracy": float(np.mean(drawn)), "low": float(low), "high": float(high)}
        points.append({"per_class": size, **figures, "repeats": len(drawn)})
    return points


def cell(point: dict[str, float] | None) -> str:
    """Return ``0.871 (0.820-0.910)``, the mean and the band of a point of a curve."""
    return f"{figure(point['accuracy'])} ({figure(point['low'])}-{figure(point['high'])})" if point else ""
