"""The section on how stable figures are: other splits of the same images, and a few images of each class."""

from collections.abc import Sequence
from typing import Any

from ..pages.text import points
from ..records.contest import Contest
from ..records.description import labels
from ..records.ranking import choose
from ..records.runs import Run
from ..records.stability import CHOICE, PROMISE, cell, few_shot_curve, over_splits
from . import plots
from .sections import _SIZES, kind

DRAWN = 4  # curves; the table has all


def stability(compared: Contest) -> dict[str, Any]:
    """Return the rows over random splits, and few-shot curves as plots and rows; empty where none were computed."""
    splits = over_splits(compared.runs, compared.chosen)
    found: dict[str, Any] = {}
    by_id = {run.id: run for run in compared.runs}
    if splits:
        rows = [
            {"name": compared.name(by_id[row.id]) if row.id else CHOICE, "here": by_id.get(row.id), "row": row}
            for row in splits.rows
        ]
        found |= {"splits": splits, "rows": rows, "promise": PROMISE}
    order = sorted((run for run in compared.runs if run.few_shot), key=lambda run: run is not compared.chosen)
    curves = [(compared.name(run), kind(run), few_shot_curve(run)) for run in order]
    if curves:
        drawn = {size: plots.learning(curves[:DRAWN], width) for size, width in _SIZES.items()}
        sizes = sorted({point["per_class"] for _, _, rows in curves for point in rows})
        by_size = [(name, {point["per_class"]: point for point in rows}) for name, _, rows in curves]
        found["few"] = drawn | {"sizes": sizes, "rows": by_size, "left_out": max(0, len(curves) - DRAWN)}
    return found


def stability_rows(runs: Sequence[Run]) -> list[tuple[str, list[str], list[list[str]], str]]:
    """Return title, columns, rows and promise of a table over splits, and of one over a few images, if computed."""
    names, chosen = labels(runs), choose(runs)
    tables: list[tuple[str, list[str], list[list[str]], str]] = []
    splits = over_splits(runs, chosen)
    if splits:
        by_id = {run.id: run for run in runs}
        heads = ["run", "here", "mean", "95 %", "least-most", f"{names[chosen.id]} minus it, points", "chosen in"]
        rows = [
            [
                names.get(row.id, CHOICE),
                f"{by_id[row.id].metrics['accuracy']:.3f}" if row.id else "",
                f"{row.accuracy.mean:.3f}",
                f"{row.accuracy.low:.3f}-{row.accuracy.high:.3f}",
                f"{row.least:.3f}-{row.most:.3f}",
                _points(row.difference) if row.difference else "",
                f"{row.first} of {splits.number}" if row.id else "",
            ]
            for row in splits.rows
        ]
        tables.append((splits.sentence(), heads, rows, PROMISE))
    curves = {names[run.id]: few_shot_curve(run) for run in runs if run.few_shot}
    if curves:
        sizes = sorted({point["per_class"] for curve in curves.values() for point in curve})
        by_size = [(name, {point["per_class"]: point for point in curve}) for name, curve in curves.items()]
        rows = [[name, *(cell(curve.get(size)) for size in sizes)] for name, curve in by_size]
        title = "Accuracy with so many images of each class to fit on (mean, and 5th to 95th percentile over draws)"
        tables.append((title, ["run", *(f"{size:g}" for size in sizes)], rows, ""))
    return tables


def _points(difference: Any) -> str:
    """Return ``+1.2 (+0.5 to +2.9)``."""
    mean, low, high = map(points, difference[:3])
    return f"{mean} ({low} to {high})"
