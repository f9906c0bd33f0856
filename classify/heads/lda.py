"""Linear discriminant analysis with shrinkage, exact in as many dimensions as there are rows."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Self

import numpy as np

from ..arrays import Floats, Positions
from ..solvers.class_sums import ClassSums, take_out
from ..solvers.eigenbasis import Eigenbasis
from ..solvers.lapack import solve, solve_shifted
from ..solvers.namespaces import Array
from .base import (
    ClassWeight,
    Folds,
    FoldScores,
    HeldScores,
    LogLinear,
    WeighingHead,
    class_weights,
    exported,
    grouped,
    held_margins,
    row_weights,
)

ROUNDING = 1e-12  # of the squared lengths of rows: the most that rounding makes of the spread of equal rows


@exported
class Lda(WeighingHead, LogLinear):
    """Gaussians of one shrunk covariance: the same answers as scikit-learn's ``LinearDiscriminantAnalysis``.

    The covariance within the classes, ``S``, becomes ``(1 - shrinkage) S + shrinkage trace(S) / d I``, with ``d`` the
    dimension of the rows; its inverse comes through the Gram matrix (Woodbury) where that is smaller.

    Parameters
    ----------
    shrinkage
        More than 0, up to 1.
    class_weight
        The prior of a class is this times its number of rows: none, ``balanced`` (equal priors), or a dict by label. As
        with scikit-learn's ``priors``, the spread of a class counts as its prior does.
    """

    def __init__(self, shrinkage: float = 0.5, class_weight: ClassWeight = None) -> None:
        self.shrinkage = shrinkage
        self.class_weight = class_weight

    def _held_scores(self, basis: Eigenbasis, y: Positions, folds: Folds, heads: Sequence[Self]) -> FoldScores:
        for points in grouped(heads, "class_weight"):
            shrinkages = [_share(heads[point].shrinkage) for point in points]
            solver_of = _solver_of(basis, y)
            for fold in folds:
                solver = solver_of(fold.fitted, class_weights(heads[points[0]].class_weight, y[fold.fitted]))
                fold_margins = held_margins(solver.margins, fold, solver.solutions(shrinkages))
                for point, margins in zip(points, fold_margins, strict=True):
                    yield HeldScores(point, fold, np.diff(margins) if margins.shape[1] == 2 else margins)

    def _fit(self, basis: Eigenbasis, y: Positions, sample_weight: Floats | None = None) -> None:
        solver: _Dual | _Primal
        if sample_weight is None:
            solver = _solver_of(basis, y)(np.arange(len(basis)), class_weights(self.class_weight, self.classes_[y]))
        else:
            weights = row_weights(self.class_weight, self.classes_[y], sample_weight)
            narrow = basis.narrow
            solver = _Primal(basis, narrow.weighted_sums(y, weights), narrow.weighted_moment(weights))
        coefficients, intercept = next(solver.solutions([_share(self.shrinkage)]))
        coef = solver.restore(coefficients)
        binary = len(intercept) == 2
        self.coef_ = coef[1:] - coef[:1] if binary else coef
        self.intercept_ = intercept[1:] - intercept[:1] if binary else intercept


def _solver_of(basis: Eigenbasis, y: Positions) -> "SolverOf":
    """Return a function that makes the solver for fitted rows and class weights."""
    if basis.wide:
        return partial(_Dual, basis, y)
    total = basis.class_sums(y)
    return lambda fitted, weights: _Primal(basis, *basis.moments(y, total, fitted, weights))


class _Dual:
    """LDA through the Gram matrix: coefficients are weights of the fitted rows. For fewer rows than dimensions."""

    def __init__(self, basis: Eigenbasis, y: Positions, fitted: Positions, weights: Floats | None) -> None:
        self._basis, self._fitted, self._codes = basis, fitted, y[fitted]
        codes, counts = self._codes, np.bincount(self._codes)
        prior = (counts if weights is None else counts * weights).astype(np.float64)
        prior /= prior.sum()
        self._prior = np.log(prior)
        self._roots = np.sqrt(prior * len(fitted) / counts)[codes, None]  # of rows in the spread; 1 without weights
        self._averages = np.zeros((len(fitted), len(counts)))  # columns average the rows of a class
        self._averages[np.arange(len(fitted)), codes] = 1 / counts[codes]
        gram = basis.inner(fitted, fitted)
        self._length = float(np.trace(gram))
        self._means = gram @ self._averages
        self._moments = self._averages.T @ self._means
        within = gram - self._means[:, codes]
        within -= self._means.T[codes] - self._moments[np.ix_(codes, codes)]
        within *= self._roots
        within *= self._roots.T
        self._within = within
        self._right = (self._means - self._moments[codes]) * self._roots

    def margins(self, rows: Positions, coefficients: Floats, intercepts: Floats) -> Floats:
        """Return the margins of some rows."""
        return np.asarray(self._basis.inner(rows, self._fitted) @ coefficients + intercepts)

    def restore(self, coefficients: Floats) -> Floats:
        """Return coefficients ``(classes, d)`` of the inputs."""
        return np.asarray(coefficients.T @ self._basis.inputs[self._fitted])

    def solutions(self, shrinkages: Sequence[float]) -> Iterator[tuple[Floats, Floats]]:
        """Yield coefficients ``(rows, classes)`` and intercepts ``(classes,)`` for each shrinkage."""
        n, trace = len(self._fitted), float(np.trace(self._within))
        _require_spread(trace, self._length, self._averages.shape)
        for shrinkage in shrinkages:
            ridge = shrinkage * trace / (n * self._basis.dim)
            weights = self._averages
            if shrinkage < 1:
                system = self._within.copy()
                system.flat[:: n + 1] += ridge * n / (1 - shrinkage)
                solved = solve(system, self._right) * self._roots
                weights = weights - solved + (self._averages.T @ solved)[self._codes]
            coefficients = weights / ridge
            yield coefficients, self._prior - np.einsum("nk,nk->k", self._means, coefficients) / 2


class _Primal:
    """LDA through the second moment: coefficients are those of the columns. For at least as many rows as dimensions.

    Sums and second moment are those of the basis in no more dimensions than it has rows.
    """

    def __init__(self, basis: Eigenbasis, sums: ClassSums, second: Array) -> None:
        self._basis, self._sums = basis, sums
        self._length = float(second.trace())
        self._covariance = take_out(second, self._sums.means, self._sums.counts)
        self._covariance /= self._sums.n

    def margins(self, rows: Positions, coefficients: Floats, intercepts: Floats) -> Floats:
        """Return the margins of some rows."""
        return self._basis.margins(rows, coefficients, intercepts)

    def restore(self, coefficients: Floats) -> Floats:
        """Return coefficients ``(classes, d)`` of the inputs."""
        return self._basis.restore(coefficients.T) if self._basis.wide else np.ascontiguousarray(coefficients.T)

    def solutions(self, shrinkages: Sequence[float]) -> Iterator[tuple[Floats, Floats]]:
        """Yield coefficients ``(d, classes)`` and intercepts ``(classes,)`` for each shrinkage."""
        means, trace = self._sums.means, float(self._covariance.trace())
        _require_spread(trace * self._sums.n, self._length, (int(self._sums.n), len(means)))
        prior = np.log(self._sums.counts / self._sums.n)
        for shrinkage in shrinkages:
            shift = shrinkage * trace / self._basis.dim
            coefficients = solve_shifted(self._covariance, means.T, shift, 1 - shrinkage)
            yield coefficients, prior - np.einsum("kd,dk->k", means, coefficients) / 2


SolverOf = Callable[[Positions, Floats | None], _Dual | _Primal]


def _require_spread(within: float, length: float, shape: tuple[int, ...]) -> None:
    if not within > ROUNDING * length:
        raise ValueError(
            f"no class has two rows that differ ({shape[0]} rows, {shape[1]} classes): there is no spread to measure. "
            "Add images, or take another head."
        )


def _share(shrinkage: Any) -> float:
    value = float(shrinkage)
    if not 0 < value <= 1:
        raise ValueError(f"shrinkage={value}: must be more than 0, up to 1.")
    return value
