"""Records as a table: a list of runs that shows itself, a row of plain values for each, and the folder they lie in."""

import logging
import math
from pathlib import Path
from typing import Any

from ...cache.arguments import checked
from ...cache.tables import Table
from ...errors import DataError
from ..pages.text import named, without_folders
from .description import chosen, data_name, fold_fits, labels, notes, on, settings
from .runs import Run, by_images

logger = logging.getLogger(__name__)


class Runs(Table[Run]):
    """Records of runs. :meth:`to_pandas` has the columns of ``fc7 report --csv``, and a row for each run."""

    shown = ("name", "accuracy", "interval_low", "interval_high", "n")

    def to_dicts(self, first: int | None = None) -> list[dict[str, Any]]:
        """Return plain values of the first runs, by default of all; a run's name is that beside all of them."""
        names = {identity: name for group in by_images(self) for identity, name in labels(group).items()}
        return [_row(run, names[run.id]) for run in self[:first]]


@checked
def load_runs(folder: Path | str) -> Runs:
    """Return all records of a folder, best accuracy first; files that are no records are left out with a warning.

    Parameters
    ----------
    folder
        With the files of records, as ``compare(..., folder=)`` wrote them.

    Raises
    ------
    DataError
        No readable one is there.
    """
    folder, runs = Path(folder), []
    for path in sorted(folder.glob("*.json")):
        try:
            runs.append(Run.load(path))
        except DataError as error:  # one damaged record must not lose the others
            logger.warning("left out: %s", error)
    if not runs:
        raise DataError(f"No run records in {folder}. Make some with: fc7 compare DATA -o {folder}")
    return Runs(
        sorted(runs, key=lambda run: (-run.metrics["accuracy"], _or_infinite(run.metrics["log_loss"]), run.name))
    )


def _row(run: Run, name: str) -> dict[str, Any]:
    folds = fold_fits(run)
    done = {item: run.protocol.get(item) for item in ("leaked", "preparation", "device", "random_state")}
    low, high = run.metrics["interval"]
    metrics = {name: item for name, item in run.metrics.items() if name != "interval"}
    return {
        "id": run.id,
        "name": name,
        "record": run.record,
        "head": run.head,
        "trainable": run.trainable,
        "backbone": run.recipe["backbone"],
        "layer": run.recipe["layer"],
        "weights": without_folders(run.weights_source),
        "data": data_name(run),
        "images": run.images[:16],
        "evaluated": on(run).removeprefix("on ").removeprefix("in "),
        "folds": len(folds) or None,
        "fitted_least": min((fold.fitted for fold in folds), default=None),
        "fitted_most": max((fold.fitted for fold in folds), default=None),
        "folds_not_converged": sum(fold.unconverged > 0 for fold in folds) if folds else None,
        "class_weight": settings(run).get("class_weight"),
        **done,
        **metrics,
        "interval_low": low,
        "interval_high": high,
        "selection_accuracy": run.selection.get("accuracy"),
        "selection_log_loss": run.selection.get("log_loss"),
        **{f"seconds_{stage}": seconds for stage, seconds in run.seconds.items() if not run.elsewhere},
        "hyperparameters": named(chosen(run)),
        "notes": "; ".join(without_folders(note) for note in notes(run)),
    }


def _or_infinite(log_loss: float | None) -> float:
    return math.inf if log_loss is None else log_loss
