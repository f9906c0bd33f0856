"""The classes of a run: the figures of each, the worst first, and their means, counted from its predictions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays import Floats, Positions
from ..evaluation.class_means import balanced_accuracy, macro_f1
from ..evaluation.effective_size import effective_size
from ..evaluation.expected_cost import MeanCost, least_cost, mean_cost
from ..evaluation.one_against_rest import Curves, auroc, curves, top_k
from ..evaluation.per_class import ClassFigures, Estimate, by_class, unequal
from ..pages.text import percent
from .probabilities import KEPT
from .runs import Run

MISLEADING = 0.05  # by which accuracy is above balanced accuracy
TOP = 5


@dataclass(frozen=True)
class ClassReport:
    """What the predictions of a run say of its classes.

    Records of an earlier fc7 do not say what was predicted, so there is none of them; see :func:`class_report`.
    """

    run: Run

    @cached_property
    def figures(self) -> list[ClassFigures]:
        """Those of each class, the least recall first; of equal ones the class of more images; then what has none."""
        figures = by_class(self._y, self._predicted, len(self.names), **self._dependence)
        return sorted(figures, key=lambda one: (one.recall.value if one.recall else 2.0, -one.images, one.place))

    @property
    def names(self) -> list[str]:
        """Those of the classes, by position."""
        names: list[str] = self.run.data["classes"]
        return names

    @cached_property
    def balanced_accuracy(self) -> Estimate:
        """The mean recall."""
        return balanced_accuracy(self._y, self._predicted, **self._dependence)

    @cached_property
    def macro_f1(self) -> Estimate:
        """The mean F1."""
        return macro_f1(self._y, self._predicted, **self._dependence)

    @cached_property
    def top(self) -> Estimate | None:
        """How often the class is among the 5 most probable; None without probabilities, and with up to 5 classes."""
        if len(self.names) <= TOP or self.run.probabilities is None or self.run.confidence is None:
            return None
        right = top_k(self._y, self.run.probabilities.arrays["classes"], TOP)
        return Estimate.of(float(right.mean()), effective_size(right, self.run.groups, self.run.folds_number))

    @cached_property
    def aurocs(self) -> dict[int, Estimate]:
        """The area under the ROC curve of each class against the rest, if it has one and all probabilities are kept."""
        areas = {place: auroc(self._y == place, score, **self._dependence) for place, score in self._scores}
        return {place: area for place, area in areas.items() if area}

    @property
    def curves(self) -> dict[int, Curves]:
        """The ROC and the precision-recall curve of each class against the rest, where it has one."""
        every = {place: curves(self._y == place, score) for place, score in self._scores}
        return {place: one for place, one in every.items() if one}

    @property
    def never_found(self) -> list[ClassFigures]:
        """The classes of which no image is right."""
        return [one for one in self.figures if one.images and not one.right]

    @property
    def lost(self) -> str:
        """Of which classes no image is right, in words; empty where there are none."""
        classes, evaluated = self.never_found, sum(one.images > 0 for one in self.figures)
        if len(classes) == 1:
            return f"no image of {self.names[classes[0].place]} is right (0 of {classes[0].images})"
        return f"of {len(classes)} of {evaluated} classes no image is right" if classes else ""

    @property
    def few(self) -> list[ClassFigures]:
        """The evaluated classes of so few images that their figures are rough."""
        return [one for one in self.figures if one.images and one.few]

    @property
    def misleading(self) -> bool:
        """Whether accuracy says more than is so of most classes."""
        if not unequal(self._y):
            return False
        gap = self.run.metrics["accuracy"] - self.balanced_accuracy.value
        return bool(gap >= MISLEADING or self.never_found)

    @cached_property
    def taken_for(self) -> dict[int, tuple[int, int]]:
        """Of each class that is mistaken the class it is taken for most often, and in how many images."""
        pairs = Counter(zip(self._y.tolist(), self._predicted.tolist(), strict=True))
        most: dict[int, tuple[int, int]] = {}
        for (true, predicted), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
            if true != predicted:
                most.setdefault(true, (predicted, count))
        return most

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; every figure with its interval, None where there is none."""
        means = {"balanced_accuracy": self.balanced_accuracy, "macro_f1": self.macro_f1, f"top_{TOP}": self.top}
        return {
            "run": self.run.id,
            **{name: _plain(estimate) for name, estimate in means.items()},
            "classes": [
                {
                    "class": self.names[one.place],
                    **{name: getattr(one, name) for name in ("images", "predicted", "right", "few")},
                    **{name: _plain(getattr(one, name)) for name in ("recall", "precision", "f1")},
                    "auroc": _plain(self.aurocs.get(one.place)),
                }
                for one in self.figures
            ],
        }

    @cached_property
    def _y(self) -> Positions:
        return np.asarray(self.run.predictions["label"], np.intp)

    @cached_property
    def _predicted(self) -> Positions:
        return np.asarray(self.run.predictions["predicted"], np.intp)

    @property
    def _dependence(self) -> dict[str, Any]:
        return {"groups": self.run.groups, "folds": self.run.folds_number}

    @cached_property
    def _scores(self) -> list[tuple[int, Any]]:
        """The place and the probabilities ``(n,)`` of each class; none where the record does not hold all."""
        if len(self.names) > KEPT or self.run.probabilities is None or self.run.confidence is None:
            return []
        return list(enumerate(self.run.probabilities.matrix().T))


def class_report(run: Run) -> ClassReport | None:
    """Return what a run says of its classes; None for a record of an earlier fc7."""
    return None if run.old else ClassReport(run)


def cost_report(run: Run, costs: Floats, probability: Floats | None = None) -> dict[str, MeanCost] | None:
    """Return what the evaluated images cost by answers of least expected cost, and by the most probable classes.

    The costs are ``(classes, classes)``, rows by true class; the probabilities ``(n, classes)``, by default those that
    the record keeps. None without probabilities of all classes.
    """
    if probability is None:
        if len(costs) > KEPT or run.probabilities is None or run.confidence is None:
            return None
        probability = run.probabilities.matrix().astype(np.float64)
    y, probable = (np.asarray(run.predictions[name], np.intp) for name in ("label", "predicted"))
    answers = {"least_cost": least_cost(probability, costs), "most_probable": probable}
    dependence: dict[str, Any] = {"groups": run.groups, "folds": run.folds_number}
    return {name: mean_cost(y, predicted, costs, **dependence) for name, predicted in answers.items()}


def misleading(run: Run) -> str:
    """Return in what the accuracy of a run misleads; empty where it does not, and for an old record."""
    report = class_report(run)
    if report is None or not report.misleading:
        return ""
    accuracy, balanced = percent(run.metrics["accuracy"]), percent(report.balanced_accuracy.value)
    text = f"accuracy ({accuracy} %) misleads: balanced accuracy is {balanced} %"
    return f"{text}, and {report.lost}" if report.lost else text


def with_warning(answer: str, run: Run) -> str:
    """Return an answer about a run; where its accuracy misleads the sentence says so."""
    text = misleading(run)
    return f"{answer.removesuffix('.')}; {text}." if text else answer


def unequal_classes(runs: Sequence[Run]) -> bool:
    """Return whether the images that runs evaluated are of classes of unequal size."""
    return bool(runs) and unequal(np.asarray(runs[0].predictions["label"], np.intp))


def _plain(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else {"value": estimate.value, "interval": [estimate.low, estimate.high]}
