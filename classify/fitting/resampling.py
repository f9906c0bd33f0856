"""Every head again, on random splits of the same images.

What is computed is kept in the records, split by split: a second call goes on from there.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import DataError, FC7Error
from ...extract.progress import Progress, silent
from ...extract.text import few
from ..data.resampling import random_split
from ..heads.table import Head
from ..records.runs import Run
from ..solvers.lapack import threads
from .fit import Experiment
from .search import FoldSearch

logger = logging.getLogger(__name__)

Save = Callable[[Run], Run]


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
    able = _able(entries)
    for number in range(splits):
        todo = [entry for entry in able if all(split["split"] != number for split in entry.run.repeats)]
        for entry, search in _searches(todo, number):
            figures = _measure(entry, search, f"split {number + 1}")
            if figures is not None:
                right, loss = figures
                counts = {"fitted": len(search.fitted), "evaluated": len(right), "correct": int(right.sum())}
                split = {"split": number, **counts, "log_loss": loss}
                entry.run = save(replace(entry.run, repeats=[*entry.run.repeats, split]))
        progress("repeat splits", number + 1, splits)


def _able(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that are fitted in seconds; say which are left out."""
    able = [entry for entry in entries if not entry.head.layer]
    if slow := sorted({entry.head.name for entry in entries if entry.head.layer}):
        logger.warning("repeated splits are without %s, which trains for minutes", few(slow))
    return able


def _searches(entries: Sequence[Entry], number: int) -> Iterator[tuple[Entry, FoldSearch]]:
    """Yield each entry with a search on a random split of its images, which all heads on one embedding share."""
    latest: tuple[Experiment, FoldSearch] | None = None
    for entry in entries:
        experiment = entry.experiment
        if latest is None or latest[0] is not experiment:
            try:
                split = random_split(experiment.embeddings, experiment.protocol, number)
                latest = experiment, experiment.search_on(*split)
            except DataError as error:
                logger.warning("left out: %s", error)
                return
        yield entry, latest[1]


def _measure(entry: Entry, search: FoldSearch, where: str) -> tuple[Any, float] | None:
    """Return which evaluated images are predicted rightly, and the log loss inside; None, and say so, without a fit."""
    experiment, head = entry.experiment, entry.head.fixed(entry.experiment.settings.epochs, entry.experiment.weights)
    try:
        with threads(len(search.fitted)):
            chosen = search.search(head, lambda done: None, experiment.settings.n_jobs)
            estimator, _ = search.finish(head, chosen, None)
    except (FC7Error, MemoryError) as error:
        logger.warning("%s is left out on %s: %s", entry.run.name, where, error)
        return None
    rows = np.empty(0, np.intp) if search.predicted is None else search.predicted
    return experiment.predict(estimator, rows).argmax(axis=1) == experiment.embeddings.y[rows], chosen.log_loss
