"""The plots of a report."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from ...cache.tables import counted
from ..evaluation.effective_size import agresti_coull, effective_size
from ..pages.text import duration, percent, shown
from ..records.runs import Run
from .drawing import (
    CHARACTER,
    Axis,
    Box,
    Plot,
    Point,
    accuracy_axis,
    add,
    line_between,
    round_ticks,
    share_axis,
    unit_range,
    write_label,
)

WIDE, NARROW = 860, 350  # a plot with labels is drawn twice; shrinking one would shrink its words
SMALL, SQUARE = 266, 330
_TIMES = {
    0.001: "1 ms", 0.01: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h",
    36_000: "10 h", 360_000: "100 h",
}  # fmt: skip

# Shapes as well as colours, for those who cannot tell the colours or print in grey.
_SHAPES = {
    "head": "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0",
    "tuned": "M0,-7L7,0L0,7L-7,0Z",
    "baseline": "M-5,-5H5V5H-5Z",
    "random": "M-5,-3L-3,-5L0,-2L3,-5L5,-3L2,0L5,3L3,5L0,2L-3,5L-5,3L-2,0Z",
    "below": "M-6,-5H6L0,6Z",
}
# Of backbones, beside colours that can be told apart without red and green (after Okabe and Ito 2008).
_SERIES = (
    _SHAPES["head"],
    "M0,-7L6.5,5H-6.5Z",
    "M0,-7L7,0L0,7L-7,0Z",
    "M-2,-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
    "M-7,-3H7V3H-7Z",
    "M-3,-7H3V7H-3Z",
)


class Mark(NamedTuple):
    """One run in the scatter plot."""

    # Its name, and what it is called beside other points.
    label: str
    short: str
    kind: str  # `head`, `tuned`, `baseline` or `random`: its colour and shape
    seconds: float
    accuracy: float
    interval: Point
    important: bool = False  # its label is placed first, and is its name
    # The number of its backbone, which decides its colour and shape; None where there is only one.
    series: int | None = None

    @property
    def style(self) -> str:
        """What the style sheet calls it."""
        if self.series is None or self.kind not in SERIOUS:
            return self.kind
        return f"s{self.series % len(_SERIES)}{' hollow' if self.kind == 'tuned' else ''}"

    @property
    def shape(self) -> str:
        """The outline of its point."""
        if self.series is None or self.kind not in SERIOUS:
            return _SHAPES[self.kind]
        return _SERIES[self.series % len(_SERIES)]


SERIOUS = ("head", "tuned")  # and no yardstick


def key(mark: Mark) -> str:
    """Return the point of a run for a legend."""
    svg = ElementTree.Element("svg", {"class": f"sample {mark.style}", "viewBox": "-8 -8 16 16", "aria-hidden": "true"})
    add(svg, "path", f"dot {mark.style}", d=mark.shape)
    return ElementTree.tostring(svg, encoding="unicode", short_empty_elements=False)


def scatter(marks: Sequence[Mark], extract: float, width: int) -> str:
    """Draw accuracy with its interval against seconds on a log axis.

    Runs far below the others (the baseline, random weights) are arrows on the lower edge with their accuracy, so that
    the others keep their distances. `extract` seconds, where known, are a dashed line.
    """
    low, high = _time_range([mark.seconds for mark in marks] + ([extract] if extract else []))
    times = {at: text for at, text in _TIMES.items() if low <= at <= high}
    serious = [mark for mark in marks if mark.kind in SERIOUS] or list(marks)
    floor, top = unit_range([end for mark in serious for end in mark.interval])
    best = max(marks, key=lambda mark: mark.accuracy)
    plot = Plot(
        (width, 430 if width == WIDE else 360),
        Axis("seconds to fit and predict", (low, high), times, log=True),
        accuracy_axis((floor, top)),
        description=f"Accuracy against seconds, {counted(len(marks), 'run')}. Most accurate: {best.label}, "
        f"{percent(best.accuracy)} %, {duration(best.seconds)}. The table of runs holds every figure.",
    )
    placed = [(mark, (plot.x(mark.seconds), _height(plot, mark, floor))) for mark in marks]
    taken = [(x - 8, y - 8, x + 8, y + 8) for _, (x, y) in placed]
    if extract:
        taken.append(_extraction(plot, extract))
    for mark, at in sorted(placed, key=lambda item: item[0].important):
        interval = " to ".join(f"{percent(end)}" for end in mark.interval)
        title = f"{mark.label}: {percent(mark.accuracy)} % ({interval} %), {duration(mark.seconds)}"
        draw_mark(plot, mark, at, title, floor)
    for mark, at in sorted(placed, key=_label_order):
        if mark.important or (width == WIDE and (mark.kind in SERIOUS or mark.accuracy < floor)):
            name = shown(mark.label if mark.important else mark.short)
            name = name if len(name) <= width // 12 else f"{name[: width // 12 - 1]}…"
            words = f"{name} {percent(mark.accuracy)} %" if mark.accuracy < floor else name
            style = f"{mark.style}{' important' if mark.important else ''}"
            write_label(plot, style, words, at, points=[point for _, point in placed], taken=taken)
    return str(plot)


def by_fold(rows: Sequence[dict[str, float]]) -> list[list[dict[str, float]]]:
    """Return the epochs of each fold; all of them where there is one."""
    folds = dict.fromkeys(row.get("fold") for row in rows)
    return [[row for row in rows if row.get("fold") == fold] for fold in folds]


def curve(rows: Sequence[dict[str, float]], quantity: str, kind: str, name: str) -> str:
    """Draw one quantity (``loss`` or ``accuracy``) over epochs, in train and validation, with a line for each fold.

    A ring marks the epoch that was best in validation, which it is optimistic to report; a dot marks the last one.
    """
    folds = by_fold(rows)
    drawn = {split: [_points(fold, f"{split}_{quantity}") for fold in folds] for split in ("train", "val")}
    drawn = {split: [line for line in lines if line] for split, lines in drawn.items()}
    values = [value for lines in drawn.values() for line in lines for _, value in line] or [0.0]
    epochs = [float(row["epoch"]) for row in rows]
    first, last_epoch = min(epochs), max(epochs)
    if quantity == "accuracy":
        y_axis = accuracy_axis(unit_range(values), 4)
    else:
        top = _round_up(max(values) or 1.0)
        y_axis = Axis(quantity, (0.0, top), {tick: f"{tick:.3g}" for tick in round_ticks(0.0, top, 4)})
    last = {split: float(np.mean([line[-1][1] for line in lines])) for split, lines in drawn.items() if lines}
    several = f" of {len(folds)} folds" if len(folds) > 1 else ""
    plot = Plot(
        (SMALL, 200),
        Axis("epoch", (first, max(last_epoch, first + 1)), {e: f"{e:.0f}" for e in _whole_ticks(first, last_epoch)}),
        y_axis,
        description=f"{quantity} of {name} over {last_epoch:.0f} epochs{several}; last: "
        + ", ".join(f"{split} {value:.3f}" for split, value in last.items()),
    )
    for split, lines in drawn.items():
        for line in lines:
            plot.line(line, f"line {split} {kind}")
    pick = max if quantity == "accuracy" else min
    for line in drawn["val"]:
        best = pick(line, key=lambda point: point[1])
        plot.dot(line[-1], f"dot {kind}", 3.5)
        plot.dot(best, f"ring {kind}", 6.5, title=f"best epoch on val: {best[0]:.0f} (optimistic)")
    return str(plot)


def _points(rows: Sequence[dict[str, float]], name: str) -> list[Point]:
    """Return the finite values of a column over its epochs."""
    values = [(float(row["epoch"]), row.get(name)) for row in rows]
    return [(epoch, float(value)) for epoch, value in values if value is not None and math.isfinite(value)]


def calibration(run: Run, confidence: npt.NDArray[np.float64], kind: str, name: str) -> str:
    """Draw accuracy against confidence in 10 bins with Agresti-Coull intervals, and how many images each bin holds."""
    right, bin_of = run.right, np.minimum((confidence * 10).astype(int), 9)
    bins = [(number, right[bin_of == number], confidence[bin_of == number]) for number in np.unique(bin_of).tolist()]
    sizes = {
        number: effective_size(right[bin_of == number], run.groups_of(bin_of == number), run.folds_number)
        for number, _, _ in bins
    }
    ticks = {tick / 5: f"{20 * tick} %" for tick in range(6)}
    plot = Plot(
        (SQUARE, 320),
        Axis("confidence", (0.0, 1.0), ticks),
        Axis("accuracy", (0.0, 1.0), ticks),
        description=f"Calibration of {name}: "
        + "; ".join(
            f"confidence {10 * number} to {10 * number + 10} %: {answers.mean():.2f} right of {len(answers)}"
            for number, answers, _ in bins
        ),
    )
    plot.line([(0, 0), (1, 1)], "diagonal")
    for number, answers, sureness in bins:
        correct, inside, share = int(answers.sum()), len(answers), len(answers) / len(right)
        left, top, wide = plot.x(number / 10) + 1, plot.y(0) - 56 * share, plot.x(0.1) - plot.x(0) - 2
        add(plot.svg, "rect", f"histogram {kind}", x=left, y=top, width=wide, height=plot.y(0) - top)
        middle = float(sureness.mean())
        plot.line([(middle, end) for end in agresti_coull(correct, inside, sizes[number])], f"whisker {kind}")
        title = f"{correct} of {inside} right"
        plot.dot((middle, correct / inside), f"dot {kind}", 3 + 4 * math.sqrt(share), title=title)
    return str(plot)


def learning(curves: Sequence[tuple[str, str, Sequence[dict[str, float]]]], width: int) -> str:
    """Draw accuracy against images per class (log axis) with bands, one line per (label, kind, points)."""
    points = [point for _, _, rows in curves for point in rows]
    sizes = sorted({point["per_class"] for point in points})
    most = max(sizes[-1], sizes[0] * 1.5)
    plot = Plot(
        (width, 340),
        Axis("training images per class", (sizes[0], most), {size: f"{size:g}" for size in sizes}, log=True),
        accuracy_axis(unit_range([point[end] for point in points for end in ("low", "high")])),
        description="Accuracy against training images per class. "
        + " ".join(
            f"{label}: {percent(rows[-1]['accuracy'])} % with {rows[-1]['per_class']:g}." for label, _, rows in curves
        ),
    )
    _draw_series(plot, [(label, rows, "per_class", "accuracy") for label, _, rows in curves])
    return str(plot)


def coverage(curves: Sequence[tuple[str, Sequence[dict[str, float]]]], width: int) -> str:
    """Draw the error of the surest answers, with bands, against the share of images that is answered.

    Each curve is its name, and what :func:`fc7.classify.evaluation.coverage.error_by_coverage` returned.
    """
    values = [point[end] for _, rows in curves for point in rows for end in ("low", "high")]
    plot = Plot(
        (width, 320),
        Axis(
            "images that are answered, the surest",
            (0.0, 1.0),
            {tick / 5: f"{20 * tick} %" for tick in range(6)},
        ),
        share_axis("wrong answers", (0.0, unit_range(values)[1])),
        description="Share of wrong answers against the share of images that is answered. "
        + " ".join(f"{name}: {percent(rows[-1]['error'])} % of all." for name, rows in curves),
    )
    _draw_series(plot, [(name, rows, "coverage", "error") for name, rows in curves])
    return str(plot)


def _draw_series(plot: Plot, curves: Sequence[tuple[str, Sequence[dict[str, float]], str, str]]) -> None:
    """Draw lines through ``(name, points, x, y)`` with bands from ``low`` to ``high``, with names at their ends."""
    lines = [[(row[x], row[y]) for row in rows] for _, rows, x, y in curves]
    ends = [(plot.x(line[-1][0]), plot.y(line[-1][1])) for line in lines]
    paths = [[(plot.x(a), plot.y(b)) for a, b in line] for line in lines]
    along = [
        (x + (right - x) * part / 8, y + (bottom - y) * part / 8)
        for path in paths
        for (x, y), (right, bottom) in pairwise(path)
        for part in range(9)
    ]
    taken: list[Box] = [(x - 3, y - 3, x + 3, y + 3) for x, y in along + ends]
    for place, ((_, rows, x, _), line) in enumerate(zip(curves, lines, strict=True)):
        style = f"s{place % len(_SERIES)}"
        lows, highs = ([(row[x], row[end]) for row in rows] for end in ("low", "high"))
        plot.line(lows + highs[::-1], f"band {style}", "polygon")
        plot.line(line, f"line {style} dash{place % 4}")
        for point in line if len(line) <= 20 else line[-1:]:
            plot.dot(point, f"dot {style}", 3)
    for place, ((name, *_), end) in enumerate(zip(curves, ends, strict=True)):
        write_label(plot, f"s{place % len(_SERIES)} important", shown(name), end, points=ends, taken=taken)


def _extraction(plot: Plot, extract: float) -> Box:
    """Draw the seconds of the extraction, and return where their words are."""
    x, (_, top, right, bottom) = plot.x(extract), plot.box
    line_between(plot.svg, "extraction", (x, top), (x, bottom))
    label = f"extraction, once: {duration(extract)}"
    left = x + 6 + len(label) * CHARACTER > right
    plot.text((x - 6 if left else x + 6, top + 14), label, "note", "end" if left else "start")
    wide = len(label) * CHARACTER
    return (x - 6 - wide if left else x, top, x if left else x + 6 + wide, top + 18)


def _height(plot: Plot, mark: Mark, floor: float) -> float:
    """Return the pixels of a run from the top; a run below the floor is on the lower edge."""
    return plot.box[3] - 9 if mark.accuracy < floor else plot.y(mark.accuracy)


def _label_order(placed: tuple[Mark, Point]) -> tuple[bool, bool, float]:
    mark, _ = placed
    return not mark.important, mark.kind == "head", -mark.accuracy


def draw_mark(plot: Plot, mark: Mark, at: Point, title: str, floor: float = 0.0) -> None:
    """Draw a run with its interval; one below the floor is an arrow."""
    below, (low, high) = mark.accuracy < floor, mark.interval
    group = add(plot.svg, "g", f"{mark.style}{' important' if mark.important else ''}")
    add(group, "title", text=title)
    if not below:
        line_between(group, f"whisker {mark.style}", (at[0], plot.y(max(low, floor))), (at[0], plot.y(high)))
    shape = _SHAPES["below"] if below else mark.shape
    add(group, "path", f"dot {mark.style}", d=shape, transform=f"translate({at[0]:.1f} {at[1]:.1f})")


def _time_range(values: Sequence[float]) -> Point:
    """Return the time ticks around the values, at least two."""
    low, high = max(min(values), 0.001), max(max(values), 0.001)
    below = [tick for tick in _TIMES if tick <= low * 0.8] or [low * 0.7]
    above = [tick for tick in _TIMES if tick >= high * 1.25] or [high * 1.4]
    return below[-1], above[0]


def _round_up(value: float) -> float:
    """Return the first round tick at or above `value`."""
    step = round_ticks(0.0, value, 4)[1]
    return math.ceil(value / step - 1e-9) * step


def _whole_ticks(low: float, high: float) -> list[float]:
    """Return whole numbers, the first and the last among them."""
    inner = [tick for tick in round_ticks(low, high, 5) if tick == int(tick)] if high > low else []
    ends = sorted({low, *inner, high})
    gap = (high - low) / 12
    return [tick for tick, following in pairwise([*ends, math.inf]) if following - tick > gap or tick == low]
