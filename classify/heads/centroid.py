"""The nearest-centroid head: as scikit-learn's, with scores that agree with its predictions."""

import numpy as np

from ..arrays import Floats, Positions
from ..solvers.eigenbasis import Eigenbasis
from .base import CountDone, Folds, Grid, LinearHead, OutOfFold, exported, silent
from .calibration import from_margins


@exported
class Centroid(LinearHead):
    """The class whose mean is nearest.

    scikit-learn's ``NearestCentroid`` predicts by distance, but its probabilities include priors and the spread of each
    column, so that the two can disagree. Here the score of a class is minus half the squared distance to its mean, plus
    half the squared distance to the mean of these means, which is the same for all classes: that is linear.
    """

    def out_of_fold(
        self, basis: Eigenbasis, y: Positions, folds: Folds, points: Grid, count_done: CountDone = silent
    ) -> OutOfFold:
        """See :meth:`fc7.classify.heads.base.GridHead.out_of_fold`."""
        predictions = OutOfFold.empty(points, folds, int(y.max()) + 1)
        total = basis.class_sums(y)
        for number, fold in enumerate(folds):
            means = (total - basis.class_sums(y, fold.absent(len(basis)))).means
            coef, intercept = _coefficients(means)
            predictions.scores[:, fold.held] = from_margins(basis.margins(fold.held, coef.T, intercept))
            count_done((number + 1) * len(points))
        return predictions

    def _fit(self, basis: Eigenbasis, y: Positions) -> None:
        self.coef_, self.intercept_ = _coefficients(basis.class_sums(y).means)


def _coefficients(means: Floats) -> tuple[Floats, Floats]:
    centre = means.mean(axis=0)
    coef = means - centre
    intercept = -np.einsum("kd,kd->k", coef, centre + coef / 2)
    return (coef[1:] - coef[:1], intercept[1:] - intercept[:1]) if len(means) == 2 else (coef, intercept)
