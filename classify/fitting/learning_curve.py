"""The learning curve: accuracy against images per class."""

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DataError
from ...extract.progress import Progress, silent
from ..arrays import Positions
from ..data.resampling import draw, usual_sizes
from ..data.splits import together
from ..heads.calibration import scores
from ..heads.table import Head
from ..records.runs import Run
from ..solvers.lapack import FEW_ROWS, threads
from .fit import Experiment
from .search import FoldSearch

logger = logging.getLogger(__name__)

CURVE_REPEATS = 10  # subsets per size of a learning curve


def measure_learning_curve(
    experiment: Experiment, head: Head, run: Run, *, progress: Progress = silent
) -> list[dict[str, float]]:
    """Return a run's accuracy on the evaluated rows against fitted images per class, for a given split.

    Ten subsets each of 2, 5, 10, 20, 50, ... images per class, and of as many as the smallest class has, are prepared
    and fitted like the run, with its hyper-parameters, on centre crops. Subsets of more than 2,000 images are left out,
    so that this takes about as long as the fit. The list is empty where no smaller subset can be fitted, and where rows
    stay on disk.
    """
    fitted = experiment.protocol.pairs[0][0]
    y = experiment.embeddings.y[fitted]
    sizes = [] if experiment.streamed else _curve_sizes(y, run)
    if not sizes:
        return []
    head = head.fixed(None, experiment.weights)
    score = _scorer(experiment, head, run, lambda done: progress(f"learning curve {head.name}", done, total))
    total = len(sizes) * CURVE_REPEATS
    try:
        # Threads cost more than they bring on matrices this small, and far more on a busy machine.
        with threads(len(y)):
            seed, groups = experiment.protocol.random_state, together(experiment.embeddings, fitted)
            return accuracy_by_size(score, y, sizes, random_state=seed, groups=groups)
    except (DataError, ValueError, np.linalg.LinAlgError) as error:  # such as equal rows; the run is still good
        logger.warning("no learning curve of %s: %s", run.name, error)
        return []


def _scorer(
    experiment: Experiment, head: Head, run: Run, count_done: Callable[[int], None]
) -> Callable[[Positions], float]:
    """Return a function that fits on a subset of the fitted rows and returns the accuracy on the evaluated rows."""
    fitted, held = experiment.protocol.pairs[0]
    centre = replace(experiment.embeddings, views=())
    rows, y = centre.vectors[held].astype(np.float32), centre.y[held]
    count = itertools.count(1)

    def score(subset: Positions) -> float:
        drawn, every = centre[fitted[subset]], np.arange(len(subset))
        search = FoldSearch(drawn, experiment.protocol, every, None, experiment.settings.preparation)
        estimator, _ = search.fit(head, run.hyperparameters)
        count_done(next(count))
        margins = scores(estimator, search.preparation.transform(rows))
        return float((margins.argmax(axis=1) == y).mean())

    return score


def accuracy_by_size(
    fit_and_score: Callable[[npt.NDArray[np.intp]], float],
    labels: npt.NDArray[Any],
    sizes: Sequence[int],
    repeats: int = CURVE_REPEATS,
    random_state: int = 0,
    groups: npt.NDArray[np.intp] | None = None,
) -> list[dict[str, float]]:
    """Return accuracy against images per class.

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
    groups
        ``(n,)``: whole groups are drawn, the last of them in part, as more images of one group say little that is new.
        None if each image is its own.

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
        draws = [draw(rows, size, [random_state, size, repeat], groups) for repeat in range(repeats)]
        accuracies = np.array([fit_and_score(draw) for draw in draws])
        low, high = np.quantile(accuracies, [0.05, 0.95])
        point = {"per_class": size, "accuracy": float(accuracies.mean()), "low": float(low), "high": float(high)}
        curve.append(point | {"repeats": repeats})
    return curve


def _curve_sizes(y: npt.NDArray[np.intp], run: Run) -> list[int]:
    """Return the usual numbers of images per class: quick to fit, enough for ``n_neighbors``; one is no curve."""
    classes = len(np.unique(y))
    least = -(-int(run.hyperparameters.get("n_neighbors", 0)) // classes)
    sizes = [size for size in usual_sizes(y) if least <= size and size * classes <= FEW_ROWS]
    return sizes if len(sizes) > 1 else []
