"""Metrics of predictions: every figure comes with the number of images behind it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Positions
from .class_means import balanced_accuracy, macro_f1
from .effective_size import agresti_coull, effective_size

LOG_LOSS_FLOOR = 1e-7  # of a probability, so that one confident mistake does not make the mean infinite


@dataclass(frozen=True)
class Metrics:
    """Metrics of one set of predictions.

    Attributes
    ----------
    n, correct
        Images predicted, and how many rightly.
    groups
        How many groups the images are in; n where each is its own.
    effective
        Independent images that they are worth, see :func:`fc7.classify.evaluation.effective_size.effective_size`.
    accuracy, interval
        ``correct / n`` and its 95 % interval: Agresti and Coull's, of so many independent images.
    balanced_accuracy, macro_f1
        Means over classes, for classes of unequal size.
    log_loss
        Mean negative log-likelihood of the true class, in nats; None without probabilities.
    calibration_error
        Expected calibration error over 10 bins of equal width of the largest probability (Guo et al. 2017); None
        without probabilities.
    """

    n: int
    correct: int
    groups: int
    effective: float
    accuracy: float
    interval: tuple[float, float]
    balanced_accuracy: float
    macro_f1: float
    log_loss: float | None
    calibration_error: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"interval": list(self.interval)}


def measure(
    y: Positions,
    probability: Floats | None,
    predicted: Positions | None = None,
    *,
    groups: Positions | None = None,
    folds: int = 1,
) -> Metrics:
    """Score predictions by the true classes.

    Parameters
    ----------
    y
        Positions of the true classes, ``(n,)``.
    probability
        ``(n, classes)``; None where only classes were predicted.
    predicted
        Positions of the predicted classes, ``(n,)``; default the most probable ones.
    groups
        The number of each image's group, from 0 without gaps, ``(n,)``; None if each is its own.
    folds
        In which the images were predicted; 1 for a split.
    """
    if predicted is None:
        if probability is None:
            raise ValueError("neither probabilities nor predicted classes")
        predicted = probability.argmax(axis=1)
    right = predicted == y
    effective, interval = worth(right, groups, folds)
    return Metrics(
        n=len(y),
        correct=int(right.sum()),
        groups=len(y) if groups is None else int(groups.max()) + 1,
        effective=effective,
        accuracy=float(right.mean()),
        interval=interval,
        balanced_accuracy=balanced_accuracy(y, predicted).value,
        macro_f1=macro_f1(y, predicted).value,
        log_loss=None if probability is None else _log_loss(probability[np.arange(len(y)), y]),
        calibration_error=None if probability is None else calibration_error(right, probability.max(axis=1)),
    )


def worth(
    right: npt.NDArray[np.bool_], groups: Positions | None = None, folds: int = 1
) -> tuple[float, tuple[float, float]]:
    """Return how many independent images some are worth, ``(n,)`` right or not, and the interval of their accuracy."""
    effective = effective_size(right, groups, folds)
    return effective, agresti_coull(int(right.sum()), len(right), effective)


def _log_loss(truth: Floats) -> float:
    return float(-np.log(np.maximum(truth, LOG_LOSS_FLOOR)).mean())


def calibration_error(right: npt.NDArray[np.bool_], confidence: npt.NDArray[np.float64]) -> float:
    """Return the mean distance between confidence and accuracy over 10 bins, weighted by their images."""
    bin_of = np.minimum((confidence * 10).astype(int), 9)
    gaps = [
        (bin_of == number).mean() * abs(right[bin_of == number].mean() - confidence[bin_of == number].mean())
        for number in np.unique(bin_of)
    ]
    return float(np.sum(gaps))
