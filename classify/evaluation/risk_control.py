"""Promises about new images from out-of-fold predictions: a largest share of wrong answers, sets that hold the truth.

An error: thresholds on the probability are tested one after the other, from the surest images on, as long as the
number of wrong answers shows, at the confidence asked for, that the error is not larger ("Learn then Test" with a fixed
sequence, Angelopoulos, Bates, Candes, Jordan and Lei 2021; each test is that of Clopper and Pearson 1934). The sequence
depends on the probabilities alone, so that no correction for many thresholds is needed.

Sets: split conformal prediction (Vovk, Gammerman and Shafer 2005) with one minus the probability of the true class as
its score (Sadinle, Lei and Wasserman 2019); of images in groups each group counts once (Lee, Barber and Willett 2023).

Both are promises about images like the fitted ones. The head that answers was fitted on all of them, the out-of-fold
predictions are of heads that were fitted on fewer.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats

LATER = 8  # the sequence begins after one of so many of its steps, so that one early mistake does not end it


def tail(wrong: npt.ArrayLike, answered: npt.ArrayLike, error: float, effect: float = 1.0) -> Floats:
    """Return the probability of at most so many wrong of so many answers if each is wrong with probability `error`.

    That is the p-value of the error being larger. With a design `effect` both numbers are divided by it.
    """
    from scipy.special import betainc

    w, k = np.asarray(wrong, np.float64) / effect, np.asarray(answered, np.float64) / effect
    all_wrong = w >= k
    return np.where(all_wrong, 1.0, betainc(np.where(all_wrong, 1.0, k - w), w + 1, 1 - error))


def needed_images(error: float, confidence: float, effect: float = 1.0, wrong: int = 0) -> int:
    """Return the fewest answers, so many of them wrong, that show an error of at most `error`; 0 if no number does."""
    if not error:
        return 0
    high = wrong + 1
    while tail(wrong, high, error, effect) > 1 - confidence:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if tail(wrong, middle, error, effect) > 1 - confidence else (low, middle)
    return high


def answered_images(
    probability: npt.NDArray[np.float32],
    right: npt.NDArray[np.bool_],
    error: float,
    confidence: float,
    effect: float = 1.0,
) -> int:
    """Return how many of the surest images are answered, so that the error of such answers is at most `error`.

    Parameters
    ----------
    probability, right
        Of the most probable class, and whether that is the label, ``(n,)``.
    confidence
        That the promise holds.
    effect
        Of groups, see :func:`fc7.classify.evaluation.effective_size.group_effect`.

    Returns
    -------
    int
        0 where nothing qualifies. Images of equal probability are answered together.
    """
    order = np.argsort(-probability, kind="stable")
    surest, wrong = probability[order], np.cumsum(~right[order])
    ends = np.flatnonzero(np.append(surest[1:] < surest[:-1], True))  # places after which another threshold is possible
    steps = _steps(len(order), error, confidence, effect)
    if not len(steps):
        return 0
    sequence = np.unique(ends[np.searchsorted(ends, [*(steps[len(steps) // LATER :] - 1), ends[-1]])])
    passed = tail(wrong[sequence], sequence + 1, error, effect) <= 1 - confidence
    last = int(np.argmin(passed)) if not passed.all() else len(sequence)
    return int(sequence[last - 1]) + 1 if last else 0


def _steps(n: int, error: float, confidence: float, effect: float) -> npt.NDArray[np.intp]:
    """Return the fewest answers, up to `n`, that may have no mistake, one, two and so on; see :func:`needed_images`."""
    wrong = np.arange(n)
    wrong = wrong[tail(wrong, n, error, effect) <= 1 - confidence]
    low, high = wrong, np.full(len(wrong), n)
    while (high - low > 1).any():
        middle = (low + high) // 2
        failed = tail(wrong, middle, error, effect) > 1 - confidence
        low, high = np.where(failed, middle, low), np.where(failed, high, middle)
    return high


def largest_error(wrong: int, answered: int, confidence: float, effect: float = 1.0) -> float:
    """Return the error that answers do not exceed, at this confidence: Clopper and Pearson's upper bound."""
    from scipy.special import betaincinv

    w, k = wrong / effect, answered / effect
    return float(betaincinv(w + 1, k - w, confidence)) if w < k else 1.0


def least_probability(
    label_probability: npt.NDArray[np.float32], groups: npt.NDArray[np.integer[Any]], coverage: float
) -> float:
    """Return the least probability of a class in a set, so that sets hold the true class of a share of new images.

    Parameters
    ----------
    label_probability
        Of the true class, out-of-fold, ``(n,)``.
    groups
        ``(n,)``; each counts once. The promise is for images of new groups.
    coverage
        The share, in the mean over fitted data sets.

    Returns
    -------
    float
        ``-inf``, with which sets hold all classes, where there are fewer groups than ``coverage / (1 - coverage)``.
    """
    numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    order = np.argsort(-label_probability, kind="stable")
    reached = np.cumsum(1 / sizes[numbers[order]])
    place = int(np.searchsorted(reached, coverage * (len(sizes) + 1) - 1e-9))
    return float(label_probability[order[place]]) if place < len(order) else -math.inf
