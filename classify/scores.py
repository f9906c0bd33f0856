"""Scores: one scale for what classifiers answer, so that a softmax makes probabilities of it."""

from typing import Any

import numpy as np
import numpy.typing as npt

PROBABILITY_FLOOR = 1e-3  # neighbours and forests answer 0; its logarithm must stay finite


def scores(estimator: Any, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the margins ``(n, classes)``, or the logarithms of probabilities of an estimator that has no margins.

    Margins come first: those of a linear head are linear in its rows and have no floor.
    """
    if hasattr(estimator, "decision_function"):
        return from_margins(estimator.decision_function(X))
    return from_probability(estimator.predict_proba(X))


def from_probability(probability: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the logarithms of probabilities, ``(..., classes)``."""
    return np.asarray(np.log(np.maximum(np.asarray(probability, np.float64), PROBABILITY_FLOOR)))


def from_margins(margins: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return margins ``(n, classes)`` as they are; those of two classes, ``(n,)`` or ``(n, 1)``, as two columns."""
    found = np.asarray(margins, np.float64)
    found = found[:, None] if found.ndim == 1 else found
    return np.column_stack([-found / 2, found / 2]) if found.shape[1] == 1 else found
