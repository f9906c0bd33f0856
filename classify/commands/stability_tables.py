"""How stable the figures of runs are, on a terminal and in an answer."""

from collections.abc import Sequence
from typing import Any

from ...extract.commands.terminal import table
from ...extract.text import plain
from ..pages.text import points as in_points
from ..records.description import labels
from ..records.ranking import choose
from ..records.runs import Run
from ..records.stability import CHOICE, PROMISE, cell, few_shot_curve, over_splits


def stability_lines(runs: Sequence[Run]) -> list[str]:
    """Return a table over random splits and one over a few images of each class, of what was computed of both."""
    names, chosen = labels(runs), choose(runs)
    lines: list[str] = []
    splits = over_splits(runs, chosen)
    if splits:
        by_id = {run.id: run for run in runs}
        heads = ("run", "here", "mean", "95 %", "least-most", f"{names[chosen.id]} minus it, points", "chosen in")
        rows = [
            [
                names.get(row.id, CHOICE),
                f"{by_id[row.id].metrics['accuracy']:.3f}" if row.id else "",
                f"{row.accuracy.mean:.3f}",
                f"{row.accuracy.low:.3f}-{row.accuracy.high:.3f}",
                f"{row.least:.3f}-{row.most:.3f}",
                points(row.difference) if row.difference else "",
                f"{row.first} of {splits.number}" if row.id else "",
            ]
            for row in splits.rows
        ]
        lines += [table(f"{splits.sentence()}:", heads, rows), plain(PROMISE)]
    curves = {names[run.id]: few_shot_curve(run) for run in runs if run.few_shot}
    if curves:
        sizes = sorted({point["per_class"] for points in curves.values() for point in points})
        rows = []
        for name, curve in curves.items():
            by_size = {point["per_class"]: point for point in curve}
            rows.append([name, *(cell(by_size.get(size)) for size in sizes)])
        title = "Accuracy with so many images of each class to fit on (mean, and 5th to 95th percentile over draws):"
        lines.append(table(title, ("run", *(f"{size:g}" for size in sizes)), rows))
    return lines


def points(difference: Any) -> str:
    """Return ``+1.2 (+0.5 to +2.9)``."""
    mean, low, high = map(in_points, difference[:3])
    return f"{mean} ({low} to {high})"


def stability(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what an answer says of random splits, and of a few images of each class; None where nothing was computed.

    The curves are by the id of their run.
    """
    splits = over_splits(runs, choose(runs))
    curves = {run.id: few_shot_curve(run) for run in runs if run.few_shot}
    return {"splits": splits.to_dict() if splits else None, "few_shot": curves or None}
