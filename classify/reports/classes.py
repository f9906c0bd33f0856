"""The section on classes: the figures of each, the worst first, and with few classes their curves."""

from typing import Any

import numpy as np

from ..evaluation.one_against_rest import Curves
from ..evaluation.per_class import FEW_IMAGES, Estimate
from ..records.class_report import TOP, ClassReport, class_report
from ..records.runs import Run
from .drawing import Axis, Plot
from .plots import SMALL

FIRST = 30  # classes that are shown before the page is asked for more
CURVED = 10  # classes of which curves are drawn
COLUMNS = ("class", "images", "recall", "95 %", "precision", "95 %", "F1", "95 %", "AUROC", "95 %", "taken for")
_AREA = COLUMNS.index("AUROC"), COLUMNS.index("AUROC") + 1  # left out where no class has one
_POINTS = 200  # of a curve
_TICKS = {tick / 4: f"{25 * tick} %" for tick in range(5)}


def classes(run: Run, kind: str) -> dict[str, Any]:
    """Return the rows of the table, the means and the curves of a run of this kind; nothing for an old record."""
    report = class_report(run)
    if report is None:
        return {}
    marked = 2 * len(report.few) <= len(report.figures)  # a mark that most have tells nothing
    rows = [_row(report, place, marked) for place in range(len(report.figures))]
    return {
        "report": report,
        "first": rows[:FIRST],
        "rest": rows[FIRST:],
        "top": TOP,
        "areas": len(report.aurocs),
        "few": len(report.few),
        "least": FEW_IMAGES,
        "empty": sum(not one.images for one in report.figures),
        "plots": _plots(report, kind) if len(report.names) <= CURVED else [],
    }


def _row(report: ClassReport, place: int, marked: bool) -> dict[str, Any]:
    one = report.figures[place]
    other, count = report.taken_for.get(one.place, (None, 0))
    return {
        "name": report.names[one.place],
        "images": one.images,
        "few": marked and one.images and one.few,
        "never": one.images and not one.right,
        "figures": [one.recall, one.precision, one.f1, report.aurocs.get(one.place)],
        "taken_for": None if other is None else report.names[other],
        "count": count,
    }


def class_rows(report: ClassReport, most: int) -> tuple[list[str], list[list[str]]]:
    """Return the columns of a table of classes in plain text, and its rows, the least recall first."""
    kept = [place for place, head in enumerate(COLUMNS) if report.aurocs or place not in _AREA]
    rows = [_cells(report, place) for place in range(min(len(report.figures), most))]
    return [COLUMNS[place] for place in kept], [[row[place] for place in kept] for row in rows]


def with_interval(estimate: Estimate) -> str:
    """Return ``0.540 (0.330-0.740)``."""
    return f"{estimate.value:.3f} ({estimate.low:.3f}-{estimate.high:.3f})"


def _cells(report: ClassReport, place: int) -> list[str]:
    one = report.figures[place]
    cells = [report.names[one.place], str(one.images)]
    for estimate in (one.recall, one.precision, one.f1, report.aurocs.get(one.place)):
        cells += [f"{estimate.value:.3f}", f"{estimate.low:.3f}-{estimate.high:.3f}"] if estimate else ["", ""]
    other, count = report.taken_for.get(one.place, (None, 0))
    return [*cells, "" if other is None else f"{report.names[other]} ({count} of {one.images})"]


def _plots(report: ClassReport, kind: str) -> list[dict[str, Any]]:
    """Return a ROC and a precision-recall curve of each class that has them, in the order of the table."""
    every = report.curves
    shown = [one for one in report.figures if one.place in every]
    return [
        {
            "name": report.names[one.place],
            "auroc": report.aurocs[one.place],
            "average_precision": every[one.place].average_precision,
            "share": one.images / report.run.metrics["n"],
            "plots": [
                str(roc(every[one.place], kind, report.names[one.place])),
                str(precision_recall(every[one.place], kind, report.names[one.place])),
            ],
        }
        for one in shown
    ]


def roc(curves: Curves, kind: str, name: str) -> Plot:
    """Draw the ROC curve of a class; on the diagonal its probability says nothing."""
    area = float(np.trapezoid(curves.recall, curves.false_positive_rate))
    description = f"ROC curve of {name} against the rest; area {area:.3f}"
    plot = Plot((SMALL, 240), Axis("others taken for it", (0, 1), _TICKS), Axis("recall", (0, 1), _TICKS), description)
    plot.line([(0, 0), (1, 1)], "diagonal")
    plot.line(_thinned(curves.false_positive_rate, curves.recall), f"line {kind}")
    return plot


def precision_recall(curves: Curves, kind: str, name: str) -> Plot:
    """Draw precision against recall of a class; the dashed line is the share of the class, what chance would give."""
    description = f"Precision against recall of {name}; average precision {curves.average_precision:.3f}"
    plot = Plot((SMALL, 240), Axis("recall", (0, 1), _TICKS), Axis("precision", (0, 1), _TICKS), description)
    chance = float(curves.precision[-1])
    plot.line([(0, chance), (1, chance)], "diagonal")
    points = _thinned(curves.recall[1:], curves.precision[1:])  # precision of nothing is no figure
    before = [0.0, *(recall for recall, _ in points)]
    steps = [
        (end, precision) for left, (right, precision) in zip(before, points, strict=False) for end in (left, right)
    ]
    plot.line(steps, f"line {kind}")  # lines between the points would promise too much (Davis and Goadrich 2006)
    return plot


def _thinned(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    """Return at most so many points of a curve, its ends among them."""
    places = np.unique(np.linspace(0, len(x) - 1, _POINTS).astype(int))
    return list(zip(x[places].tolist(), y[places].tolist(), strict=True))
