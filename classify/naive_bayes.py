"""The naive Bayes head: scikit-learn's, with a grid of smoothings answered from sums by class."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.naive_bayes import GaussianNB

from .bank import Fold, OutOfFold, Point, Tell, silent
from .eigenbasis import Eigenbasis
from .scores import from_probability
from .splits import Positions
from .sums import ClassSums

ROUNDING = 1e-12  # of squared numbers: what the spread of equal ones may come to


class NaiveBayes(GaussianNB):
    """``GaussianNB`` with the methods of the bank."""

    def fit_prepared(self, basis: Eigenbasis, y: npt.NDArray[Any]) -> Self:
        """Fit on prepared rows and labels ``(n,)``."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.n_features_in_ = basis.dim
        return self._take(basis.class_sums(codes, np.arange(len(basis))))

    def out_of_fold(
        self, basis: Eigenbasis, y: Positions, folds: Sequence[Fold], points: Sequence[Point], tell: Tell = silent
    ) -> OutOfFold:
        """Sum up each fold once; see :meth:`fc7.classify.bank.Banked.out_of_fold`."""
        found = OutOfFold.empty(points, folds, int(y.max()) + 1)
        for number, fold in enumerate(folds):
            sums = basis.class_sums(y, fold.fitted)
            fitted = []
            for point in points:
                head = type(self)(**(self.get_params() | dict(point)))
                head.classes_, head.n_features_in_ = np.arange(len(sums.counts)), basis.dim
                fitted.append(head._take(sums))
            for places, rows in basis.blocks(fold.held):
                for place, head in enumerate(fitted):
                    found.scores[place, places] = from_probability(head.predict_proba(rows))
            tell((number + 1) * len(points))
        return found

    def _take(self, sums: ClassSums) -> Self:
        """Set what scikit-learn's fit would."""
        total, squares = sums.mean, sums.squares.sum(axis=0) / sums.n
        spread = float(np.maximum(squares - total**2, 0).max())
        if not spread > ROUNDING * float(squares.max()):
            raise ValueError(f"no column differs between {sums.n:.0f} rows: there is no spread to measure. Add images.")
        self.epsilon_ = self.var_smoothing * spread
        self.theta_ = sums.means
        self.var_ = np.maximum(sums.squares / sums.counts[:, None] - sums.means**2, 0) + self.epsilon_
        self.class_count_ = sums.counts
        self.class_prior_ = sums.counts / sums.n if self.priors is None else np.asarray(self.priors)
        return self
