"""The nearest-centroid head: as scikit-learn's, with scores that agree with its answers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .bank import Banked, Fold, OutOfFold, Point, Tell, silent
from .eigenbasis import Eigenbasis, Floats
from .scores import from_margins
from .splits import Positions


class Centroid(Banked):
    """The class whose mean is nearest.

    scikit-learn's ``NearestCentroid`` answers by distance, but its probabilities weigh in priors and the spread of each
    column, so that the two can disagree. Here the score of a class is minus half the squared distance to its mean.

    Attributes
    ----------
    centroids_
        ``(classes, d)``.
    """

    def out_of_fold(
        self, basis: Eigenbasis, y: Positions, folds: Sequence[Fold], points: Sequence[Point], tell: Tell = silent
    ) -> OutOfFold:
        """See :meth:`fc7.classify.bank.Banked.out_of_fold`."""
        found = OutOfFold.empty(points, folds, int(y.max()) + 1)
        for number, fold in enumerate(folds):
            centroids = _means(basis.inputs[fold.fitted], y[fold.fitted])
            found.scores[:, fold.held] = from_margins(_margins(basis.inputs[fold.held], centroids))
            tell((number + 1) * len(points))
        return found

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Return ``(n, classes)`` scores, for two classes their difference ``(n,)``."""
        return _margins(self._rows(X), self.centroids_)

    def _fit(self, basis: Eigenbasis, y: Positions) -> None:
        self.centroids_ = _means(basis.inputs, y)


def _means(rows: npt.NDArray[np.floating], y: Positions) -> npt.NDArray[np.floating]:
    return np.stack([rows[y == code].mean(axis=0) for code in range(int(y.max()) + 1)])


def _margins(rows: npt.NDArray[np.floating], centroids: npt.NDArray[np.floating]) -> Floats:
    # The row's own length is the same for all classes and is left out.
    found = rows @ centroids.T - (centroids**2).sum(axis=1) / 2
    return np.asarray(found[:, 1] - found[:, 0] if found.shape[1] == 2 else found, np.float64)
