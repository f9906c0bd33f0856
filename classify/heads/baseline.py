"""The baseline: predicts the share of each class, whatever the image."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier

from ..arrays import Positions
from ..solvers.eigenbasis import Eigenbasis
from .base import Folds, FoldScores, GridHead, HeldScores, exported
from .calibration import from_probability


@exported
class Baseline(DummyClassifier, GridHead):
    """``DummyClassifier`` with the methods of a grid head: it ignores the rows.

    Its parameters are those of ``DummyClassifier``: `strategy`, `random_state` and `constant`.
    """

    def fit_prepared(self, basis: Eigenbasis, y: npt.NDArray[Any]) -> Self:
        """Count the labels ``(n,)``."""
        self.fit(np.zeros((len(basis), 1)), y)
        self.n_features_in_ = basis.dim
        return self

    def _held_scores(self, basis: Eigenbasis, y: Positions, folds: Folds, heads: Sequence[Self]) -> FoldScores:
        for fold in folds:
            scores = from_probability(np.bincount(y[fold.fitted]) / len(fold.fitted))
            yield from (HeldScores(point, fold, scores[None]) for point in range(len(heads)))
