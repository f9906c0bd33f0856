"""The RBF support vector machine: one Gram matrix serves every fold, penalty and width."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.svm import SVC

from .bank import Banked, Fold, OutOfFold, Point, Tell, silent
from .eigenbasis import Eigenbasis, Floats
from .scores import from_margins
from .splits import Positions


class RbfSVM(Banked):
    """scikit-learn's ``SVC`` on a kernel that was computed beforehand; the class of the largest margin is the answer.

    Parameters
    ----------
    C
        Inverse strength of the penalty.
    gamma
        Of ``exp(-gamma |x - y|^2)``.
    tol
        When libsvm stops.

    Attributes
    ----------
    svc_
        The fitted ``SVC``.
    support_vectors_
        ``(support vectors, d)``.
    """

    def __init__(self, C: float = 1.0, gamma: float = 1.0, tol: float = 1e-3) -> None:
        self.C = C
        self.gamma = gamma
        self.tol = tol

    def out_of_fold(
        self, basis: Eigenbasis, y: Positions, folds: Sequence[Fold], points: Sequence[Point], tell: Tell = silent
    ) -> OutOfFold:
        """Slice one kernel per width; see :meth:`fc7.classify.bank.Banked.out_of_fold`."""
        found = OutOfFold.empty(points, folds, int(y.max()) + 1)
        done = 0
        for gamma in dict.fromkeys(point.get("gamma", self.gamma) for point in points):
            places = [place for place, point in enumerate(points) if point.get("gamma", self.gamma) == gamma]
            for fold in folds:
                seen = _kernel(basis, fold.fitted, fold.fitted, gamma)
                new = _kernel(basis, fold.held, fold.fitted, gamma)
                for place in places:
                    machine = self._machine(points[place].get("C", self.C)).fit(seen, y[fold.fitted])
                    found.scores[place, fold.held] = from_margins(machine.decision_function(new))
                    done += 1
                    tell(done)
        return found

    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return ``(n, classes)`` margins, for two classes one ``(n,)``."""
        rows = self._rows(X).astype(np.float64)
        vectors = self.support_vectors_.astype(np.float64)
        square = np.square(rows).sum(axis=1)[:, None] + np.square(vectors).sum(axis=1) - 2 * rows @ vectors.T
        kernel = np.zeros((len(rows), self.svc_.shape_fit_[0]))  # SVC reads the columns of its support vectors only
        kernel[:, self.svc_.support_] = np.exp(-self.gamma * np.maximum(square, 0))
        return np.asarray(self.svc_.decision_function(kernel))

    def _fit(self, basis: Eigenbasis, y: Positions) -> None:
        everything = np.arange(len(basis))
        kernel = _kernel(basis, everything, everything, self.gamma)
        self.svc_ = self._machine(self.C).fit(kernel, y)
        self.support_vectors_ = basis.inputs[self.svc_.support_]
        self.n_iter_ = self.svc_.n_iter_

    def _machine(self, C: float) -> SVC:
        return SVC(C=C, kernel="precomputed", tol=self.tol)


def _kernel(basis: Eigenbasis, one: Positions, other: Positions, gamma: float) -> Floats:
    square = basis.squares[one][:, None] + basis.squares[other] - 2 * basis.inner(one, other)
    return np.asarray(np.exp(-gamma * np.maximum(square, 0)))
