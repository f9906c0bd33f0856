"""The learning curve: accuracy against images per class."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DataError
from ..records.runs import Run
from ..solvers.lapack import SMALL

CURVE_REPEATS = 10  # subsets per size of a learning curve


def learning_curve(
    fit_and_score: Callable[[npt.NDArray[np.intp]], float],
    labels: npt.NDArray[Any],
    sizes: Sequence[int],
    repeats: int = 10,
    random_state: int = 0,
) -> list[dict[str, float]]:
    """Measure accuracy against images per class.

    Parameters
    ----------
    fit_and_score
        Takes ``(rows,)`` positions in `labels`, fits on them, returns the accuracy on images that are never among them.
    labels
        ``(n,)`` of the images that may be drawn.
    sizes
        Images per class; those larger than the smallest class are left out.
    repeats
        Subsets drawn per size. Each is seeded by (random_state, size, repeat), so other sizes never change it.

    Returns
    -------
    list of dict
        ``per_class, accuracy`` (mean), ``low, high`` (5th and 95th percentile over the subsets: how much the choice of
        images matters, not an interval of the mean), ``repeats``.

    Raises
    ------
    DataError
        The smallest class has fewer images than the smallest size.
    """
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    smallest = min(len(members) for members in rows)
    fitting = sorted({size for size in sizes if 1 <= size <= smallest})
    if not fitting:
        raise DataError(f"A learning curve over {list(sizes)} images per class: the smallest class has {smallest}.")
    curve = []
    for size in fitting:
        draws = [_stratified(rows, size, [random_state, size, repeat]) for repeat in range(repeats)]
        scores = np.array([fit_and_score(draw) for draw in draws])
        low, high = np.quantile(scores, [0.05, 0.95])
        point = {"per_class": size, "accuracy": float(scores.mean()), "low": float(low), "high": float(high)}
        curve.append(point | {"repeats": repeats})
    return curve


def _stratified(rows: Sequence[npt.NDArray[np.intp]], size: int, seed: list[int]) -> npt.NDArray[np.intp]:
    generator = np.random.default_rng(seed)
    return np.sort(np.concatenate([generator.choice(members, size, replace=False) for members in rows]))


def _curve_sizes(y: npt.NDArray[np.intp], run: Run) -> list[int]:
    """Return 2, 5, 10, 20, 50, ... images per class: fewer than all, few enough to be quick, enough for neighbours."""
    counts = np.bincount(y)
    counts = counts[counts > 0]
    steps = [step * 10**power for power in range(7) for step in (1, 2, 5)][1:]
    least = max(2, -(-int(run.hyperparameters.get("n_neighbors", 0)) // len(counts)))
    most = min(int(counts.min()), SMALL // len(counts))
    return [size for size in steps if least <= size <= most and size * len(counts) < len(y)]
