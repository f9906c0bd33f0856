"""Ridge classification: least squares on targets of -1 and 1, all penalties and folds from one eigendecomposition."""

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np

from ..arrays import Floats, Positions
from ..data.splits import Fold
from ..solvers.class_sums import ClassSums, take_out
from ..solvers.eigenbasis import Eigenbasis
from ..solvers.lapack import solve, solve_shifted
from ..solvers.namespaces import Array
from .base import (
    ClassWeight,
    Folds,
    FoldScores,
    HeldScores,
    LinearHead,
    WeighingHead,
    class_weights,
    exported,
    grouped,
    held_margins,
    one_against_rest,
    positive,
    row_weights,
)


@exported
class Ridge(WeighingHead, LinearHead):
    """The least-squares classifier: the same answers as scikit-learn's ``RidgeClassifier``.

    With ``M = (Gram + alpha I)^-1`` the intercept is ``b = 1'My / 1'M1``, the coefficients are those of ``M (y - b)``,
    and the residuals are ``alpha M (y - b)``. Predictions for rows that are left out follow without another fit:
    ``y_V - (I - H_VV)^-1 (y - H y)_V``, with ``I - H = alpha (M - M1 1'M / 1'M1)``. Class weights differ between folds
    and rule out this formula: the weighted normal equations are solved instead.

    Parameters
    ----------
    alpha
        Strength of the penalty, more than 0; the intercept is not penalised.
    class_weight
        Weight of the squares of each class: none, ``balanced``, or a dict by label, as in scikit-learn. Balanced
        weights are those of the rows fitted on, inside each fold.
    """

    def __init__(self, alpha: float = 1.0, class_weight: ClassWeight = None) -> None:
        self.alpha = alpha
        self.class_weight = class_weight

    def _held_scores(self, basis: Eigenbasis, y: Positions, folds: Folds, heads: Sequence[Self]) -> FoldScores:
        # Each fold is left out in closed form, or solved where there are more rows than dimensions, or weights.
        for points in grouped(heads, "class_weight"):
            kind = heads[points[0]].class_weight
            alphas = [positive(alpha=float(heads[point].alpha)) for point in points]
            closed = basis.wide and kind is None
            inverses = [_Inverse(basis, alpha, one_against_rest(y)) for alpha in alphas] if closed else []
            total = None if closed else basis.narrow.class_sums(y)
            for fold in folds:
                if total is None:
                    fold_margins = _left_out(inverses, fold, len(basis))
                else:
                    narrow, weights = basis.narrow, class_weights(kind, y[fold.fitted])
                    moments = narrow.moments(y, total, fold.fitted, weights)
                    fold_margins = held_margins(narrow.margins, fold, _solutions(*moments, alphas))
                for point, margins in zip(points, fold_margins, strict=True):
                    yield HeldScores(point, fold, margins)

    def _fit(self, basis: Eigenbasis, y: Positions, sample_weight: Floats | None = None) -> None:
        weights = class_weights(self.class_weight, self.classes_[y])
        if weights is not None or sample_weight is not None or not basis.wide:
            narrow = basis.narrow
            if sample_weight is not None:
                each = row_weights(self.class_weight, self.classes_[y], sample_weight)
                sums, second = narrow.weighted_sums(y, each), narrow.weighted_moment(each)
            elif weights is None:
                sums, second = narrow.class_sums(y), 1.0 * narrow.second
            else:
                sums, second = narrow.moments(y, narrow.class_sums(y), np.arange(len(basis)), weights)
            coefficients, self.intercept_ = next(_solutions(sums, second, [positive(alpha=float(self.alpha))]))
            self.coef_ = basis.restore(coefficients.T) if basis.wide else np.ascontiguousarray(coefficients.T)
            return
        targets = one_against_rest(y)
        inverse = _Inverse(basis, positive(alpha=float(self.alpha)), targets)
        self.intercept_ = inverse.intercept
        coordinates = basis.left.T @ (targets - inverse.intercept)
        self.coef_ = basis.restore((coordinates * inverse.pull[:, None]).T)


class _Inverse:
    """The inverse of ``Gram + alpha I``, as its action along the eigenvectors and orthogonal to them."""

    def __init__(self, basis: Eigenbasis, alpha: float, targets: Floats) -> None:
        self.targets, self._left = targets, basis.left
        self.shrink = alpha / (basis.values + alpha)
        self.pull = np.sqrt(basis.values) / (basis.values + alpha)
        self._full = basis.left.shape[1] == len(basis)  # then nothing is orthogonal to all of them
        self.ones = self._times(np.ones((len(basis), 1)))[:, 0]
        self.intercept = self.ones @ targets / self.ones.sum()
        self.residuals = self._times(targets - self.intercept)

    def _times(self, columns: Floats) -> Floats:
        """Return ``alpha M`` times columns."""
        coordinates = self._left.T @ columns
        product = self._left @ (coordinates * self.shrink[:, None])
        return product if self._full else product + columns - self._left @ coordinates

    def block(self, rows: Positions) -> Floats:
        """Return ``I - H`` between some rows."""
        left = self._left[rows]
        scaled = left * np.sqrt(self.shrink if self._full else 1 - self.shrink)
        product = scaled @ scaled.T
        projection = product if self._full else np.eye(len(rows)) - product
        return np.asarray(projection - np.outer(self.ones[rows], self.ones[rows] / self.ones.sum()))


def _left_out(inverses: Sequence[_Inverse], fold: Fold, n: int) -> list[Floats]:
    """Return the margins of held rows for each penalty, from the fit of all ``n`` rows."""
    absent = fold.absent(n)
    held = np.searchsorted(absent, fold.held)
    fold_margins = []
    for inverse in inverses:
        margins = inverse.targets[absent] - solve(inverse.block(absent), inverse.residuals[absent])
        fold_margins.append(margins[held])
    return fold_margins


def _solutions(sums: ClassSums, second: Array, alphas: Sequence[float]) -> Iterator[tuple[Floats, Floats]]:
    """Yield coefficients ``(d, outputs)`` and intercepts for each penalty, from the normal equations.

    The second moment is centred in place.
    """
    total, mean = sums.sums.sum(axis=0), sums.mean
    positive = slice(1, None) if len(sums.counts) == 2 else slice(None)
    level = 2 * sums.counts[positive] / sums.n - 1
    right = (2 * sums.sums[positive] - total - level[:, None] * total).T
    centred = take_out(second, mean[None], np.array([sums.n]))
    for alpha in alphas:
        coefficients = solve_shifted(centred, right, alpha)
        yield coefficients, level - mean @ coefficients
