"""The RBF support vector machine: one Gram matrix serves every fold, penalty and width."""

import numpy as np
import numpy.typing as npt
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight

from ..arrays import Floats, Positions
from ..solvers.eigenbasis import Eigenbasis
from .base import ClassWeight, CountDone, Folds, Grid, GridHead, OutOfFold, exported, silent
from .calibration import from_margins


@exported
class RbfSVM(GridHead):
    """scikit-learn's ``SVC`` on a precomputed kernel; it predicts the class of the largest margin.

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

    def out_of_fold(
        self, basis: Eigenbasis, y: Positions, folds: Folds, points: Grid, count_done: CountDone = silent
    ) -> OutOfFold:
        """Slice one kernel per width; see :meth:`fc7.classify.heads.base.GridHead.out_of_fold`."""
        predictions = OutOfFold.empty(points, folds, int(y.max()) + 1)
        done = 0
        for gamma in dict.fromkeys(point.get("gamma", self.gamma) for point in points):
            places = [place for place, point in enumerate(points) if point.get("gamma", self.gamma) == gamma]
            for fold in folds:
                fitted_kernel = _kernel(basis, fold.fitted, fold.fitted, gamma)
                held_kernel = _kernel(basis, fold.held, fold.fitted, gamma)
                for place in places:
                    kind = points[place].get("class_weight", self.class_weight)
                    weights = compute_sample_weight(kind, y[fold.fitted])
                    machine = self._machine(points[place].get("C", self.C)).fit(fitted_kernel, y[fold.fitted], weights)
                    predictions.scores[place, fold.held] = from_margins(machine.decision_function(held_kernel))
                    done += 1
                    count_done(done)
        return predictions

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
        weights = compute_sample_weight(self.class_weight, self.classes_[y])
        self.svc_ = self._machine(self.C).fit(kernel, y, weights)
        self.support_vectors_ = basis.inputs[self.svc_.support_]
        self.n_iter_ = self.svc_.n_iter_

    def _machine(self, C: float) -> SVC:
        return SVC(C=C, kernel="precomputed", tol=self.tol)


def _kernel(basis: Eigenbasis, rows: Positions, columns: Positions, gamma: float) -> Floats:
    square = basis.squares[rows][:, None] + basis.squares[columns] - 2 * basis.inner(rows, columns)
    return np.asarray(np.exp(-gamma * np.maximum(square, 0)))
