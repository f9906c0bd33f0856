"""Logistic regression and the linear support vector machine: L2-penalised, exact, all penalties at once."""

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_sample_weight

from ..arrays import Floats, Positions
from ..solvers.eigenbasis import Eigenbasis
from ..solvers.lbfgs import Problems, Solution, minimise
from ..solvers.losses import Binary, Loss, Multinomial, SquaredHinge
from ..solvers.products import Products
from .base import (
    ClassWeight,
    Folds,
    FoldScores,
    HeldScores,
    LinearHead,
    LogLinear,
    WeighingHead,
    exported,
    one_against_rest,
    positive,
    row_weights,
)

# Tolerance in float32: of the search over a grid, which only compares points, and of the start of a fit, which float64
# then finishes.
SEARCH = 1e-4
TOGETHER = 2**22  # numbers in one array of the solver; more problems are solved in batches
SHARE = 48  # bytes for each number of such an array with streamed rows: three arrays in float32, and intermediate ones


class Penalised(WeighingHead, LinearHead):
    """Minimise ``C * sum of losses + |W|^2 / 2``.

    Attributes
    ----------
    n_iter_
        Steps taken.
    converged_
        Whether the last fit converged.
    """

    _intercept_penalised = False

    def __init__(
        self, C: float = 1.0, tol: float = 1e-7, max_iter: int = 1000, class_weight: ClassWeight = None
    ) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight

    @abstractmethod
    def _loss(self, y: Positions) -> Loss:
        """Return the loss; each point in each fold is as many problems as it has targets."""

    def _target_weights(
        self, weights: npt.NDArray[Any], member: Positions, y: Positions, targets: int
    ) -> tuple[npt.NDArray[Any], Positions]:
        """Return weights of rows ``(sets, n)``, and the set of each target of each problem."""
        return weights, member.repeat(targets)

    def _held_scores(self, basis: Eigenbasis, y: Positions, folds: Folds, heads: Sequence[Self]) -> FoldScores:
        # In batches as large as memory allows, the strongest penalties first: later batches start from the coefficients
        # of their folds so far. Streamed rows take all the memory allowed, as each batch reads them many times.
        strongest = sorted(range(len(heads)), key=lambda point: heads[point].C)
        problems = [(point, number) for point in strongest for number in range(len(folds))]
        rows = basis.products(np.float32)
        loss = self._loss(y)
        numbers = TOGETHER if basis.max_ram is None else basis.max_ram // SHARE
        batch_size = max(numbers // (loss.outputs * loss.targets * max(rows.shape)), 1)
        latest: dict[int, npt.NDArray[Any]] = {}
        for first in range(0, len(problems), batch_size):
            batch = problems[first : first + batch_size]
            C = np.array([heads[point].C for point, _ in batch])
            weights, member = _weights(y, folds, [(heads[point].class_weight, number) for point, number in batch])
            weights, member = self._target_weights(weights, member, y, loss.targets)
            start = np.stack([latest[number] for _, number in batch]) if len(latest) == len(folds) else None
            solution = self._solve(rows, y, weights, member, C, tol=SEARCH, start=start)
            flat = solution.coefficients.reshape(-1, rows.shape[1] + 1)
            margins = rows.arrays.host(rows.project(flat[:, :-1]))
            margins = (margins + flat[:, -1:]).reshape(len(batch), -1, len(basis))
            answers = zip(batch, solution.coefficients, margins, solution.converged, strict=True)
            for (point, number), latest[number], margin, converged in answers:
                yield HeldScores(point, folds[number], margin[:, folds[number].held].T, bool(converged))

    def _fit(self, basis: Eigenbasis, y: Positions, sample_weight: Floats | None = None) -> None:
        C, member = np.array([positive(C=self.C)]), np.zeros(1, np.intp)
        each = np.ones(len(basis)) if sample_weight is None else sample_weight
        of_classes = row_weights(self.class_weight, self.classes_[y], each) / each
        weights, member = self._target_weights(of_classes[None], member, y, self._loss(y).targets)
        weights = weights * each
        rough = self._solve(basis.products(np.float32), y, weights, member, C, tol=max(SEARCH, self.tol))
        exact = self._solve(basis.products(np.float64), y, weights, member, C, tol=self.tol, start=rough.coefficients)
        self.n_iter_, self.converged_ = max(int(exact.steps[0] + rough.steps[0]), 1), bool(exact.converged[0])
        if not self.converged_:  # said as scikit-learn says it
            message = f"{self} did not converge in {self.n_iter_} steps. Raise max_iter, or lower C."
            warnings.warn(message, ConvergenceWarning, stacklevel=4)
        self.coef_ = basis.restore(exact.coefficients[0, :, :-1])
        self.intercept_ = exact.coefficients[0, :, -1].copy()

    def _solve(
        self,
        rows: Products,
        y: Positions,
        weights: npt.NDArray[Any],
        member: Positions,
        C: Floats,
        *,
        tol: float,
        start: npt.NDArray[Any] | None = None,
    ) -> Solution:
        """Return coefficients ``(problems, outputs, r + 1)``; weights and members are those of targets."""
        loss = self._loss(y)
        targets = loss.targets
        initial = None if start is None else start.reshape(len(C) * targets, loss.outputs, -1)
        problems = Problems(rows, loss, weights, member, C.repeat(targets), self._intercept_penalised, initial)
        solution = minimise(problems, tol=tol, max_iter=self.max_iter)
        return Solution(
            solution.coefficients.reshape(len(C), -1, solution.coefficients.shape[2]),
            solution.steps.reshape(len(C), targets).max(axis=1),
            np.asarray(solution.converged.reshape(len(C), targets).all(axis=1)),
        )


@exported
class Logistic(Penalised, LogLinear):
    """Multinomial logistic regression, for two classes the binary one; the intercept is not penalised.

    The optimum that scikit-learn's ``LogisticRegression`` approaches.

    Parameters
    ----------
    C
        Inverse strength of the penalty.
    tol
        About the mean error of a row's logits.
    max_iter
        The most steps.
    class_weight
        None, ``balanced``, or a dict by label, as in scikit-learn.
    """

    def _loss(self, y: Positions) -> Loss:
        classes = int(y.max()) + 1
        return Binary(y) if classes == 2 else Multinomial(y, classes)


@exported
class LinearSVM(Penalised):
    """One class against the rest under the squared hinge loss; the intercept is the coefficient of a column of ones.

    The optimum that scikit-learn's ``LinearSVC`` approaches.

    Parameters
    ----------
    C
        Inverse strength of the penalty.
    tol
        About the mean error of a row's logits.
    max_iter
        The most steps.
    class_weight
        None, ``balanced``, or a dict by label, as in scikit-learn.
    """

    _intercept_penalised = True

    def _loss(self, y: Positions) -> Loss:
        return SquaredHinge(np.ascontiguousarray(one_against_rest(y).T, np.float32))

    def _target_weights(
        self, weights: npt.NDArray[Any], member: Positions, y: Positions, targets: int
    ) -> tuple[npt.NDArray[Any], Positions]:
        """Weigh one class against the rest as liblinear does: the class has its weight, the rest have 1."""
        if targets == 1 or np.isin(weights, (0, 1)).all():
            return super()._target_weights(weights, member, y, targets)
        positive = y == np.arange(targets)[:, None]
        sets = np.where(positive, weights[:, None], weights[:, None] > 0)
        return sets.reshape(-1, len(y)), (member[:, None] * targets + np.arange(targets)).ravel()


def _weights(
    y: Positions, folds: Folds, problems: Sequence[tuple[ClassWeight, int]]
) -> tuple[npt.NDArray[np.float32], Positions]:
    """Return the weights of all rows ``(sets, n)``, and the set of each problem, by its class weights and its fold."""
    sets: dict[tuple[str, int], npt.NDArray[np.float32]] = {}
    keys = [(repr(kind), number) for kind, number in problems]
    for key, (kind, number) in zip(keys, problems, strict=True):
        if key not in sets:
            sets[key] = np.zeros(len(y), np.float32)
            sets[key][folds[number].fitted] = compute_sample_weight(kind, y[folds[number].fitted])
    order = {key: place for place, key in enumerate(sets)}
    return np.stack(list(sets.values())), np.array([order[key] for key in keys])
