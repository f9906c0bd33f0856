"""The section on how stable figures are: other splits of the same images."""

from collections.abc import Sequence
from typing import Any

from ..pages.text import points
from ..records.contest import Contest
from ..records.description import labels
from ..records.ranking import choose
from ..records.runs import Run
from ..records.stability import CHOICE, PROMISE, over_splits


def stability(compared: Contest) -> dict[str, Any]:
    """Return the rows over random splits; empty where none were computed."""
    splits = over_splits(compared.runs, compared.chosen)
    if splits is None:
        return {}
    by_id = {run.id: run for run in compared.runs}
    rows = [
        {"name": compared.name(by_id[row.id]) if row.id else CHOICE, "here": by_id.get(row.id), "row": row}
        for row in splits.rows
    ]
    return {"splits": splits, "rows": rows, "promise": PROMISE}


def stability_rows(runs: Sequence[Run]) -> tuple[str, list[str], list[list[str]]] | None:
    """Return title, columns and rows of a table over splits in plain text; None where none were computed."""
    names, chosen = labels(runs), choose(runs)
    splits = over_splits(runs, chosen)
    if splits is None:
        return None
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
    return splits.sentence(), heads, rows


def _points(difference: Any) -> str:
    """Return ``+1.2 (+0.5 to +2.9)``."""
    mean, low, high = map(points, difference[:3])
    return f"{mean} ({low} to {high})"
