"""Plots of a report: inline SVG, coloured by the page's CSS variables, with descriptions for screen readers.

The standard library serialises a tree of elements, so a name can never become markup.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from ..evaluation.effective_size import effective_size
from ..evaluation.metrics import agresti_coull
from ..pages.text import duration, shown
from ..records.runs import Run

WIDE, NARROW = 860, 350  # a plot with labels is drawn twice; shrinking one would shrink its words
SMALL, SQUARE = 266, 330
_TIMES = {
    0.001: "1 ms", 0.01: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h",
    36_000: "10 h", 360_000: "100 h",
}  # fmt: skip
_CHARACTER = 6.3  # mean width in px of a letter at 12 px: only a browser could measure the real one

# Shapes as well as colours, for those who cannot tell the colours or print in grey.
_SHAPES = {
    "head": "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0",
    "tuned": "M0,-7L7,0L0,7L-7,0Z",
    "baseline": "M-5,-5H5V5H-5Z",
    "random": "M-5,-3L-3,-5L0,-2L3,-5L5,-3L2,0L5,3L3,5L0,2L-3,5L-5,3L-2,0Z",
    "below": "M-6,-5H6L0,6Z",
}

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom


class Axis(NamedTuple):
    """One axis: its name, its ends, the labels of its ticks, and whether its scale is logarithmic."""

    name: str
    ends: Point
    ticks: Mapping[float, str]
    log: bool = False

    def share(self, value: float) -> float:
        """Return where a value is on the axis: 0 at its low end, 1 at its high end."""
        low, high, at = (math.log10(number) if self.log else number for number in (*self.ends, value))
        return (at - low) / (high - low)


class Mark(NamedTuple):
    """One run in the scatter plot.

    Attributes
    ----------
    label, short
        Its name on a wide plot and on a narrow one.
    kind
        ``head``, ``tuned``, ``baseline`` or ``random``: its colour and shape.
    important
        Its label is placed first.
    """

    label: str
    short: str
    kind: str
    seconds: float
    accuracy: float
    interval: Point
    important: bool = False


class Plot:
    """Axes on an SVG, to draw on at data points; a screen reader reads `description`.

    Attributes
    ----------
    box
        What the axes enclose, in pixels.
    """

    def __init__(self, size: tuple[int, int], x_axis: Axis, y_axis: Axis, description: str) -> None:
        width, height = size
        self.box: Box = 50.0, 24.0, width - 24.0, height - 44.0
        self._x_axis, self._y_axis = x_axis, y_axis
        self.svg = ElementTree.Element("svg", {"class": "plot", "viewBox": f"0 0 {width} {height}", "role": "img"})
        self.svg.set("aria-label", shown(description))
        self.svg.set("style", f"max-width:{1.2 * width:.0f}px")
        left, _, right, bottom = self.box
        for tick, label in y_axis.ticks.items():
            _line(self.svg, "grid", (left, self.y(tick)), (right, self.y(tick)))
            self.text((left - 7, self.y(tick) + 4), label, "tick", "end")
        _line(self.svg, "axis", (left, bottom), (right, bottom))
        free = -math.inf
        for tick, label in x_axis.ticks.items():
            x, half = self.x(tick), len(label) * _CHARACTER / 2
            _line(self.svg, "axis", (x, bottom), (x, bottom + 5))
            if x - half > free:  # a label that would touch the last one is left out; its tick stays
                self.text((x, bottom + 18), label, "tick", "middle")
                free = x + half + 8
        self.text((6, 12), y_axis.name, "name")
        scale = ", log scale" if x_axis.log else ""
        self.text(((left + right) / 2, height - 6), f"{x_axis.name}{scale}", "name", "middle")

    def __str__(self) -> str:
        """Return the SVG as text for a page."""
        return ElementTree.tostring(self.svg, encoding="unicode", short_empty_elements=False)

    def x(self, value: float) -> float:
        """Return the pixels of a value from the left."""
        return self.box[0] + self._x_axis.share(value) * (self.box[2] - self.box[0])

    def y(self, value: float) -> float:
        """Return the pixels of a value from the top."""
        return self.box[3] - self._y_axis.share(value) * (self.box[3] - self.box[1])

    def line(self, points: Sequence[Point], kind: str, tag: str = "polyline") -> None:
        """Draw a line through data points; as a ``polygon``, fill what it encloses."""
        _add(self.svg, tag, kind, points=" ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points))

    def dot(self, point: Point, kind: str, radius: float, title: str = "") -> None:
        """Draw a circle at a data point."""
        dot = _add(self.svg, "circle", kind, cx=self.x(point[0]), cy=self.y(point[1]), r=radius)
        if title:
            _add(dot, "title", text=title)

    def text(self, at: Point, words: str, kind: str, anchor: str = "start") -> None:
        """Write at pixels."""
        _add(self.svg, "text", kind, words, x=at[0], y=at[1], text_anchor=anchor)


def scatter(marks: Sequence[Mark], extract: float, width: int) -> str:
    """Draw accuracy with its interval against seconds on a log axis.

    Runs far below the others (the baseline, random weights) are arrows on the lower edge with their accuracy, so that
    the others keep their distances. `extract` seconds, where known, are a dashed line.
    """
    low, high = _time_range([mark.seconds for mark in marks] + ([extract] if extract else []))
    times = {at: text for at, text in _TIMES.items() if low <= at <= high}
    serious = [mark for mark in marks if mark.kind in {"head", "tuned"}] or list(marks)
    floor, top = unit_range([end for mark in serious for end in mark.interval])
    best = max(marks, key=lambda mark: mark.accuracy)
    plot = Plot(
        (width, 430 if width == WIDE else 360),
        Axis("seconds to fit and predict", (low, high), times, log=True),
        accuracy_axis((floor, top)),
        description=f"Accuracy against seconds, {len(marks)} runs. Most accurate: {best.label}, "
        f"{100 * best.accuracy:.1f} %, {duration(best.seconds)}. The table of runs holds every figure.",
    )
    if extract:
        _extraction(plot, extract)
    placed = [(mark, (plot.x(mark.seconds), _height(plot, mark, floor))) for mark in marks]
    taken = [(x - 8, y - 8, x + 8, y + 8) for _, (x, y) in placed]
    for mark, at in sorted(placed, key=lambda item: item[0].important):
        interval = " to ".join(f"{100 * end:.1f}" for end in mark.interval)
        title = f"{mark.label}: {100 * mark.accuracy:.1f} % ({interval} %), {duration(mark.seconds)}"
        draw_mark(plot, mark, at, title, floor)
    for mark, at in sorted(placed, key=_label_order):
        if mark.important or width == WIDE:
            name = shown(mark.label if width == WIDE else mark.short)
            words = f"{name} {100 * mark.accuracy:.1f} %" if mark.accuracy < floor else name
            write_label(plot, mark, words, at, points=[point for _, point in placed], taken=taken)
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
        y_axis = Axis(quantity, (0.0, top), {tick: f"{tick:.3g}" for tick in _ticks(0.0, top, 4)})
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
        _add(plot.svg, "rect", f"histogram {kind}", x=left, y=top, width=wide, height=plot.y(0) - top)
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
            f"{label}: {100 * rows[-1]['accuracy']:.1f} % with {rows[-1]['per_class']:g}." for label, _, rows in curves
        ),
    )
    for place, (label, kind, rows) in enumerate(curves):
        lows, highs, line = ([(row["per_class"], row[end]) for row in rows] for end in ("low", "high", "accuracy"))
        plot.line(lows + highs[::-1], f"band {kind}", "polygon")
        plot.line(line, f"line {kind} dash{place % 4}")
        for point in line:
            plot.dot(point, f"dot {kind}", 3)
        plot.text((plot.box[2] - 4, plot.box[3] - 10 - 16 * place), label, f"label {kind}", "end")
    return str(plot)


def _add(
    parent: ElementTree.Element, tag: str, kind: str = "", text: str = "", **attributes: float | str
) -> ElementTree.Element:
    """Add an element with text that is shown as it is, and numbers of one decimal."""
    named = {name.replace("_", "-"): f"{v:.1f}" if isinstance(v, int | float) else v for name, v in attributes.items()}
    element = ElementTree.SubElement(parent, tag, ({"class": kind} if kind else {}) | named)
    element.text = shown(text)
    return element


def _line(parent: ElementTree.Element, kind: str, start: Point, end: Point) -> None:
    """Draw a line between two points in pixels."""
    _add(parent, "line", kind, x1=start[0], x2=end[0], y1=start[1], y2=end[1])


def accuracy_axis(ends: Point, about: int = 5) -> Axis:
    """Return an axis of shares between two ends, with about so many ticks."""
    return Axis("accuracy", ends, {tick: f"{100 * tick:.3g} %" for tick in _ticks(*ends, about)})


def _extraction(plot: Plot, extract: float) -> None:
    x, (_, top, right, bottom) = plot.x(extract), plot.box
    _line(plot.svg, "extraction", (x, top), (x, bottom))
    label = f"extraction, once: {duration(extract)}"
    left = x + 6 + len(label) * _CHARACTER > right
    plot.text((x - 6 if left else x + 6, top - 6), label, "note", "end" if left else "start")


def _height(plot: Plot, mark: Mark, floor: float) -> float:
    """Return the pixels of a run from the top; a run below the floor is on the lower edge."""
    return plot.box[3] - 9 if mark.accuracy < floor else plot.y(mark.accuracy)


def _label_order(placed: tuple[Mark, Point]) -> tuple[bool, bool, float]:
    mark, _ = placed
    return not mark.important, mark.kind == "head", -mark.accuracy


def draw_mark(plot: Plot, mark: Mark, at: Point, title: str, floor: float = 0.0) -> None:
    """Draw a run with its interval; one below the floor is an arrow."""
    below, (low, high) = mark.accuracy < floor, mark.interval
    group = _add(plot.svg, "g", f"{mark.kind}{' important' if mark.important else ''}")
    _add(group, "title", text=title)
    if not below:
        _line(group, f"whisker {mark.kind}", (at[0], plot.y(max(low, floor))), (at[0], plot.y(high)))
    shape = _SHAPES["below" if below else mark.kind]
    _add(group, "path", f"dot {mark.kind}", d=shape, transform=f"translate({at[0]:.1f} {at[1]:.1f})")


# Where a label may be, as pixels from its point to the left, to the base of the letters, and which end is there. The
# far places get a line to the point.
_NEAR = [
    (10, 4, "start"), (-10, 4, "end"), (0, -12, "middle"), (0, 20, "middle"),
    (8, -10, "start"), (-8, -10, "end"), (8, 18, "start"), (-8, 18, "end"),
]  # fmt: skip
_FAR = [
    (shift, drop, anchor)
    for drop in (-26, 34, -42, 50, -58, 66, -74, 82)
    for shift, anchor in ((-8, "start"), (8, "end"), (0, "middle"))
]


def write_label(plot: Plot, mark: Mark, words: str, at: Point, points: Sequence[Point], taken: list[Box]) -> None:
    """Write the run's name where it touches nothing and no other point is nearer, else further off with a line to it.

    Where there is no room at all it is left out: the point's title and the table have it, too.
    """
    (x, y), wide = at, len(words) * _CHARACTER
    for shift, drop, anchor in _NEAR + _FAR:
        left, base = x + shift - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor], y + drop
        box, far = (left, base - 10, left + wide, base + 3), (shift, drop, anchor) in _FAR
        inside = plot.box[0] < box[0] and box[2] < plot.box[2] and plot.box[1] < box[1] and box[3] < plot.box[3]
        beside = far or all(_distance(box, at) <= _distance(box, other) for other in points)
        if inside and beside and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            if far:
                end = box[3] if drop < 0 else box[1]
                _line(plot.svg, f"leader {mark.kind}", at, (min(max(x, box[0]), box[2]), end))
            style = f"label {mark.kind}{' important' if mark.important else ''}"
            plot.text((x + shift, base), words, style, anchor)
            return


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _distance(box: Box, point: Point) -> float:
    """Return how far a point is from a box, in pixels."""
    x, y = point
    return math.hypot(max(box[0] - x, 0.0, x - box[2]), max(box[1] - y, 0.0, y - box[3]))


def _time_range(values: Sequence[float]) -> Point:
    """Return the time ticks around the values, at least two."""
    low, high = max(min(values), 0.001), max(max(values), 0.001)
    below = [tick for tick in _TIMES if tick <= low * 0.8] or [low * 0.7]
    above = [tick for tick in _TIMES if tick >= high * 1.25] or [high * 1.4]
    return below[-1], above[0]


def unit_range(values: Sequence[float]) -> Point:
    """Return round ends around proportions, with 1 as the top and a little air below."""
    low = min(values)
    step = 0.05 if low > 0.7 else 0.1
    return max(0.0, math.floor((low - 0.01) / step + 1e-9) * step), 1.0


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers between two ends."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _round_up(value: float) -> float:
    """Return the first round tick at or above `value`."""
    step = _ticks(0.0, value, 4)[1]
    return math.ceil(value / step - 1e-9) * step


def _whole_ticks(low: float, high: float) -> list[float]:
    """Return whole numbers, the first and the last among them."""
    inner = [tick for tick in _ticks(low, high, 5) if tick == int(tick)] if high > low else []
    ends = sorted({low, *inner, high})
    gap = (high - low) / 12
    return [tick for tick, following in pairwise([*ends, math.inf]) if following - tick > gap or tick == low]
