"""The nearest-centroid head: as scikit-learn's, with scores that agree with its predictions."""

from collections.abc import Sequence
from typing import Self

import numpy as np

from ..arrays import Floats, Positions
from ..solvers.eigenbasis import Eigenbasis
from .base import Folds, FoldScores, HeldScores, LinearHead, WeighingHead, exported


@exported
class Centroid(WeighingHead, LinearHead):
    """The class whose mean is nearest.

    scikit-learn's ``NearestCentroid`` predicts by distance, but its probabilities include priors and the spread of each
    column, so that the two can disagree. Here the score of a class is minus half the squared distance to its mean, plus
    half the squared distance to the mean of these means, which is the same for all classes: that is linear.
    """

    def _held_scores(self, basis: Eigenbasis, y: Positions, folds: Folds, heads: Sequence[Self]) -> FoldScores:
        total = basis.class_sums(y)
        for fold in folds:
            coef, intercept = _coefficients((total - basis.class_sums(y, fold.absent(len(basis)))).means)
            margins = basis.margins(fold.held, coef.T, intercept)
            yield from (HeldScores(point, fold, margins) for point in range(len(heads)))

    def _fit(self, basis: Eigenbasis, y: Positions, sample_weight: Floats | None = None) -> None:
        sums = basis.class_sums(y) if sample_weight is None else basis.weighted_sums(y, sample_weight)
        self.coef_, self.intercept_ = _coefficients(sums.means)


def _coefficients(means: Floats) -> tuple[Floats, Floats]:
    centre = means.mean(axis=0)
    coef = means - centre
    intercept = -np.einsum("kd,kd->k", coef, centre + coef / 2)
    return (coef[1:] - coef[:1], intercept[1:] - intercept[:1]) if len(means) == 2 else (coef, intercept)
