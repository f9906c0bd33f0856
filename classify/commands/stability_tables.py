"""How stable the figures of runs are, on a terminal and in an answer."""

from collections.abc import Sequence
from typing import Any

from ...extract.commands.terminal import table
from ...extract.text import plain
from ..records.ranking import choose
from ..records.runs import Run
from ..records.stability import few_shot_curve, over_splits
from ..reports.stability import stability_rows


def stability_lines(runs: Sequence[Run]) -> list[str]:
    """Return a table over random splits and one over a few images of each class, of what was computed of both."""
    tables = [
        (table(f"{title}:", columns, rows), plain(promise)) for title, columns, rows, promise in stability_rows(runs)
    ]
    return [text for texts in tables for text in texts if text]


def stability(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what an answer says of random splits, and of a few images of each class; None where nothing was computed.

    The curves are by the id of their run.
    """
    splits = over_splits(runs, choose(runs))
    curves = {run.id: few_shot_curve(run) for run in runs if run.few_shot}
    return {"splits": splits.to_dict() if splits else None, "few_shot": curves or None}
