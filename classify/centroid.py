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
            centroids = basis.class_sums(y, fold.fitted).means
            margins = basis.margins(fold.held, centroids.T, -np.square(centroids).sum(axis=1) / 2)
            found.scores[:, fold.held] = from_margins(margins)
            tell((number + 1) * len(points))
        return found

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Return ``(n, classes)`` scores, for two classes their difference ``(n,)``."""
        # The row's own length is the same for all classes and is left out.
        found = self._rows(X) @ self.centroids_.T - np.square(self.centroids_).sum(axis=1) / 2
        return np.asarray(found[:, 1] - found[:, 0] if found.shape[1] == 2 else found, np.float64)

    def _fit(self, basis: Eigenbasis, y: Positions) -> None:
        self.centroids_ = basis.class_sums(y, np.arange(len(basis))).means
