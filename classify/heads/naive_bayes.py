"""The naive Bayes head: scikit-learn's, with a grid of smoothings answered from sums by class."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.naive_bayes import GaussianNB

from ..arrays import Floats, Positions
from ..solvers.class_sums import ClassSums
from ..solvers.eigenbasis import Eigenbasis
from .base import ClassWeight, Folds, FoldScores, GridHead, HeldScores, class_weights, exported, row_weights
from .calibration import from_probability

ROUNDING = 1e-12  # of squared numbers: the most that rounding makes of the spread of equal ones


@exported
class NaiveBayes(GaussianNB, GridHead):
    """``GaussianNB`` with the methods of a grid head and class weights.

    Parameters
    ----------
    priors, var_smoothing
        As in scikit-learn.
    class_weight
        The prior of a class is this times its number of rows: none, ``balanced`` (equal priors), or a dict by label.
        Not for `partial_fit`.
    """

    def __init__(
        self, *, priors: npt.ArrayLike | None = None, var_smoothing: float = 1e-9, class_weight: ClassWeight = None
    ) -> None:
        super().__init__(priors=priors, var_smoothing=var_smoothing)
        self.class_weight = class_weight

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Fit on ``X`` ``(n, d)``, labels ``(n,)`` and weights ``(n,)``, times those of the classes."""
        if self.class_weight is not None:
            each = np.ones(np.shape(y)[:1]) if sample_weight is None else np.asarray(sample_weight, np.float64)
            sample_weight = row_weights(self.class_weight, np.asarray(y), each)
        GaussianNB.fit(self, X, y, sample_weight)
        return self

    def fit_prepared(self, basis: Eigenbasis, y: npt.NDArray[Any]) -> Self:
        """Fit on prepared rows and labels ``(n,)``."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.n_features_in_ = basis.dim
        return self._take(basis.class_sums(codes, squares=True), class_weights(self.class_weight, y))

    def _held_scores(self, basis: Eigenbasis, y: Positions, folds: Folds, heads: Sequence[Self]) -> FoldScores:
        total = basis.class_sums(y, squares=True)
        for fold in folds:
            sums = total - basis.class_sums(y, fold.absent(len(basis)), squares=True)
            for head in heads:
                head.classes_, head.n_features_in_ = np.arange(len(sums.counts)), basis.dim
                head._take(sums, class_weights(head.class_weight, y[fold.fitted]))
            scores = np.empty((len(heads), len(fold.held), len(sums.counts)))
            for places, rows in basis.selected(fold.held):  # read once for all points
                for point, head in enumerate(heads):
                    scores[point, places] = from_probability(head.predict_proba(rows))
            yield from (HeldScores(point, fold, held) for point, held in enumerate(scores))

    def _take(self, sums: ClassSums, weights: Floats | None) -> Self:
        """Set the attributes that scikit-learn's ``fit`` sets."""
        mean, mean_square = sums.mean, sums.squares.sum(axis=0) / sums.n
        spread = float(np.maximum(mean_square - mean**2, 0).max())
        if not spread > ROUNDING * float(mean_square.max()):
            raise ValueError(f"no column differs between {sums.n:.0f} rows: there is no spread to measure. Add images.")
        self.epsilon_ = self.var_smoothing * spread
        self.theta_ = sums.means
        self.var_ = np.maximum(sums.squares / sums.counts[:, None] - sums.means**2, 0) + self.epsilon_
        self.class_count_ = sums.counts if weights is None else sums.counts * weights
        shares = self.class_count_ / self.class_count_.sum()
        self.class_prior_ = shares if self.priors is None else np.asarray(self.priors)
        return self
