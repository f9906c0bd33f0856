"""The order of runs, and the run to choose, by log loss on folds of the fitted images."""

from collections.abc import Sequence

from ...cache.arguments import checked
from ...cache.recipe import AND
from ...errors import DataError
from .description import leaked, settings
from .pairs import BASELINES
from .runs import Run, by_images


@checked
def choose(runs: Sequence[Run]) -> Run:
    """Return the run that the verdict is about: the cached head with the least log loss on the fitted images.

    Runs on several sets of images cannot be compared: those on the most images are chosen among, and of these the runs
    that were fitted on the most. Old records, and runs that were evaluated on images that they were fitted on, are
    chosen only where there are no others; so are repetitions with other seeds.

    Parameters
    ----------
    runs
        At least one.

    Raises
    ------
    DataError
        No runs.
    """
    if not runs:
        raise DataError("A verdict needs at least one run. Make some with: fc7 compare DATA -o DIR")
    arms, heads, baselines = sorts(newest(first_seeds(eligible(by_images(runs)[0]))))
    return ranked(heads or arms or baselines)[0]


def eligible(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that a headline may be about: of this version, and without leaked images, if there are any."""
    runs = [run for run in runs if not run.old] or list(runs)
    return [run for run in runs if not leaked([run])] or runs


def newest(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that were fitted on the most images, of runs on the same evaluated ones.

    As data grow, log losses of before are of other images. Of as many images, those that most runs were fitted on.
    Predictions from elsewhere are always among them.
    """
    data: dict[str, list[Run]] = {}
    for run in runs:
        if not run.elsewhere:
            data.setdefault(str(run.data.get("fingerprint")), []).append(run)
    if len(data) < 2:
        return list(runs)
    kept = max(data, key=lambda name: (max(map(fitted, data[name])), len(data[name]), name))
    return [run for run in runs if run.elsewhere or run in data[kept]]


def fitted(run: Run) -> int:
    """Return the most images that a run was fitted on; 0 where its record does not say."""
    return max((int(fold["fitted"]) for fold in run.folds), default=0)


def first_seeds(runs: Sequence[Run]) -> list[Run]:
    """Return the runs without repetitions: of those that differ in their seed only, the one of the smallest seed."""
    return [min(members, key=_seed) for members in repetitions(runs)]


def repetitions(runs: Sequence[Run]) -> list[list[Run]]:
    """Return the runs in groups that differ in their seed only."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        own = {name: text for name, text in settings(run).items() if name not in _BY_SEED}
        key = (run.name, str(run.recipe.get("id")), *map(str, own.items()), str(run.selection.get("grid")))
        groups.setdefault(key, []).append(run)
    split = [[members] if len(set(map(_seed, members))) == len(members) else [[run] for run in members]
             for members in groups.values()]  # fmt: skip
    return [members for parts in split for members in parts]


_BY_SEED = {"random_state", "fitted", "inner_folds"}  # what another seed can change


def _seed(run: Run) -> int:
    return int(run.protocol.get("random_state") or 0)


def fit_seconds(run: Run) -> float:
    """Return the seconds of fit and predict, without the extraction that other runs share."""
    return run.seconds["fit"] + run.seconds.get("predict", 0.0)


def is_random(run: Run) -> bool:
    """Return whether the backbone's weights are random."""
    return any(source.startswith("random") for source in run.weights_source.split(AND))


def sorts(runs: Sequence[Run]) -> tuple[list[Run], list[Run], list[Run]]:
    """Return the rivals of cached heads (fine-tuning, elsewhere), the heads, and the baselines."""
    arms = [run for run in runs if is_arm(run)]
    baselines = [run for run in runs if not is_arm(run) and run.head in BASELINES]
    return arms, [run for run in runs if not is_arm(run) and run.head not in BASELINES], baselines


def is_arm(run: Run) -> bool:
    """Return whether a run is a rival of cached heads: fine-tuned, or from elsewhere."""
    return bool(run.trainable) or run.elsewhere


def ranked(runs: Sequence[Run]) -> list[Run]:
    """Return the best first, by log loss on the fitted images if all have one, else by accuracy; then the quickest.

    Log losses on different fitted images do not compare; nor do runs that evaluated different images, which stay apart.
    """
    groups = by_images(runs)
    if len(groups) > 1:
        return [run for group in groups for run in ranked(group)]
    if selected_inside(runs):
        return sorted(runs, key=lambda run: (run.selection["log_loss"], fit_seconds(run), run.name))
    return sorted(runs, key=lambda run: (-run.metrics["accuracy"], fit_seconds(run), run.name))


def selected_inside(runs: Sequence[Run]) -> bool:
    """Return whether runs can be chosen among by their log loss on the fitted images: all have one, of the same."""
    same = len({run.data.get("fingerprint") for run in runs}) <= 1
    return same and all(run.selection.get("log_loss") is not None for run in runs)
