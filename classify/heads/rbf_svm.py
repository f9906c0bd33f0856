"""The RBF support vector machine: one Gram matrix serves every fold, penalty and width."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight

from ..arrays import Floats, Positions
from ..solvers.eigenbasis import Eigenbasis
from .base import (
    ClassWeight,
    Folds,
    FoldScores,
    HeldScores,
    WeighingHead,
    exported,
    from_margins,
    grouped,
    row_weights,
)

PAIRS = 2**22  # margins, or numbers of the kernel, that are computed at once


@exported
class RbfSVM(WeighingHead):
    """scikit-learn's ``SVC`` on a precomputed kernel.

    It predicts as ``SVC(break_ties=True)``: the class that wins the most pairs of classes, and of equal ones the class
    with the larger sum of margins. ``SVC`` breaks ties by the order of the classes by default. Votes say little about
    how sure an answer is: probabilities come from :meth:`worst_margins`.

    Parameters
    ----------
    C
        Inverse strength of the penalty.
    gamma
        Of ``exp(-gamma |x - y|^2)``.
    tol
        When libsvm stops.
    class_weight
        Times ``C``, by class: none, ``balanced``, or a dict by label, as in scikit-learn. Balanced weights are those of
        the rows fitted on, inside each fold.

    Attributes
    ----------
    svc_
        The fitted ``SVC``.
    support_vectors_
        ``(support vectors, d)``.
    """

    def __init__(self, C: float = 1.0, gamma: float = 1.0, tol: float = 1e-3, class_weight: ClassWeight = None) -> None:
        self.C = C
        self.gamma = gamma
        self.tol = tol
        self.class_weight = class_weight

    def _held_scores(self, basis: Eigenbasis, y: Positions, folds: Folds, heads: Sequence[Self]) -> FoldScores:
        for points in grouped(heads, "gamma"):
            for fold in folds:
                fitted_kernel = _kernel(basis, fold.fitted, fold.fitted, heads[points[0]].gamma)
                held_kernel = _kernel(basis, fold.held, fold.fitted, heads[points[0]].gamma)
                for point in points:
                    weights = compute_sample_weight(heads[point].class_weight, y[fold.fitted])
                    machine = heads[point]._machine().fit(fitted_kernel, y[fold.fitted], weights)
                    blocks = (machine.decision_function(held_kernel[rows]) for rows in _blocks(len(fold.held), machine))
                    margins = [_worst(pairs, len(machine.classes_)) for pairs in blocks]
                    yield HeldScores(point, fold, np.concatenate(margins))

    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return ``(n, classes)`` votes and margins, those of ``SVC``; for two classes one margin ``(n,)``."""
        blocks = self._pairs(self._checked(X))
        classes = len(self.classes_)
        return np.concatenate([pairs if classes == 2 else _votes(pairs, classes) for pairs in blocks])

    def worst_margins(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return ``(n, classes)``: of each class the margin over the class that beats it most clearly.

        Unlike votes they say how sure an answer is. A class that wins all its pairs has the largest. Where there is
        none, the class that is predicted trades its value for the largest, so that the answer is the same.
        """
        blocks = self._pairs(self._checked(X))
        return np.concatenate([_worst(pairs, len(self.classes_)) for pairs in blocks])

    def _pairs(self, rows: npt.NDArray[Any]) -> Iterator[Floats]:
        """Yield the margins of rows in each pair of classes, block by block."""
        centre = self.support_vectors_.mean(axis=0, dtype=np.float64)  # inner products lose what rows have in common
        vectors = self.support_vectors_ - centre
        lengths = np.square(vectors).sum(axis=1)
        for places in _blocks(len(rows), self.svc_):
            block = rows[places] - centre
            square = np.square(block).sum(axis=1)[:, None] + lengths - 2 * block @ vectors.T
            kernel = np.zeros((len(block), self.svc_.shape_fit_[0]))  # SVC reads the columns of support vectors only
            kernel[:, self.svc_.support_] = np.exp(-self.gamma * np.maximum(square, 0))
            yield np.asarray(self.svc_.decision_function(kernel))

    def _fit(self, basis: Eigenbasis, y: Positions, sample_weight: Floats | None = None) -> None:
        everything = np.arange(len(basis))
        kernel = _kernel(basis, everything, everything, self.gamma)
        each = np.ones(len(basis)) if sample_weight is None else sample_weight
        weights = row_weights(self.class_weight, self.classes_[y], each)
        self.svc_ = self._machine().fit(kernel, y, weights)
        self.support_vectors_ = basis.inputs[self.svc_.support_]
        self.n_iter_ = self.svc_.n_iter_

    def _machine(self) -> SVC:
        return SVC(C=self.C, kernel="precomputed", tol=self.tol, decision_function_shape="ovo")


def _kernel(basis: Eigenbasis, rows: Positions, columns: Positions, gamma: float) -> Floats:
    """Return the kernel between two selections of rows, in place: it may be most of the memory."""
    if basis.device is not None and not basis.wide:
        return basis.there.kernel(rows, columns, gamma)
    kernel = basis.inner(rows, columns)
    kernel *= -2
    kernel += basis.squares[rows][:, None]
    kernel += basis.squares[columns]
    np.maximum(kernel, 0, out=kernel)
    kernel *= -gamma
    return np.exp(kernel, out=kernel)


def _blocks(count: int, machine: SVC) -> Iterator[slice]:
    """Yield slices of so many rows, as many at once as there is room for margins in all pairs of classes."""
    classes = len(machine.classes_)
    size = max(PAIRS // max(classes * (classes - 1) // 2, machine.shape_fit_[0]), 1)
    return (slice(first, first + size) for first in range(0, count, size))


def _votes(pairs: Floats, classes: int) -> Floats:
    """Return ``(n, classes)``: how many pairs a class wins, plus less than 1/3 that grows with its sum of margins."""
    votes, sums = np.zeros((2, len(pairs), classes))
    for first, margins in _by_class(pairs, classes):
        won = margins >= 0
        votes[:, first] += won.sum(axis=1)
        votes[:, first + 1 :] += ~won
        sums[:, first] += margins.sum(axis=1)
        sums[:, first + 1 :] -= margins
    return np.asarray(votes + sums / (3 * (np.abs(sums) + 1)))


def _worst(pairs: Floats, classes: int) -> Floats:
    """Return ``(n, classes)``; see :meth:`RbfSVM.worst_margins`."""
    if classes == 2:
        return from_margins(pairs)
    worst = np.full((len(pairs), classes), np.inf)
    for first, margins in _by_class(pairs, classes):
        worst[:, first] = np.minimum(worst[:, first], margins.min(axis=1))
        np.minimum(worst[:, first + 1 :], -margins, out=worst[:, first + 1 :])
    n, predicted, largest = np.arange(len(pairs)), _votes(pairs, classes).argmax(axis=1), worst.argmax(axis=1)
    worst[n, predicted], worst[n, largest] = worst[n, largest], worst[n, predicted]
    return worst


def _by_class(pairs: Floats, classes: int) -> Iterator[tuple[int, Floats]]:
    """Yield each class but the last, with its margins over those after it: that is the order of the pairs."""
    end = 0
    for first in range(classes - 1):
        start, end = end, end + classes - 1 - first
        yield first, pairs[:, start:end]
