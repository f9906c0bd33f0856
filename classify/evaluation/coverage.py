"""Error against coverage: how many answers are wrong if only the surest images are answered."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Positions
from .effective_size import agresti_coull, effective_size

STEPS = 20  # shares of images


def error_by_coverage(
    confidence: npt.NDArray[np.floating[Any]],
    right: npt.NDArray[np.bool_],
    groups: Positions | None = None,
    folds: int = 1,
) -> list[dict[str, float]]:
    """Return the share of wrong answers if only the surest images are answered: a twentieth, two twentieths and so on.

    Parameters
    ----------
    confidence, right
        The probability of the predicted class, and whether it is the true one, ``(n,)``.
    groups, folds
        See :func:`fc7.classify.evaluation.effective_size.effective_size`.

    Returns
    -------
    list of dicts
        ``coverage``, ``answered`` (images), ``error`` and its 95 % interval ``low``, ``high``. Images of equal
        confidence are answered together, so that the order of images decides nothing.
    """
    n = len(right)
    order = np.argsort(-confidence, kind="stable")
    sure = confidence[order]
    asked = np.unique(np.ceil(np.arange(1, STEPS + 1) * n / STEPS).astype(int))
    rows = []
    for count in np.unique(np.searchsorted(-sure, -sure[asked - 1], side="right")).tolist():
        chosen = order[:count]
        own = None if groups is None else np.unique(groups[chosen], return_inverse=True)[1]
        correct = int(right[chosen].sum())
        low, high = agresti_coull(correct, count, effective_size(right[chosen], own, folds))
        rows.append(
            {"coverage": count / n, "answered": count, "error": 1 - correct / count, "low": 1 - high, "high": 1 - low}
        )
    return rows
