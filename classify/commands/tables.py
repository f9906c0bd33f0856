"""Tables: what run records, and files that were written, look like on a terminal and in an answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...extract.commands.terminal import table
from ...extract.text import plain
from ..pages.text import figure
from ..records.runs import Run
from ..reports.verdict import findings

COLUMNS = (
    "backbone",
    "layer",
    "head",
    "accuracy",
    "95 %",
    "n",
    "loss inside",
    "fit s",
    "log loss",
    "acc inside",
    "chosen",
)


def runs_table(runs: Sequence[Run]) -> str:
    """Return a table of runs, with what it says in sentences below."""
    title = f"Evaluated on {runs[0].data['evaluated']}; in the order of log loss inside the fitted images"
    return "\n".join([table(title, COLUMNS, comparison(runs)), *map(plain, findings(runs))])


def run_lines(runs: Sequence[Run]) -> str:
    """Return a line for each run, and one for each of its notes."""
    return "\n".join(
        text for run in runs for text in [plain(line(run)), *(f"note: {plain(note)}" for note in run.notes)]
    )


def written_files(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return what an answer says of files: where each is and how large."""
    return [{"file": str(file), "bytes": file.stat().st_size} for file in files]


def comparison(runs: Sequence[Run]) -> list[list[str]]:
    """Return one row of cells per run, under :data:`COLUMNS`."""
    return [
        [
            run.recipe["backbone"],
            run.recipe["layer"],
            run.head or f"finetune {run.trainable}",
            f"{run.metrics['accuracy']:.3f}",
            interval(run),
            str(run.metrics["n"]),
            figure(run.selection.get("log_loss")),
            "" if run.elsewhere else f"{run.seconds['fit']:.2f}",
            figure(run.metrics["log_loss"]),
            figure(run.selection.get("accuracy")),
            ", ".join([hyperparameters(run), *run.notes]).lstrip(", "),
        ]
        for run in runs
    ]


def line(run: Run) -> str:
    """Return one run in one line."""
    chosen = hyperparameters(run)
    return (
        f"{run.name}: accuracy {run.metrics['accuracy']:.3f} ({run.metrics['correct']}/{run.metrics['n']} on "
        f"{run.data['evaluated']}, 95 % {interval(run)}), fitted in {run.seconds['fit']:.1f} s"
        + (f" with {chosen}" if chosen else "")
    )


def interval(run: Run) -> str:
    """Return the 95 % interval of the accuracy."""
    low, high = run.metrics["interval"]
    return f"{low:.3f}-{high:.3f}"


def hyperparameters(run: Run) -> str:
    """Return ``C=10, penalty=l2``."""
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in run.hyperparameters.items()
    )
