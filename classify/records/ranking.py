"""The order of runs, and the run to choose, by log loss on folds of the fitted images."""

from collections.abc import Sequence

from ...cache.recipe import AND
from ...errors import DataError
from .pairs import BASELINES
from .runs import Run


def choose(runs: Sequence[Run]) -> Run:
    """Return the run that the verdict is about: the cached head with the least log loss on the fitted images.

    Raises
    ------
    DataError
        No runs.
    """
    if not runs:
        raise DataError("A verdict needs at least one run. Make some with: fc7 compare DATA -o DIR")
    arms, heads, baselines = _sorts(runs)
    return ranked(heads or arms or baselines)[0]


def fit_seconds(run: Run) -> float:
    """Return the seconds of fit and predict, without the extraction that other runs share."""
    return run.seconds["fit"] + run.seconds.get("predict", 0.0)


def is_random(run: Run) -> bool:
    """Return whether the backbone's weights are random."""
    return any(source.startswith("random") for source in run.weights_source.split(AND))


def _sorts(runs: Sequence[Run]) -> tuple[list[Run], list[Run], list[Run]]:
    """Return the rivals of cached heads (fine-tuning, elsewhere), the heads, and the baselines."""
    arms = [run for run in runs if _is_arm(run)]
    baselines = [run for run in runs if not _is_arm(run) and run.head in BASELINES]
    return arms, [run for run in runs if not _is_arm(run) and run.head not in BASELINES], baselines


def _is_arm(run: Run) -> bool:
    return bool(run.trainable) or run.elsewhere


def ranked(runs: Sequence[Run]) -> list[Run]:
    """Return the best first, by log loss on the fitted images if all have one, else by accuracy; then the quickest."""
    if _selected_inside(runs):
        return sorted(runs, key=lambda run: (run.selection["log_loss"], fit_seconds(run), run.name))
    return sorted(runs, key=lambda run: (-run.metrics["accuracy"], fit_seconds(run), run.name))


def _selected_inside(runs: Sequence[Run]) -> bool:
    return all(run.selection.get("log_loss") is not None for run in runs)
