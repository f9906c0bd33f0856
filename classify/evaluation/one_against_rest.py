"""Each class against the rest, by its probability: ROC and precision-recall curves, and the areas under them.

The area under the ROC curve (AUROC) is the share of pairs, one image of the class and one of another, in which the
first has the larger probability; equal ones count one half. The variance of that share is DeLong's (DeLong, DeLong and
Clarke-Pearson 1988), of images in groups that of Obuchowski (1997), and the interval is Agresti and Coull's of as many
independent images as it is that of, but of twice as many as the smaller side has at most; where no pair is in the wrong
order, of as many as it has.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Positions
from .effective_size import effective_size, fold_inflation
from .per_class import Estimate

Scores = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Curves:
    """The ROC and the precision-recall curve of a class, with a point for each distinct score, the largest first."""

    thresholds: Floats  # the least score of what is taken for the class, `(points,)`; first infinity, for nothing
    # Of what is taken for the class at each, `(points,)`; precision is 1 where that is nothing.
    false_positive_rate: Floats
    recall: Floats
    precision: Floats

    @property
    def average_precision(self) -> float:
        """The area under the precision-recall curve, as the sum of steps."""
        return float((np.diff(self.recall) * self.precision[1:]).sum())


def curves(positive: npt.NDArray[np.bool_], score: Scores) -> Curves | None:
    """Return the curves of images of a class, ``(n,)``, by their scores; None where all are, or none is."""
    positives = int(positive.sum())
    if not 0 < positives < len(positive):
        return None
    order = np.argsort(-score, kind="stable")
    ordered = score[order].astype(np.float64)
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of equal scores
    hits = np.cumsum(positive[order])[last]
    taken = last + 1.0
    return Curves(
        thresholds=np.concatenate([[np.inf], ordered[last]]),
        false_positive_rate=np.concatenate([[0.0], (taken - hits) / (len(positive) - positives)]),
        recall=np.concatenate([[0.0], hits / positives]),
        precision=np.concatenate([[1.0], hits / taken]),
    )


def auroc(
    positive: npt.NDArray[np.bool_], score: Scores, *, groups: Positions | None = None, folds: int = 1
) -> Estimate | None:
    """Return the area under the ROC curve; None where all images are of the class, or none is.

    Parameters
    ----------
    positive
        Which images are of the class, ``(n,)``.
    score
        Of each image, larger for the class, ``(n,)``.
    groups, folds
        See :func:`fc7.classify.evaluation.metrics.measure`.
    """
    own, rest = np.sort(score[positive]), np.sort(score[~positive])
    if not len(own) or not len(rest):
        return None
    placed = np.empty(len(score))  # of each image the share of the other side that is in the right order with it
    placed[positive] = (np.searchsorted(rest, score[positive]) + np.searchsorted(rest, score[positive], "right")) / 2
    placed[positive] /= len(rest)
    below = (np.searchsorted(own, score[~positive]) + np.searchsorted(own, score[~positive], "right")) / 2
    placed[~positive] = 1 - below / len(own)
    area = float(placed[positive].mean())
    variance = _variance(placed - area, positive, groups)
    smaller = min((positive, ~positive), key=lambda side: int(side.sum()))
    own_groups = None if groups is None else np.unique(groups[smaller], return_inverse=True)[1]
    size = effective_size(smaller[smaller], own_groups)
    if variance > 0:  # next to none where a few pairs are in the wrong order, which is no certainty either
        size = min(area * (1 - area) / variance, 2 * size)
    return Estimate.of(area, size / fold_inflation(folds))


def _variance(deviation: Floats, positive: npt.NDArray[np.bool_], groups: Positions | None) -> float:
    """Return the variance of the mean over both sides, by the sums of groups, one image each where there are none."""
    sizes = np.where(positive, positive.sum(), (~positive).sum())
    share = deviation / sizes * np.sqrt(sizes / np.maximum(sizes - 1, 1))
    sums = share if groups is None else np.bincount(groups, share)
    return float((sums**2).sum())


def top_k(y: Positions, ranked: npt.NDArray[np.integer], k: int) -> npt.NDArray[np.bool_]:
    """Return whether the class ``(n,)`` of each image is among the first k of its classes ``(n, classes)``."""
    return np.asarray((ranked[:, :k] == y[:, None]).any(axis=1))
