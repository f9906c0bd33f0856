"""The baseline: predicts the share of each class, whatever the image."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier

from ..arrays import Positions
from ..solvers.eigenbasis import Eigenbasis
from .base import CountDone, Folds, Grid, OutOfFold, exported, silent
from .calibration import from_probability


@exported
class Baseline(DummyClassifier):
    """``DummyClassifier`` with the methods of a grid head: it ignores the rows."""

    def __init__(self, *, strategy: str = "prior", random_state: Any = None, constant: Any = None) -> None:
        super().__init__(strategy=strategy, random_state=random_state, constant=constant)

    def fit_prepared(self, basis: Eigenbasis, y: npt.NDArray[Any]) -> Self:
        """Count the labels ``(n,)``."""
        self.fit(np.zeros((len(basis), 1)), y)
        self.n_features_in_ = basis.dim
        return self

    def out_of_fold(
        self, basis: Eigenbasis, y: Positions, folds: Folds, points: Grid, count_done: CountDone = silent
    ) -> OutOfFold:
        """See :meth:`fc7.classify.heads.base.GridHead.out_of_fold`."""
        predictions = OutOfFold.empty(points, folds, int(y.max()) + 1)
        for number, fold in enumerate(folds):
            predictions.scores[:, fold.held] = from_probability(np.bincount(y[fold.fitted]) / len(fold.fitted))
            count_done((number + 1) * len(points))
        return predictions
