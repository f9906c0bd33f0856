"""Labels that out-of-fold predictions contradict (confident learning, Northcutt et al. 2021)."""

import numpy as np
import numpy.typing as npt

from ..arrays import Positions


def self_confidence(probability: npt.NDArray[np.float64], y: Positions) -> npt.NDArray[np.float64]:
    """Return ``(n,)``: the out-of-fold probability, of ``(n, classes)``, of the given labels as columns."""
    return np.asarray(probability[np.arange(len(y)), y])


def off_diagonal(probability: npt.NDArray[np.float64], y: Positions) -> npt.NDArray[np.bool_]:
    """Return ``(n,)``: whether an image is off the diagonal of the confident joint.

    An image counts in class ``j`` if its probability of ``j`` is at least the mean self-confidence of the images
    labelled ``j``; in the most probable of several such classes. Off the diagonal are images that count in another
    class than their label, unless their label is the most probable class of all.
    """
    own = self_confidence(probability, y)
    labelled = np.bincount(y, minlength=probability.shape[1])
    threshold = np.bincount(y, own, minlength=probability.shape[1]) / np.maximum(labelled, 1)
    sure = (probability >= threshold) & (labelled > 0)
    counted = np.where(sure, probability, -1.0).argmax(axis=1)
    return np.asarray(sure.any(axis=1) & (counted != y) & (probability.argmax(axis=1) != y))
