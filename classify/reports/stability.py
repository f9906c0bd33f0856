"""The section on how stable figures are: other splits of the same images, and a few images of each class."""

from typing import Any

from ..records.contest import Contest
from ..records.stability import CHOICE, PROMISE, few_shot_curve, over_splits
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
