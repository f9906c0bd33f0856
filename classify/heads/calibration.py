"""Scores: the output of any classifier on one scale, from which a softmax makes calibrated probabilities."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from .base import exported

PROBABILITY_FLOOR = 1e-3  # neighbours and forests answer 0; its logarithm must stay finite


def scores(estimator: Any, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the margins ``(n, classes)``, or the logarithms of probabilities of an estimator that has no margins.

    Margins come first: those of a linear head are linear in its rows and have no floor.
    """
    if hasattr(estimator, "decision_function"):
        return from_margins(estimator.decision_function(X))
    return from_probability(estimator.predict_proba(X))


def from_probability(probability: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the logarithms of probabilities, ``(..., classes)``."""
    return np.asarray(np.log(np.maximum(np.asarray(probability, np.float64), PROBABILITY_FLOOR)))


def from_margins(margins: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return margins ``(n, classes)`` as they are; those of two classes, ``(n,)`` or ``(n, 1)``, as two columns."""
    columns = np.asarray(margins, np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    return np.column_stack([-columns / 2, columns / 2]) if columns.shape[1] == 1 else columns


@exported
class Calibrated(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose scores are divided by a temperature: predictions stay, confidence is calibrated.

    Temperature scaling (Guo et al. 2017), fitted on out-of-fold scores.

    Parameters
    ----------
    estimator
        Fitted, with ``predict_proba`` or ``decision_function``.
    temperature
        Above 1 for an overconfident estimator.
    """

    def __init__(self, estimator: Any, temperature: float = 1.0) -> None:
        self.estimator = estimator
        self.temperature = temperature

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> "Calibrated":
        """Fit the estimator again; the temperature stays."""
        self.estimator.fit(X, y)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether the wrapped estimator is fitted."""
        try:
            check_is_fitted(self.estimator)
        except NotFittedError:
            return False
        return True

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The estimator's classes, in the order of the columns."""
        return np.asarray(self.estimator.classes_)

    @property
    def n_features_in_(self) -> int:
        """Length of the rows that it takes."""
        return int(self.estimator.n_features_in_)

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return ``(n, classes)``."""
        check_is_fitted(self)
        return np.asarray(softmax(scores(self.estimator, X) / self.temperature, axis=1))

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n,)`` labels: the largest probability."""
        probability = self.predict_proba(X)  # first: it says so if nothing is fitted
        return np.asarray(self.classes_[probability.argmax(axis=1)])


def find_temperature(out_of_fold: npt.NDArray[np.float64], y: npt.NDArray[np.intp]) -> tuple[float, float]:
    """Return the temperature that minimises the log loss of scores ``(n, classes)``, and that log loss.

    Targets are smoothed as in Platt (1999): one image in ``n + 1`` counts as any class. Otherwise scores without a
    mistake would be sharpened without limit, and one mistake on new images would cost as much as a hundred.
    """
    smoothing = 1 / (len(y) + 1)

    def losses(log_temperature: float) -> tuple[float, float]:
        logs = log_softmax(out_of_fold / np.exp(log_temperature), axis=1)
        plain = float(-logs[np.arange(len(y)), y].mean())
        return (1 - smoothing) * plain - smoothing * float(logs.mean()), plain

    minimum = minimize_scalar(lambda point: losses(point)[0], bounds=(-6, 6), method="bounded")
    return float(np.exp(minimum.x)), losses(minimum.x)[1]
