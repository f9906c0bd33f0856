"""Grid heads: they answer a grid of hyper-parameters in all folds at once, from rows that are prepared once."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ..arrays import Floats, Positions
from ..data.splits import Fold
from ..solvers.eigenbasis import Eigenbasis

GridPoint = Mapping[str, Any]
Grid = Sequence[GridPoint]
Folds = Sequence[Fold]
T = TypeVar("T")
ClassWeight = str | dict[Any, float] | None  # as in scikit-learn
CountDone = Callable[[int], None]  # how many points times folds are done


def silent(done: int) -> None:
    """Ignore progress."""


def exported(estimator: type[T]) -> type[T]:
    """Set the module of an estimator to ``fc7.classify.heads``: bundles trust that name, whatever file it is in."""
    estimator.__module__ = __package__
    return estimator


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold scores ``(points, images, classes)``, and in how many folds each point did not converge."""

    scores: Floats
    unconverged: Positions

    @classmethod
    def empty(cls, points: Grid, folds: Folds, classes: int) -> "OutOfFold":
        """Return arrays to fill with the scores of a grid; the held rows of the folds are ``range(images)``."""
        images = sum(len(fold.held) for fold in folds)
        return cls(np.empty((len(points), images, classes)), np.zeros(len(points), np.intp))


class GridHead(ClassifierMixin, BaseEstimator, ABC):
    """A classifier that answers a grid in all folds at once, on rows that are prepared once for many fits.

    Attributes
    ----------
    classes_
        Sorted labels.
    """

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Fit on ``X`` ``(n, d)`` and labels ``(n,)``."""
        rows, labels = self._labelled(X, y)
        return self.fit_prepared(Eigenbasis(rows), labels)

    def fit_prepared(self, basis: Eigenbasis, y: npt.NDArray[Any]) -> Self:
        """Fit on prepared rows and labels ``(n,)``; the fitted head takes rows that are not prepared."""
        self._fit(basis, self._codes(basis, y))
        return self

    @abstractmethod
    def _fit(self, basis: Eigenbasis, y: Positions) -> None:
        """Fit on prepared rows and codes ``(n,)`` of ``classes_``."""

    @abstractmethod
    def out_of_fold(
        self, basis: Eigenbasis, y: Positions, folds: Folds, points: Grid, count_done: CountDone = silent
    ) -> OutOfFold:
        """Score every held row under every point of a grid; `y` are codes, and every fold is fitted on all classes.

        The held rows of the folds are ``range(images)``; `count_done` is called with the points times folds done.
        """

    @abstractmethod
    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n, classes)`` margins, for two classes one ``(n,)``."""

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n,)`` labels."""
        margins = self.decision_function(X)
        return np.asarray(self.classes_[(margins > 0).astype(int) if margins.ndim == 1 else margins.argmax(axis=1)])

    def _labelled(self, X: npt.ArrayLike, y: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        rows, labels = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(labels)
        return rows, labels

    def _codes(self, basis: Eigenbasis, y: npt.NDArray[Any]) -> Positions:
        """Learn the classes, and return labels as positions in them."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs two classes, the labels have one class: {self.classes_}.")
        self.n_features_in_ = basis.dim
        return codes

    def _rows(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        check_is_fitted(self)
        return np.asarray(validate_data(self, X, dtype=[np.float64, np.float32], reset=False))


class LinearHead(GridHead):
    """A grid head with linear margins, computed in float64: a row has the same ones alone and among others.

    Attributes
    ----------
    coef_, intercept_
        ``(classes, d)`` and ``(classes,)``, for two classes one row, as in scikit-learn.
    """

    coef_: Floats
    intercept_: Floats

    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return ``(n, classes)`` margins, for two classes one ``(n,)``."""
        rows = self._rows(X)
        margins = Eigenbasis(rows).margins(np.arange(len(rows)), self.coef_.T, self.intercept_)
        return margins[:, 0] if margins.shape[1] == 1 else margins


class LogLinear(LinearHead):
    """A linear head whose margins are log-odds."""

    def predict_proba(self, X: npt.ArrayLike) -> Floats:
        """Return ``(n, classes)`` in the order of ``classes_``."""
        margins = self.decision_function(X)
        return probabilities(margins[:, None] if margins.ndim == 1 else margins)


def probabilities(margins: Floats) -> Floats:
    """Return ``(n, classes)`` from log-odds, of two classes in one column."""
    if margins.shape[1] > 1:
        return np.asarray(softmax(margins, axis=1))
    return np.column_stack([expit(-margins[:, 0]), expit(margins[:, 0])])


def warn_unless(converged: bool, estimator: Any, steps: int) -> None:
    """Warn as scikit-learn does."""
    if not converged:
        warnings.warn(
            f"{estimator} did not converge in {steps} steps. Raise max_iter, or lower C.",
            ConvergenceWarning,
            stacklevel=4,
        )


def positive(**named: float) -> Any:
    """Return the value of one named parameter; refuse it unless it is more than 0."""
    ((name, value),) = named.items()
    if not value > 0:
        raise ValueError(f"{name}={value}: must be more than 0.")
    return value
