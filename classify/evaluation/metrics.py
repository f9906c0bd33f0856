"""Metrics of predictions: every figure comes with the number of images behind it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

LOG_LOSS_FLOOR = 1e-7  # of a probability, so that one confident mistake does not make the mean infinite


@dataclass(frozen=True)
class Metrics:
    """Metrics of one set of predictions.

    Attributes
    ----------
    n, correct
        Images predicted, and how many rightly.
    accuracy, interval
        ``correct / n`` and its 95 % Wilson interval.
    balanced_accuracy, macro_f1
        Means over classes, for classes of unequal size.
    log_loss
        Mean negative log-likelihood of the true class, in nats.
    calibration_error
        Expected calibration error over 10 bins of equal width of the largest probability (Guo et al. 2017).
    """

    n: int
    correct: int
    accuracy: float
    interval: tuple[float, float]
    balanced_accuracy: float
    macro_f1: float
    log_loss: float
    calibration_error: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"interval": list(self.interval)}


def measure(y: npt.NDArray[np.intp], probability: npt.NDArray[np.float64]) -> Metrics:
    """Score predictions ``(n, classes)``, of which the largest counts, by ``(n,)`` positions of the true classes."""
    from sklearn.metrics import f1_score

    predicted = probability.argmax(axis=1)
    right = predicted == y
    per_class = [right[y == label].mean() for label in np.unique(y)]
    truth = probability[np.arange(len(y)), y]
    return Metrics(
        n=len(y),
        correct=int(right.sum()),
        accuracy=float(right.mean()),
        interval=wilson(int(right.sum()), len(y)),
        balanced_accuracy=float(np.mean(per_class)),
        macro_f1=float(f1_score(y, predicted, average="macro", zero_division=0)),
        log_loss=float(-np.log(np.maximum(truth, LOG_LOSS_FLOOR)).mean()),
        calibration_error=calibration_error(right, probability.max(axis=1)),
    )


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (Wilson 1927), by scipy."""
    from scipy.stats import binomtest

    interval = binomtest(correct, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def calibration_error(right: npt.NDArray[np.bool_], confidence: npt.NDArray[np.float64], bins: int = 10) -> float:
    """Return the mean distance between confidence and accuracy over bins, weighted by their images."""
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (bin_of == number).mean() * abs(right[bin_of == number].mean() - confidence[bin_of == number].mean())
        for number in np.unique(bin_of)
    ]
    return float(np.sum(gaps))
