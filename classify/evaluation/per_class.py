"""Classes one by one: recall, precision and F1 of each, and their means, in which every class counts alike.

Every figure has a 95 % interval, of as many independent images as groups and folds leave, see
:mod:`fc7.classify.evaluation.effective_size`. Recall and precision are proportions, so theirs is Agresti and Coull's.
F1 is ``2 J / (1 + J)``, where J (Jaccard's index) is the share of rightly predicted images among those that are of the
class or taken for it: its interval is Agresti and Coull's of J, put through that. A mean over classes has the
Agresti-Coull interval of as many independent images as its variance is that of, see
:mod:`fc7.classify.evaluation.class_means`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from ..arrays import Positions
from .effective_size import agresti_coull, effective_size

FEW_IMAGES = 10  # of a class: with fewer, even if all are right, the interval of its recall begins below 72 %
UNEQUAL = 1.5  # the largest class has so many times the images of the smallest


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, size: float) -> Self:
        """Return a share of so many independent images, with the Agresti-Coull interval."""
        low, high = agresti_coull(value, 1, float(size))
        return cls(value, min(low, value), max(high, value))  # rounded, an end of 1 may lie below a share of 1


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is predicted."""

    place: int  # the position of the class
    # Images of the class, images taken for it, and those that are both.
    images: int
    predicted: int
    right: int
    # None without images of the class, without images taken for it, and with neither.
    recall: Estimate | None
    precision: Estimate | None
    f1: Estimate | None

    @property
    def few(self) -> bool:
        """Whether so few images are of the class that its figures are rough."""
        return self.images < FEW_IMAGES

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def unequal(y: Positions) -> bool:
    """Return whether the classes that occur in ``(n,)`` differ in size so much that their means say something else."""
    sizes = np.bincount(y)
    sizes = sizes[sizes > 0]
    return bool(sizes.max() >= UNEQUAL * sizes.min())


def by_class(
    y: Positions, predicted: Positions, classes: int, *, groups: Positions | None = None, folds: int = 1
) -> list[ClassFigures]:
    """Return the figures of every class, in their order.

    Parameters
    ----------
    y, predicted
        Positions of the true and of the predicted classes, ``(n,)``.
    classes
        How many there are.
    groups, folds
        See :func:`fc7.classify.evaluation.metrics.measure`.
    """
    right = y == predicted
    of_class, taken = _places(y, classes), _places(predicted, classes)

    def share(rows: Positions) -> Estimate | None:
        if not len(rows):
            return None
        own = None if groups is None else np.unique(groups[rows], return_inverse=True)[1]
        return Estimate.of(float(right[rows].mean()), effective_size(right[rows], own, folds))

    def f1(rows: Positions) -> Estimate | None:
        jaccard = share(rows)
        return jaccard and Estimate(*(2 * end / (1 + end) for end in (jaccard.value, jaccard.low, jaccard.high)))

    return [
        ClassFigures(
            place=place,
            images=len(of_class[place]),
            predicted=len(taken[place]),
            right=int(right[of_class[place]].sum()),
            recall=share(of_class[place]),
            precision=share(taken[place]),
            f1=f1(np.union1d(of_class[place], taken[place])),
        )
        for place in range(classes)
    ]


def _places(labels: Positions, classes: int) -> Sequence[Positions]:
    """Return the places of each class, ascending."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.cumsum(np.bincount(labels, minlength=classes))[:-1])
