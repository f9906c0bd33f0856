"""Scores: the output of any classifier on one scale, from which a softmax makes calibrated probabilities."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from .base import exported, from_margins

PROBABILITY_FLOOR = 1e-3  # of the largest: neighbours and forests answer 0; its logarithm must stay finite
CHANCE = 1e6  # times the scores' spread: a temperature that makes all probabilities equal
NEWTON_STEPS = 100  # most; ten are plenty
EXACT = 1e-9  # relative step that is none
FACTOR = 16  # by which one step may change the temperature
LEAST = 1e-300  # mean distance of scores that can be divided by
BLOCK = 2**16  # scores that are scaled at once, in the processor's cache


def scores(estimator: Any, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the margins ``(n, classes)``, or the logarithms of probabilities of an estimator that has no margins.

    Margins come first: those of a linear head are linear in its rows and have no floor.

    Raises
    ------
    ValueError
        The estimator was fitted on a single class, and does not answer as one that has one; or it has no score for
        each class.
    """
    if hasattr(estimator, "worst_margins"):  # votes of pairs cannot be calibrated by a temperature
        return np.asarray(estimator.worst_margins(X))
    if hasattr(estimator, "decision_function"):
        columns = from_margins(estimator.decision_function(X))
    else:
        columns = from_probability(estimator.predict_proba(X))
    if columns.shape[1] != len(estimator.classes_):
        if len(estimator.classes_) > 1:
            raise ValueError(f"{estimator} gives {columns.shape[1]} scores for {len(estimator.classes_)} classes.")
        raise ValueError(f"{estimator} needs two classes, the labels have one class: {estimator.classes_}.")
    return columns


def from_probability(probability: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the logarithms of probabilities, ``(..., classes)``.

    The floor is a share of the largest one: with a thousand classes that may be small, too, and it stays the largest.
    """
    values = np.asarray(probability, np.float64)
    return np.asarray(np.log(np.maximum(values, PROBABILITY_FLOOR * values.max(axis=-1, keepdims=True))))


@exported
class Calibrated(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose scores are divided by a temperature: predictions stay, confidence is calibrated.

    Temperature scaling (Guo et al. 2017), fitted on out-of-fold scores.

    Parameters
    ----------
    estimator
        Has ``predict_proba`` or ``decision_function``. One that is fitted already is taken as it is.
    temperature
        Above 1 for an overconfident estimator.

    Attributes
    ----------
    estimator_
        The copy that :meth:`fit` has fitted.
    """

    def __init__(self, estimator: Any, temperature: float = 1.0) -> None:
        self.estimator = estimator
        self.temperature = temperature

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> "Calibrated":
        """Fit a copy of the estimator; the temperature stays."""
        self.estimator_ = clone(self.estimator).fit(X, y)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether the wrapped estimator is fitted."""
        try:
            check_is_fitted(self._fitted)
        except NotFittedError:
            return False
        return True

    @property
    def _fitted(self) -> Any:
        return getattr(self, "estimator_", self.estimator)

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The estimator's classes, in the order of the columns."""
        return np.asarray(self._fitted.classes_)

    @property
    def n_features_in_(self) -> int:
        """Length of the rows that it takes."""
        return int(self._fitted.n_features_in_)

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return ``(n, classes)``."""
        check_is_fitted(self)
        return np.asarray(softmax(scores(self._fitted, X) / self.temperature, axis=1))

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n,)`` labels: the largest probability."""
        probability = self.predict_proba(X)  # first: it says so if nothing is fitted
        return np.asarray(self.classes_[probability.argmax(axis=1)])


def find_temperature(out_of_fold: npt.NDArray[np.float64], y: npt.NDArray[np.intp]) -> tuple[float, float]:
    """Return the temperature that minimises the log loss of scores ``(n, classes)``, and that log loss.

    Targets are smoothed as in Platt (1999): one image in ``n + 1`` counts as any class. Otherwise scores without a
    mistake would be sharpened without limit, and one mistake on new images would cost as much as a hundred. With them
    the minimum is finite for all scores: separable ones end where one image in ``n + 1`` is expected to be wrong.

    The loss is convex in one over the temperature, and Newton's method finds its minimum. Where the best is an infinite
    temperature, as for scores that are no better than chance, the result is a million times the largest difference of
    two scores of an image: then no log loss differs from that of equal probabilities by more than a millionth. Where no
    scores differ the temperature is 1, and where some are not finite the log loss is infinite.
    """
    if not np.isfinite(out_of_fold).all():
        return 1.0, np.inf
    loss = _ScaledLoss(out_of_fold, y)
    if not loss.widest:
        return 1.0, float(np.log(out_of_fold.shape[1]))
    least = 1 / (CHANCE * loss.widest)
    inverse = least if loss.slope_at_0 >= 0 else max(loss.start, least)
    low, high = least, np.inf
    for _ in range(NEWTON_STEPS):
        plain, slope, curvature = loss.at(inverse)
        if slope < 0:
            low = inverse
        else:
            high = inverse
        step = -slope / curvature if curvature else np.copysign(np.inf, -slope)
        if abs(step) <= EXACT * inverse or high <= least:
            break
        following = np.clip(inverse + step, inverse / FACTOR, inverse * FACTOR)
        inverse = float(following if low < following < high else np.sqrt(low * min(high, FACTOR**2 * low)))
    return float(1 / inverse), plain


class _ScaledLoss:
    """The log loss of scores times a number, and its derivatives by that number.

    Attributes
    ----------
    widest
        The largest difference of two scores of an image.
    slope_at_0
        Derivative of the smoothed loss where all probabilities are equal.
    start
        A number at which probabilities are neither equal nor certain.
    """

    def __init__(self, scores: npt.NDArray[np.float64], y: npt.NDArray[np.intp]) -> None:
        self._below = scores - scores.max(axis=1, keepdims=True)  # a softmax stays what it is, and cannot overflow
        n, classes = scores.shape
        self._truth = float(self._below[np.arange(n), y].mean())
        means = self._below.mean(axis=1)
        self._target = (n * self._truth + float(means.mean())) / (n + 1)  # mean score under the smoothed targets
        self.slope_at_0 = float(means.mean()) - self._target
        self.widest = -float(self._below.min(initial=0))
        self.start = (1 + np.log(classes)) / max(-float(means.mean()), LEAST)

    def at(self, inverse: float) -> tuple[float, float, float]:
        """Return the plain log loss, and slope and curvature of the smoothed one."""
        logs = expected = spread = 0.0
        size = max(BLOCK // self._below.shape[1], 1)
        for first in range(0, len(self._below), size):
            below = self._below[first : first + size]
            weights = np.exp(inverse * below)
            total = weights.sum(axis=1)
            mean = np.einsum("nk,nk->n", weights, below) / total
            weights *= below
            square = np.einsum("nk,nk->n", weights, below) / total
            logs += float(np.log(total).sum())
            expected += float(mean.sum())
            spread += float((square - mean**2).sum())
        n = len(self._below)
        return logs / n - inverse * self._truth, expected / n - self._target, max(spread / n, 0.0)
