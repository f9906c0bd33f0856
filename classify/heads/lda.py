"""Linear discriminant analysis with shrinkage, exact in as many dimensions as there are rows."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..arrays import Floats, Positions
from ..data.splits import Fold
from ..solvers.class_sums import ClassSums, take_out
from ..solvers.eigenbasis import Eigenbasis
from ..solvers.lapack import solve
from .base import (
    ClassWeight,
    CountDone,
    GridPoint,
    LogLinear,
    OutOfFold,
    by_class_weight,
    class_weights,
    exported,
    silent,
)
from .calibration import from_margins

ROUNDING = 1e-12  # of the squared lengths of rows: what the spread of equal rows may come to


@exported
class Lda(LogLinear):
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

    def out_of_fold(
        self,
        basis: Eigenbasis,
        y: Positions,
        folds: Sequence[Fold],
        points: Sequence[GridPoint],
        tell: CountDone = silent,
    ) -> OutOfFold:
        """Solve each fold once per shrinkage; see :meth:`fc7.classify.heads.base.GridHead.out_of_fold`."""
        found = OutOfFold.empty(points, folds, int(y.max()) + 1)
        binary, done = found.scores.shape[2] == 2, 0
        for kind, places in by_class_weight(points, self.class_weight):
            shrinkages = [_share(points[place].get("shrinkage", self.shrinkage)) for place in places]
            rooms = _rooms(basis, y)
            for fold in folds:
                for place, margins in zip(places, _fold(rooms, y, fold, kind, shrinkages), strict=True):
                    found.scores[place, fold.held] = from_margins(np.diff(margins) if binary else margins)
                done += len(places)
                tell(done)
        return found

    def _fit(self, basis: Eigenbasis, y: Positions) -> None:
        room = _rooms(basis, y)(np.arange(len(basis)), class_weights(self.class_weight, self.classes_[y]))
        coefficients, intercept = next(room.solutions([_share(self.shrinkage)]))
        planes = room.restore(coefficients)
        binary = len(intercept) == 2
        self.coef_ = planes[1:] - planes[:1] if binary else planes
        self.intercept_ = intercept[1:] - intercept[:1] if binary else intercept


def _rooms(basis: Eigenbasis, y: Positions) -> "Rooms":
    """Return what solves for some of the rows with class weights."""
    return partial(_Dual, basis, y) if basis.wide else partial(_Primal, basis, y, basis.class_sums(y))


def _fold(rooms: "Rooms", y: Positions, fold: Fold, kind: ClassWeight, shrinkages: Sequence[float]) -> list[Floats]:
    """Return the margins of held rows for each shrinkage."""
    room = rooms(fold.fitted, class_weights(kind, y[fold.fitted]))
    coefficients, intercepts = zip(*room.solutions(shrinkages), strict=True)
    margins = room.margins(fold.held, np.hstack(coefficients), np.concatenate(intercepts))
    return np.split(margins, len(shrinkages), axis=1)


class _Dual:
    """Where coefficients are weights of the fitted rows; all that is known of these is their Gram matrix."""

    def __init__(self, basis: Eigenbasis, y: Positions, fitted: Positions, weights: Floats | None) -> None:
        self._basis, self._fitted, self._codes = basis, fitted, y[fitted]
        codes, counts = self._codes, np.bincount(self._codes)
        prior = (counts if weights is None else counts * weights).astype(np.float64)
        prior /= prior.sum()
        self._prior = np.log(prior)
        self._roots = np.sqrt(prior * len(fitted) / counts)[codes, None]  # of rows in the spread; 1 without weights
        self._averages = np.zeros((len(fitted), len(counts)))  # columns that take the mean of a class
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
        """Return planes ``(classes, d)``."""
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
    """Where coefficients are those of the rows; all that is known of these is their moments."""

    def __init__(
        self, basis: Eigenbasis, y: Positions, whole: ClassSums, fitted: Positions, weights: Floats | None
    ) -> None:
        self._basis = basis
        self._sums, second = basis.moments(y, whole, fitted, weights)
        self._length = float(np.trace(second))
        self._covariance = take_out(second, self._sums.means, self._sums.counts)
        self._covariance /= self._sums.n

    def margins(self, rows: Positions, coefficients: Floats, intercepts: Floats) -> Floats:
        """Return the margins of some rows."""
        return self._basis.margins(rows, coefficients, intercepts)

    def restore(self, coefficients: Floats) -> Floats:
        """Return planes ``(classes, d)``."""
        return np.ascontiguousarray(coefficients.T)

    def solutions(self, shrinkages: Sequence[float]) -> Iterator[tuple[Floats, Floats]]:
        """Yield coefficients ``(d, classes)`` and intercepts ``(classes,)`` for each shrinkage."""
        means, trace = self._sums.means, float(np.trace(self._covariance))
        _require_spread(trace * self._sums.n, self._length, (int(self._sums.n), len(means)))
        prior = np.log(self._sums.counts / self._sums.n)
        for shrinkage in shrinkages:
            system = (1 - shrinkage) * self._covariance
            system.flat[:: len(system) + 1] += shrinkage * trace / self._basis.dim
            coefficients = solve(system, means.T)
            del system  # before the next one is made
            yield coefficients, prior - np.einsum("kd,dk->k", means, coefficients) / 2


Rooms = Callable[[Positions, Floats | None], _Dual | _Primal]


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
