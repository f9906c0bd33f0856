"""Linear discriminant analysis with shrinkage, exact in as many dimensions as there are rows."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from .bank import Fold, OutOfFold, Planes, Point, Tell, silent
from .cholesky import solve
from .eigenbasis import Eigenbasis, Floats
from .scores import from_margins
from .splits import Positions

ROUNDING = 1e-12  # of the squared lengths of rows: what the spread of equal rows may come to


class Lda(Planes):
    """Gaussians of one shrunk covariance: the same answers as scikit-learn's ``LinearDiscriminantAnalysis``.

    The covariance within the classes, ``S``, becomes ``(1 - shrinkage) S + shrinkage trace(S) / d I``, with ``d`` the
    dimension of the rows; its inverse comes through the Gram matrix (Woodbury) where that is smaller.

    Parameters
    ----------
    shrinkage
        More than 0, up to 1.
    """

    def __init__(self, shrinkage: float = 0.5) -> None:
        self.shrinkage = shrinkage

    def out_of_fold(
        self, basis: Eigenbasis, y: Positions, folds: Sequence[Fold], points: Sequence[Point], tell: Tell = silent
    ) -> OutOfFold:
        """Solve each fold once per shrinkage; see :meth:`fc7.classify.bank.Banked.out_of_fold`."""
        shrinkages = [_share(point.get("shrinkage", self.shrinkage)) for point in points]
        found = OutOfFold.empty(points, folds, int(y.max()) + 1)
        for number, fold in enumerate(folds):
            room = _Dual(basis, y, fold.fitted) if basis.wide else _Primal(basis, y, fold.fitted)
            rows = room.rows(fold.held)
            for place, (coefficients, intercept) in enumerate(room.discriminants(shrinkages)):
                found.scores[place, fold.held] = from_margins(rows @ coefficients + intercept)
            tell((number + 1) * len(points))
        return found

    def predict_proba(self, X: npt.ArrayLike) -> Floats:
        """Return ``(n, classes)`` in the order of ``classes_``."""
        return np.asarray(softmax(from_margins(self.decision_function(X)), axis=1))

    def _fit(self, basis: Eigenbasis, y: Positions) -> None:
        everything = np.arange(len(basis))
        room = _Dual(basis, y, everything) if basis.wide else _Primal(basis, y, everything)
        coefficients, self.intercept_ = next(room.discriminants([_share(self.shrinkage)]))
        self.coef_ = room.restore(coefficients)


class _Room(ABC):
    """Where the discriminants of some fitted rows are solved."""

    def __init__(self, basis: Eigenbasis, y: Positions, fitted: Positions) -> None:
        self.basis, self.fitted, self.codes = basis, fitted, y[fitted]
        counts = np.bincount(self.codes)
        self.prior = np.log(counts / len(fitted))
        self.averages = np.zeros((len(fitted), len(counts)))  # columns that take the mean of a class
        self.averages[np.arange(len(fitted)), self.codes] = 1 / counts[self.codes]

    def discriminants(self, shrinkages: Sequence[float]) -> Iterator[tuple[Floats, Floats]]:
        """Yield coefficients and intercepts for each shrinkage: one column per class, for two classes one in all."""
        for coefficients, intercept in self.solutions(shrinkages):
            if len(intercept) == 2:
                yield coefficients[:, 1:] - coefficients[:, :1], intercept[1:] - intercept[:1]
            else:
                yield coefficients, intercept

    @abstractmethod
    def solutions(self, shrinkages: Sequence[float]) -> Iterator[tuple[Floats, Floats]]:
        """Yield coefficients, a column per class, and intercepts ``(classes,)`` for each shrinkage."""

    def _ridge(self, trace: float, shrinkage: float) -> float:
        """Return what shrinkage adds to the diagonal of the covariance."""
        if not trace > ROUNDING * self.basis.squares[self.fitted].sum():
            raise ValueError(
                f"no class has two rows that differ ({len(self.fitted)} rows, {self.averages.shape[1]} classes): there "
                "is no spread to measure. Add images, or take another head."
            )
        return shrinkage * trace / (len(self.fitted) * self.basis.dim)


class _Dual(_Room):
    """Coefficients are weights of the fitted rows; all that is known of these is their Gram matrix."""

    def __init__(self, basis: Eigenbasis, y: Positions, fitted: Positions) -> None:
        super().__init__(basis, y, fitted)
        gram = basis.products(fitted, fitted)
        self._means = gram @ self.averages
        self._moments = self.averages.T @ self._means
        within = gram - self._means[:, self.codes]
        within -= self._means.T[self.codes] - self._moments[np.ix_(self.codes, self.codes)]
        self._within = within
        self._right = self._means - self._moments[self.codes]

    def rows(self, places: Positions) -> Floats:
        """Return what coefficients are multiplied with to score rows."""
        return self.basis.products(places, self.fitted)

    def restore(self, coefficients: Floats) -> Floats:
        """Return planes ``(classes, d)``."""
        return np.asarray(coefficients.T @ self.basis.inputs[self.fitted])

    def solutions(self, shrinkages: Sequence[float]) -> Iterator[tuple[Floats, Floats]]:
        """Yield coefficients ``(rows, classes)`` and intercepts ``(classes,)`` for each shrinkage."""
        for shrinkage in shrinkages:
            ridge = self._ridge(float(np.trace(self._within)), shrinkage)
            weights = self.averages
            if shrinkage < 1:
                system = self._within.copy()
                system.flat[:: len(system) + 1] += ridge * len(system) / (1 - shrinkage)
                solved = solve(system, self._right)
                weights = weights - solved + (self.averages.T @ solved)[self.codes]
            coefficients = weights / ridge
            yield coefficients, self.prior - np.einsum("nk,nk->k", self._means, coefficients) / 2


class _Primal(_Room):
    """Coefficients are those of the rotated rows."""

    def rows(self, places: Positions) -> Floats:
        """Return what coefficients are multiplied with to score rows."""
        return np.asarray(self.basis.rows[places])

    def restore(self, coefficients: Floats) -> Floats:
        """Return planes ``(classes, d)``."""
        return self.basis.restore(coefficients.T)

    def solutions(self, shrinkages: Sequence[float]) -> Iterator[tuple[Floats, Floats]]:
        """Yield coefficients ``(r, classes)`` and intercepts ``(classes,)`` for each shrinkage."""
        rows = self.basis.rows[self.fitted]
        means = self.averages.T @ rows
        within = rows - means[self.codes]
        covariance = within.T @ within / len(rows)
        for shrinkage in shrinkages:
            system = (1 - shrinkage) * covariance
            system.flat[:: len(system) + 1] += self._ridge(float(np.trace(covariance)) * len(rows), shrinkage)
            coefficients = solve(system, means.T)
            yield coefficients, self.prior - np.einsum("kr,rk->k", means, coefficients) / 2


def _share(shrinkage: Any) -> float:
    value = float(shrinkage)
    if not 0 < value <= 1:
        raise ValueError(f"shrinkage={value}: must be more than 0, up to 1.")
    return value
