"""From probabilities and a distance to an answer: its threshold, sets of classes, images unlike the fitted ones."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...cache.tables import counted
from ...errors import DataError, UsageError
from ..arrays import Floats
from ..data.neighbour import Neighbour
from ..evaluation.abstention import Abstention, Threshold
from ..evaluation.expected_cost import least_cost
from .prediction import ByClass, Prediction, compact, require_distinct

logger = logging.getLogger(__name__)

UNLIKE = ("flag", "not-sure")  # what is done with images unlike the fitted ones


@dataclass(frozen=True)
class AnswerRules:
    """What decides an answer."""

    classes: Sequence[str]  # names in the order of the probabilities
    threshold: float = 0.0  # the least probability of an answer
    farthest: float | None = None  # the distance beyond which an image is unlike the fitted ones; None if unknown
    unlike_not_sure: bool = False  # whether such an image gets no answer
    # The least probability of each class in a set, `(classes,)` float32; None where no sets are asked for.
    sets: npt.NDArray[np.float32] | None = None
    # Of answers, `(classes, classes)`, see `least_cost`; None where the most probable class is the answer.
    costs: Floats | None = None

    @classmethod
    def of(
        cls,
        classes: Sequence[str],
        abstention: Abstention | None,
        threshold: Threshold | None,
        costs: Any,
        *,
        coverage: float | None,
        class_conditional: bool,
        unlike: str,
    ) -> Self:
        """Return the rules of a bundle with what was asked for; see :meth:`fc7.classify.Bundle.predict`.

        Raises
        ------
        UsageError
            No answer can follow from what was asked for.
        DataError
            It needs out-of-fold predictions, and there are none.
        """
        if unlike not in UNLIKE:
            raise UsageError(f"--unlike {unlike}: must be one of {', '.join(UNLIKE)}.")
        if class_conditional and coverage is None:
            raise UsageError("--class-conditional is about the sets of --coverage, such as --coverage 0.9.")
        if unlike == "not-sure":
            require_distinct(classes, "--unlike not-sure")
            require_measured(abstention, "--unlike not-sure")
        sets = None
        if coverage is not None:
            known = require_measured(abstention, "--coverage")
            sets = known.sets(coverage, len(classes), class_conditional=class_conditional)
        return cls(
            classes,
            threshold.probability if threshold else 0.0,
            farthest=abstention.limit if abstention else None,
            unlike_not_sure=unlike == "not-sure",
            sets=sets,
            costs=None if costs is None else np.asarray(costs),
        )

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.classes)}

    def prediction(
        self,
        name: str,
        probability: npt.NDArray[np.float64],
        distance: np.float32 | None,
        neighbours: list[Neighbour] | None = None,
    ) -> Prediction:
        """Return the prediction of an image from its probabilities ``(classes,)`` and its distance, if known."""
        order = np.argsort(-probability, kind="stable")
        top = order[0] if self.costs is None else least_cost(probability[None], self.costs)[0]
        # As the out-of-fold probabilities are stored: in float64 one that equals the threshold can lie below it.
        stored = probability.astype(np.float32)
        unlike = distance is not None and self.farthest is not None and bool(distance > self.farthest)
        members = None  # a set is never empty: the answer is in it
        if self.sets is not None:
            members = [self.classes[place] for place in order if place == top or stored[place] >= self.sets[place]]
        return Prediction(
            name,
            self.classes[top],
            round(float(probability[top]), 6),
            ByClass(self._places, compact(probability), int(order[0])),
            sure=bool(stored[top] >= np.float32(self.threshold)) and not (unlike and self.unlike_not_sure),
            distance=None if distance is None else round(float(distance), 6),
            unlike=unlike,
            classes=members,
            neighbours=neighbours,
        )


def say_centre_crops(views: int) -> None:
    """Warn where thresholds are used on other probabilities than those that they were measured on."""
    if views:
        logger.warning(
            "Thresholds are measured on centre crops, and this head averages over %s as well: what they promise holds "
            "for centre crops only. To keep the promise, fit without averaged views.",
            counted(views, "random view"),
        )


def require_measured(abstention: Abstention | None, option: str) -> Abstention:
    """Return what out-of-fold predictions say; a head without some is a DataError."""
    if abstention is None:
        raise DataError(
            f"This head has no out-of-fold predictions, which {option} needs. Fit it again: fc7 fit DATA -o FILE.fc7"
        )
    return abstention
