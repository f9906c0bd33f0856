"""Scores: one scale for what classifiers answer, so that a softmax makes probabilities of it."""

from typing import Any

import numpy as np
import numpy.typing as npt

PROBABILITY_FLOOR = 1e-3  # neighbours and centroids answer 0; its logarithm must stay finite


def scores(estimator: Any, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return ``(n, classes)`` scores whose softmax is the estimator's probability, or the margins where it has none."""
    if hasattr(estimator, "predict_proba"):
        return from_probability(estimator.predict_proba(X))
    return from_margins(estimator.decision_function(X))


def from_probability(probability: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the logarithms of probabilities, ``(..., classes)``."""
    return np.asarray(np.log(np.maximum(np.asarray(probability, np.float64), PROBABILITY_FLOOR)))


def from_margins(margins: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return margins ``(n, classes)`` as they are; those of two classes, ``(n,)`` or ``(n, 1)``, as two columns."""
    found = np.asarray(margins, np.float64)
    found = found[:, None] if found.ndim == 1 else found
    return np.column_stack([-found / 2, found / 2]) if found.shape[1] == 1 else found
