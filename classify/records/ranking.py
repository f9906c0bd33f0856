"""The order of runs, and the run to choose, by log loss on folds of the fitted images."""

from collections.abc import Sequence

from ...cache.arguments import checked
from ...cache.recipe import AND
from ...errors import DataError
from .description import leaked
from .pairs import BASELINES
from .runs import Run, by_images


@checked
def choose(runs: Sequence[Run]) -> Run:
    """Return the run that the verdict is about: the cached head with the least log loss on the fitted images.

    Runs on several sets of images cannot be compared: those on the most images are chosen among. Old records, and runs
    that were evaluated on images that they were fitted on, are chosen only where there are no others.

    Raises
    ------
    DataError
        No runs.
    """
    if not runs:
        raise DataError("A verdict needs at least one run. Make some with: fc7 compare DATA -o DIR")
    arms, heads, baselines = _sorts(eligible(by_images(runs)[0]))
    return ranked(heads or arms or baselines)[0]


def eligible(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that a headline may be about: of this version, and without leaked images, if there are any."""
    runs = [run for run in runs if not run.old] or list(runs)
    return [run for run in runs if not leaked([run])] or runs


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
    """Return the best first, by log loss on the fitted images if all have one, else by accuracy; then the quickest.

    Log losses on different fitted images do not compare; nor do runs that evaluated different images, which stay apart.
    """
    groups = by_images(runs)
    if len(groups) > 1:
        return [run for group in groups for run in ranked(group)]
    if _selected_inside(runs):
        return sorted(runs, key=lambda run: (run.selection["log_loss"], fit_seconds(run), run.name))
    return sorted(runs, key=lambda run: (-run.metrics["accuracy"], fit_seconds(run), run.name))


def _selected_inside(runs: Sequence[Run]) -> bool:
    same = len({run.data.get("fingerprint") for run in runs}) <= 1
    return same and all(run.selection.get("log_loss") is not None for run in runs)
