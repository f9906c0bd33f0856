"""The table of runs in plain text, on a terminal and in Markdown: a row of cells for each."""

from collections.abc import Sequence

from ..pages.text import figure, named
from ..records import description
from ..records.class_report import class_report, unequal_classes
from ..records.runs import Run
from .classes import with_interval

COLUMNS = ("backbone", "layer", "head", "accuracy", "95 %", "n")
MEANS = ("balanced, 95 %", "macro F1, 95 %")  # where classes are unequal
OTHERS = ("loss inside", "fit s", "log loss", "acc inside", "chosen")


def run_rows(runs: Sequence[Run]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return the columns of a table of runs on the same images, and its rows."""
    names, remarks, unequal = description.labels(runs), description.remarks(runs), unequal_classes(runs)
    rows = [
        [
            run.recipe["backbone"],
            run.recipe["layer"],
            (run.head or f"finetune {run.trainable}") + names[run.id].removeprefix(run.name),
            f"{run.metrics['accuracy']:.3f}",
            interval(run),
            f"{run.metrics['n']}{run.in_groups}",
            *(_means(run) if unequal else []),
            figure(run.selection.get("log_loss")),
            "" if run.elsewhere else f"{run.seconds['fit']:.2f}",
            figure(run.metrics["log_loss"]),
            figure(run.selection.get("accuracy")),
            ", ".join(filter(None, [named(description.chosen(run)), *remarks[run.id]])),
        ]
        for run in runs
    ]
    return (*COLUMNS, *(MEANS if unequal else ()), *OTHERS), rows


def _means(run: Run) -> list[str]:
    report = class_report(run)
    return [with_interval(report.balanced_accuracy), with_interval(report.macro_f1)] if report else ["", ""]


def interval(run: Run) -> str:
    """Return the 95 % interval of the accuracy."""
    low, high = run.metrics["interval"]
    return f"{low:.3f}-{high:.3f}"
