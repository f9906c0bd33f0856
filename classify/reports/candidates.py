"""The section of a screening: its candidates, and what they cost for what they are worth."""

from collections.abc import Callable, Sequence
from typing import Any

from ...cache.tables import counted
from ..pages.text import percent, size, speed
from ..records.screened import BEST, Candidate, Screened
from . import drawing, plots

_STEPS = (1, 2, 5)


def section(screened: Screened | None) -> dict[str, Any]:
    """Return what the page says of a screening; empty where there was none."""
    if screened is None:
        return {}
    rows = screened.candidates
    timed = [row for row in rows if row.images_per_second]
    weighed = [row for row in rows if row.memory]
    drawn = {
        "Accuracy against images per second": _plot(timed, "images/s", lambda row: row.images_per_second or 0.0, speed),
        "Accuracy against memory": _plot(weighed, "peak memory", lambda row: float(row.memory or 0), _bytes),
    }
    return {
        "answer": screened.answer[0],
        "evidence": screened.answer[1:],
        "rows": [
            {"candidate": row, "kind": _kind(row), "speed": speed(row.images_per_second), "memory": size(row.memory)}
            for row in rows
        ],
        "plots": {title: sizes for title, sizes in drawn.items() if sizes},
    }


def _bytes(count: float | None) -> str:
    return size(None if count is None else int(count))


def _kind(row: Candidate) -> str:
    return "head" if row.final else "random"


def _plot(
    rows: Sequence[Candidate], name: str, measure: Callable[[Candidate], float], words: Callable[[float | None], str]
) -> dict[str, str]:
    """Return the plot, wide and narrow: accuracy with its interval against what a candidate costs, on a log axis."""
    if not rows:
        return {}
    costs = [measure(row) for row in rows]
    low, high = min(costs) / 1.5, max(costs) * 1.5
    powers = [10.0**power * step for power in range(-3, 13) for step in _STEPS]
    ticks = {at: words(at) for at in powers if low <= at <= high}
    ends = drawing.unit_range([end for row in rows for end in row.interval])
    drawn = {}
    for kind, width in (("wide", plots.WIDE), ("narrow", plots.NARROW)):
        plot = drawing.Plot(
            (width, 380 if width == plots.WIDE else 320),
            drawing.Axis(name, (low, high), ticks, log=True),
            drawing.accuracy_axis(ends),
            description=f"Accuracy against {name} of {counted(len(rows), 'candidate')}. "
            + " ".join(f"{row.name}: {percent(row.accuracy)} %, {words(measure(row))}." for row in rows),
        )
        places = [(plot.x(measure(row)), plot.y(row.accuracy)) for row in rows]
        taken = [(x - 8, y - 8, x + 8, y + 8) for x, y in places]
        for row, cost, at in zip(rows, costs, places, strict=True):
            title = f"{row.name}: {percent(row.accuracy)} %, {words(cost)}"
            mark = plots.Mark(row.name, row.name, _kind(row), cost, row.accuracy, row.interval, row.outcome == BEST)
            plots.draw_mark(plot, mark, at, title)
            style = f"{mark.style}{' important' if mark.important else ''}"
            drawing.write_label(plot, style, row.name, at, points=places, taken=taken)
        drawn[kind] = str(plot)
    return drawn
