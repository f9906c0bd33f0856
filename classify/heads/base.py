"""Grid heads: they answer a grid of hyper-parameters in all folds at once, from rows that are prepared once."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array
from sklearn.utils.class_weight import compute_class_weight
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


class HeldScores(NamedTuple):
    """Scores of the rows that a fold holds out, as :func:`from_margins` takes them, under one point of a grid."""

    point: int
    fold: Fold
    scores: Floats
    converged: bool = True


FoldScores = Iterator[HeldScores]


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

    @abstractmethod
    def fit_prepared(self, basis: Eigenbasis, y: npt.NDArray[Any]) -> Self:
        """Fit on prepared rows and labels ``(n,)``; the fitted head takes rows that are not prepared."""

    def out_of_fold(
        self, basis: Eigenbasis, y: Positions, folds: Folds, points: Grid, count_done: CountDone = lambda done: None
    ) -> OutOfFold:
        """Score every held row under every point of a grid; `y` are codes, and every fold is fitted on all classes.

        The held rows of the folds are ``range(images)``; `count_done` is called with the points times folds done.
        """
        predictions = OutOfFold.empty(points, folds, int(y.max()) + 1)
        shared = self.get_params(deep=False)  # looked up once: clone() takes a hundred times as long
        heads = [type(self)(**copy.deepcopy(shared | dict(point))) for point in points]
        for done, held in enumerate(self._held_scores(basis, y, folds, heads), 1):
            predictions.scores[held.point, held.fold.held] = from_margins(held.scores)
            predictions.unconverged[held.point] += not held.converged
            count_done(done)
        return predictions

    @abstractmethod
    def _held_scores(self, basis: Eigenbasis, y: Positions, folds: Folds, heads: Sequence[Self]) -> FoldScores:
        """Yield the scores of each fold under each point, in any order; `heads` have the parameters of the points."""

    def _labelled(self, X: npt.ArrayLike, y: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        rows, labels = validated(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(labels)
        return rows, labels

    def _checked(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        check_is_fitted(self)
        return np.asarray(validated(self, X, dtype=[np.float64, np.float32], reset=False))


class MarginHead(GridHead):
    """A grid head that predicts the class of the largest margin."""

    def fit_prepared(self, basis: Eigenbasis, y: npt.NDArray[Any]) -> Self:
        """See :meth:`GridHead.fit_prepared`."""
        self._fit(basis, self._codes(basis, y))
        return self

    @abstractmethod
    def _fit(self, basis: Eigenbasis, y: Positions) -> None:
        """Fit on prepared rows and codes ``(n,)`` of ``classes_``."""

    @abstractmethod
    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n, classes)`` margins, for two classes one ``(n,)``."""

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n,)`` labels."""
        margins = self.decision_function(X)
        return np.asarray(self.classes_[(margins > 0).astype(int) if margins.ndim == 1 else margins.argmax(axis=1)])

    def _codes(self, basis: Eigenbasis, y: npt.NDArray[Any]) -> Positions:
        """Learn the classes, and return labels as positions in them."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs two classes, the labels have one class: {self.classes_}.")
        self.n_features_in_ = basis.dim
        return codes


class WeighingHead(MarginHead):
    """A margin head whose fit can weigh every row: a row of weight 2 counts as the row twice."""

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Fit on ``X`` ``(n, d)``, labels ``(n,)`` and weights ``(n,)``, not negative; rows of weight 0 are left out.

        Raises
        ------
        ValueError
            The weights are not as many, or make no sense; or a single class has any.
        """
        if sample_weight is None:
            return super().fit(X, y)
        rows, labels = self._labelled(X, y)
        weights = _sample_weights(sample_weight, len(rows))
        used = weights > 0
        basis = Eigenbasis(rows[used])
        self._fit(basis, self._codes(basis, labels[used]), weights[used])
        return self

    @abstractmethod
    def _fit(self, basis: Eigenbasis, y: Positions, sample_weight: Floats | None = None) -> None:
        """Fit on prepared rows, codes ``(n,)`` of ``classes_`` and weights ``(n,)``, more than 0."""


class LinearHead(MarginHead):
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
        margins = Eigenbasis(self._checked(X)).margins(None, self.coef_.T, self.intercept_)
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


def from_margins(margins: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return margins ``(n, classes)`` as they are; those of two classes, ``(n,)`` or ``(n, 1)``, as two columns."""
    columns = np.asarray(margins, np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    return np.column_stack([-columns / 2, columns / 2]) if columns.shape[1] == 1 else columns


def held_margins(
    margins: Callable[[Positions, Floats, Floats], Floats], fold: Fold, solutions: Iterable[tuple[Floats, Floats]]
) -> list[Floats]:
    """Return the margins of held rows for each solution, which is coefficients and intercepts, by one product."""
    coefficients, intercepts = zip(*solutions, strict=True)
    return np.split(margins(fold.held, np.hstack(coefficients), np.concatenate(intercepts)), len(intercepts), axis=1)


def one_against_rest(y: Positions) -> Floats:
    """Return -1 and 1, ``(n, classes)``, for two classes one column."""
    classes = np.arange(int(y.max()) + 1)
    return np.where(y[:, None] == (classes[1:] if len(classes) == 2 else classes), 1.0, -1.0)


def grouped(heads: Sequence[BaseEstimator], *parameters: str) -> list[list[int]]:
    """Group heads that share the values of some parameters: return the positions of each group."""
    groups: dict[str, list[int]] = {}
    for place, head in enumerate(heads):
        groups.setdefault(repr([getattr(head, name) for name in parameters]), []).append(place)
    return list(groups.values())


def class_weights(kind: ClassWeight, labels: npt.NDArray[Any]) -> Floats | None:
    """Return the weights of the sorted classes, ``(classes,)``; None where all are equal."""
    return None if kind is None else np.asarray(compute_class_weight(kind, classes=np.unique(labels), y=labels))


def row_weights(kind: ClassWeight, labels: npt.NDArray[Any], sample_weight: Floats) -> Floats:
    """Return weights of rows, ``(n,)``, times those of their classes; balanced ones count a row by its weight."""
    classes, codes = np.unique(labels, return_inverse=True)
    if kind == "balanced":
        totals = np.bincount(codes, sample_weight)
        return np.asarray(sample_weight * (totals.sum() / (len(classes) * totals))[codes])
    weights = class_weights(kind, labels)
    return sample_weight if weights is None else np.asarray(sample_weight * weights[codes])


def _sample_weights(weights: npt.ArrayLike, rows: int) -> Floats:
    """Return weights of rows as they can be used; one number is that of all."""
    each = np.full(rows, weights) if isinstance(weights, Real) else weights
    values = check_array(_in_numpy(each), dtype=np.float64, ensure_2d=False, input_name="sample_weight")
    if values.shape != (rows,):
        raise ValueError(f"sample_weight has the shape {values.shape}: must be ({rows},), one weight for each row.")
    if not (values >= 0).all():
        raise ValueError(f"sample_weight has {values.min()}: none may be negative.")
    if not values.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")  # as scikit-learn says it
    return np.asarray(values)


def validated(estimator: Any, *data: Any, **options: Any) -> Any:
    """Return rows, and labels if there are any, as scikit-learn validates them.

    Tensors become arrays of their own type first: scikit-learn knows no type of torch's, and would round the rows;
    where it dispatches by the array API, it would take NumPy's types for torch's.
    """
    return validate_data(estimator, *map(_in_numpy, data), **options)


def _in_numpy(data: Any) -> Any:
    is_tensor = hasattr(data, "__dlpack__") and not isinstance(data, np.ndarray)
    return np.asarray(data) if is_tensor else data


def positive(**named: float) -> Any:
    """Return the value of one named parameter; refuse it unless it is more than 0."""
    ((name, value),) = named.items()
    if not value > 0:
        raise ValueError(f"{name}={value}: must be more than 0.")
    return value
