"""Means over classes, in which every class counts alike: balanced accuracy and macro F1, with their intervals.

The interval is Agresti and Coull's, of as many independent images as the variance of the mean is that of (Yan and Su
2010). That variance is the sum over classes; a class is measured as if it had two images more, as right as all images
together, so that few images that are all right, or all wrong, do not seem to be sure. A mistake lowers the F1 of two
classes, and the sum is multiplied by what that adds. Groups and folds are allowed for as in
:mod:`fc7.classify.evaluation.effective_size`, by the influence of each image on the mean.
"""

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Positions
from .effective_size import ALPHA, Z, fold_inflation, group_effect
from .per_class import Estimate

_MORE = 2.0  # images of a class, as right as all together
_SHARED = 2.0  # the variance of the sum of two classes in which all mistakes are the same, by that of the sum of others


def balanced_accuracy(
    y: Positions, predicted: Positions, *, groups: Positions | None = None, folds: int = 1
) -> Estimate:
    """Return the mean recall of the classes that have images; see :func:`fc7.classify.evaluation.metrics.measure`."""
    right, sizes = y == predicted, np.bincount(y)
    correct, has = np.bincount(y[right], minlength=len(sizes)), sizes > 0
    recall, share = _divide(correct, sizes), _cautious(correct[has], sizes[has])
    variance = (share * (1 - share) / sizes[has]).sum()
    influence = (right - recall[y]) / sizes[y]
    return _estimate(recall[has], share, variance, influence, _Dependence(y, groups, folds))


def macro_f1(y: Positions, predicted: Positions, *, groups: Positions | None = None, folds: int = 1) -> Estimate:
    """Return the mean F1 of the classes that have images, or that images were taken for."""
    right, classes = y == predicted, int(max(y.max(), predicted.max())) + 1
    true, taken, correct = (np.bincount(rows, minlength=classes) for rows in (y, predicted, y[right]))
    both, has = true + taken, true + taken > 0
    f1 = _divide(2 * correct, both)
    jaccard = _cautious(correct[has], (both - correct)[has])
    slope = 2 / (1 + jaccard) ** 2
    variance = (slope**2 * jaccard * (1 - jaccard) / (both - correct)[has]).sum()
    mistake = f1[y] / both[y], f1[predicted] / both[predicted]
    influence = np.where(right, 2 * (1 - f1[y]) / both[y], -sum(mistake))
    alone = np.where(right, influence**2, mistake[0] ** 2 + mistake[1] ** 2).sum()
    variance *= max((influence**2).sum() / alone, 1.0) if alone else _SHARED
    return _estimate(f1[has], 2 * jaccard / (1 + jaccard), variance, influence, _Dependence(y, groups, folds))


class _Dependence:
    """By how much groups and folds make the variance of a mean larger, or its interval longer."""

    def __init__(self, y: Positions, groups: Positions | None, folds: int) -> None:
        self.folds = folds
        self.groups = None if groups is None or int(groups.max()) + 1 == len(y) else groups
        self.share = 1 / np.bincount(y)[y]  # of its class that an image is

    def factor(self, influence: Floats) -> float:
        """Return it, of influences ``(n,)`` of the images on the mean."""
        if self.groups is None:
            return fold_inflation(self.folds)
        from scipy.stats import t

        weight = np.bincount(self.groups, self.share)  # of each group; the classes of most weight may be in few
        number = weight.sum() ** 2 / (weight**2).sum()
        student = float(t.ppf(1 - ALPHA / 2, max(number - 1, 1)))
        effect = group_effect(influence * len(influence) / weight.sum(), self.groups)
        return fold_inflation(self.folds) * effect * (student / Z) ** 2


def _estimate(
    figures: Floats, cautious: Floats, variance: float, influence: Floats, dependence: _Dependence
) -> Estimate:
    """Return the mean of figures of classes, of which the variance of the sum is that; see the module."""
    value, middle = float(figures.mean()), float(cautious.mean())
    worth = middle * (1 - middle) * len(figures) ** 2 / (variance * dependence.factor(influence))
    return Estimate.of(value, worth)


def _cautious(correct: npt.NDArray[np.intp], sizes: npt.NDArray[np.intp]) -> Floats:
    """Return shares of classes, none of them 0 or 1."""
    overall = (correct.sum() + 2) / (sizes.sum() + 4)
    return np.asarray((correct + _MORE * overall) / (sizes + _MORE))


def _divide(numbers: npt.NDArray[np.intp], by: npt.NDArray[np.intp]) -> Floats:
    return numbers / np.maximum(by, 1)
