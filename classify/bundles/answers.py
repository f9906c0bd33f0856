"""From probabilities and a distance to an answer: its threshold, sets of classes, images unlike the fitted ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arrays import Floats
from ..evaluation.expected_cost import least_cost
from .prediction import Prediction

UNLIKE = ("flag", "not-sure")  # what is done with images unlike the fitted ones


@dataclass(frozen=True)
class AnswerRules:
    """What decides an answer.

    Attributes
    ----------
    classes
        Names in the order of the probabilities.
    threshold
        The least probability of an answer.
    farthest
        The distance beyond which an image is unlike the fitted ones; None if unknown.
    unlike_not_sure
        Whether such an image gets no answer.
    sets
        The least probability of each class in a set, ``(classes,)`` float32; None where no sets are asked for.
    costs
        Of answers, ``(classes, classes)``, see :func:`fc7.classify.evaluation.expected_cost.least_cost`; None where the
        most probable class is the answer.
    """

    classes: Sequence[str]
    threshold: float = 0.0
    farthest: float | None = None
    unlike_not_sure: bool = False
    sets: npt.NDArray[np.float32] | None = None
    costs: Floats | None = None

    def prediction(self, name: str, probability: npt.NDArray[np.float64], distance: np.float32 | None) -> Prediction:
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
            {self.classes[place]: round(float(probability[place]), 6) for place in order},
            sure=bool(stored[top] >= np.float32(self.threshold)) and not (unlike and self.unlike_not_sure),
            distance=None if distance is None else round(float(distance), 6),
            unlike=unlike,
            classes=members,
        )
