"""Every head again, on other divisions of the same images: random splits, and a few images of each class.

What is computed is kept in the records, split by split and draw by draw: a second call goes on from there.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...cache.tables import counted
from ...errors import DataError, FC7Error, UsageError
from ...extract.progress import Progress, silent
from ...extract.text import few
from ..arrays import Positions
from ..data.resampling import few_images, random_split, usual_sizes
from ..heads.table import Head
from ..records.runs import Run
from ..solvers.lapack import FEW_ROWS, threads
from .fit import Experiment
from .search import FoldSearch

logger = logging.getLogger(__name__)

DRAWS = 10  # of each number of images per class

Save = Callable[[Run], Run]
Division = tuple[Positions, Positions]  # fitted and evaluated rows


@dataclass
class Entry:
    """A run with what it was made of; `run` is replaced as more of it is computed."""

    experiment: Experiment
    head: Head
    run: Run


def repeat_splits(entries: Sequence[Entry], splits: int, save: Save, progress: Progress = silent) -> None:
    """Fit and evaluate every head on so many random splits, the same for all; see :func:`random_split`.

    Hyper-parameters are chosen inside the fitted images of each split. Heads that cannot be fitted on one lack it.
    """
    able = _able(entries, "repeated splits")
    for number in range(splits):
        todo = [entry for entry in able if all(split["split"] != number for split in entry.run.repeats)]
        for entry, search in _searches(todo, partial(_split, number)):
            figures = _measure(entry, search, f"split {number + 1}")
            if figures is not None:
                right, loss = figures
                counts = {"fitted": len(search.fitted), "evaluated": len(right), "correct": int(right.sum())}
                split = {"split": number, **counts, "log_loss": loss}
                entry.run = save(replace(entry.run, repeats=[*entry.run.repeats, split]))
        progress("repeat splits", number + 1, splits)


def sizes_to_draw(experiment: Experiment, sizes: Sequence[int]) -> list[int]:
    """Return the numbers of images of each class to draw: those asked for, or the usual ones that fit in seconds.

    Raises
    ------
    UsageError
        A class has not so many images to fit on, or a number is below two.
    """
    plan, y = experiment.protocol, experiment.embeddings.y
    smallest = min(int(np.bincount(y[fitted])[np.unique(y[fitted])].min()) for fitted, _ in plan.pairs)
    wrong = [size for size in sizes if not 2 <= size <= smallest]
    if wrong:
        raise UsageError(
            f"--few-shot {few([str(size) for size in wrong])}: from 2, to choose hyper-parameters in, to "
            f"{smallest}, of which the smallest class has no more to fit on."
        )
    classes = len(experiment.embeddings.classes)
    usual = usual_sizes(np.repeat(np.arange(classes), smallest))
    return sorted(set(sizes)) or [size for size in usual if size * classes <= FEW_ROWS]


def few_shot(entries: Sequence[Entry], sizes: Sequence[int], save: Save, progress: Progress = silent) -> None:
    """Measure every head on so many images of each class, ten draws of each number; see :func:`sizes_to_draw`.

    Draws are from the images that are fitted on; evaluated are those that the run evaluates, in folds each image once.
    Hyper-parameters are chosen inside the drawn images.
    """
    able = _able(entries, "few-shot curves")
    if not able:
        return
    plan = able[0].experiment.protocol
    silenced: set[tuple[int, str]] = set()  # what was said of a draw is not said of each
    for done, (size, number) in enumerate([(size, number) for size in sizes for number in range(DRAWS)], start=1):
        todo = [entry for entry in able if not any(_is(point, size, number) for point in entry.run.few_shot)]
        right: dict[str, list[Any]] = {entry.run.id: [] for entry in todo}
        for at in range(len(plan.pairs)):
            able_here = [entry for entry in todo if entry.run.id in right]
            for entry, search in _searches(able_here, partial(_drawn, size, number, at)):
                key = size, entry.run.id
                where = "" if key in silenced else f"{counted(size, 'image')} of each class"
                figures = _measure(entry, search, where)
                if figures is None:
                    silenced.add(key)
                    del right[entry.run.id]
                else:
                    right[entry.run.id].append(figures[0])
        for entry in todo:
            if len(right.get(entry.run.id, ())) == len(plan.pairs):
                point = {
                    "per_class": size,
                    "draw": number,
                    "accuracy": float(np.concatenate(right[entry.run.id]).mean()),
                }
                entry.run = save(replace(entry.run, few_shot=[*entry.run.few_shot, point]))
        progress("few-shot curves", done, len(sizes) * DRAWS)


def _split(number: int, experiment: Experiment) -> Division:
    return random_split(experiment.embeddings, experiment.protocol, number)


def _drawn(size: int, number: int, at: int, experiment: Experiment) -> Division:
    fitted, predicted = experiment.protocol.pairs[at]
    seed = [experiment.protocol.random_state, size, number, at]
    return few_images(experiment.embeddings, fitted, size, seed), predicted


def _is(point: dict[str, Any], size: int, number: int) -> bool:
    return bool(point["per_class"] == size and point["draw"] == number)


def _able(entries: Sequence[Entry], what: str) -> list[Entry]:
    """Return the entries that are fitted in seconds; say which are left out."""
    able = [entry for entry in entries if not entry.head.layer]
    if slow := sorted({entry.head.name for entry in entries if entry.head.layer}):
        logger.warning("%s are without %s, which trains for minutes", what, few(slow))
    return able


def _searches(entries: Sequence[Entry], divide: Callable[[Experiment], Division]) -> Iterator[tuple[Entry, FoldSearch]]:
    """Yield each entry with a search on a division of its images, which all heads on one embedding share."""
    latest: tuple[Experiment, FoldSearch] | None = None
    for entry in entries:
        experiment = entry.experiment
        if latest is None or latest[0] is not experiment:
            try:
                latest = experiment, experiment.search_on(*divide(experiment))
            except DataError as error:
                logger.warning("left out: %s", error)
                return
        yield entry, latest[1]


def _measure(entry: Entry, search: FoldSearch, where: str) -> tuple[Any, float] | None:
    """Return which evaluated images are predicted rightly, and the log loss inside; None where a fit is impossible.

    That is said, unless `where` is empty.
    """
    experiment, head = entry.experiment, entry.head.fixed(entry.experiment.settings.epochs, entry.experiment.weights)
    try:
        with threads(len(search.fitted)):
            chosen = search.search(head, lambda done: None, experiment.settings.n_jobs)
            estimator, _ = search.finish(head, chosen, None)
    except (FC7Error, MemoryError) as error:
        if where:
            logger.warning("%s is left out on %s: %s", entry.run.name, where, error)
        return None
    rows = np.empty(0, np.intp) if search.predicted is None else search.predicted
    return experiment.predict(estimator, rows).argmax(axis=1) == experiment.embeddings.y[rows], chosen.log_loss
