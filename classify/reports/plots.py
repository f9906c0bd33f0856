"""Plots of a report: inline SVG, coloured by the page's CSS variables, with descriptions for screen readers.

The standard library serialises a tree of elements, so a name can never become markup.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from ..evaluation.metrics import wilson
from ..pages.text import duration

WIDE, NARROW = 860, 350  # a plot with labels is drawn twice; shrinking one would shrink its words
SMALL, SQUARE = 266, 330
_TIMES = {
    0.001: "1 ms", 0.01: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h",
    36_000: "10 h", 360_000: "100 h",
}  # fmt: skip
_CHARACTER = 6.3  # mean width in px of a letter at 12 px

PlotPoint = tuple[float, float]
Box = tuple[float, float, float, float]
Ticks = Sequence[tuple[float, str]]


class Axis(NamedTuple):
    """One axis: its name, its ends and its labelled ticks."""

    name: str
    ends: PlotPoint
    ticks: Ticks


@dataclass(frozen=True)
class Mark:
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
    interval: tuple[float, float]
    important: bool = False


@dataclass
class Frame:
    """Axes on an SVG; `x` and `y` turn data into pixels.

    `taken` are the boxes that labels must not touch, `marks` the points of a scatter plot in pixels.
    """

    svg: ElementTree.Element
    box: Box
    x: Callable[[float], float]
    y: Callable[[float], float]
    taken: list[Box] = field(default_factory=list)
    marks: list[PlotPoint] = field(default_factory=list)

    def line(self, points: Sequence[PlotPoint], kind: str) -> None:
        """Draw a line through data points."""
        _add(self.svg, "polyline", kind, points=self._pixels(points))

    def band(self, points: Sequence[tuple[float, float, float]], kind: str) -> None:
        """Shade between low and high at each x."""
        outline = [(a, low) for a, low, _ in points] + [(a, high) for a, _, high in reversed(points)]
        _add(self.svg, "polygon", f"band {kind}", points=self._pixels(outline))

    def _pixels(self, points: Sequence[PlotPoint]) -> str:
        return " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points)

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        """Write at pixels."""
        _add(self.svg, "text", kind, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor).text = words


def text_of(svg: ElementTree.Element) -> str:
    """Return the SVG as text for a page."""
    return ElementTree.tostring(svg, encoding="unicode", short_empty_elements=False)


def scatter(marks: Sequence[Mark], extract: float, width: int) -> str:
    """Draw accuracy with its interval against seconds on a log axis.

    Runs far below the others (the baseline, random weights) are arrows on the lower edge with their accuracy, so that
    the others keep their distances. `extract` seconds, where known, are a dashed line.
    """
    times = [mark.seconds for mark in marks] + ([extract] if extract else [])
    low, high = _log_range(times)
    serious = [mark for mark in marks if mark.kind in {"head", "tuned"}] or list(marks)
    floor, top = _unit_range([end for mark in serious for end in mark.interval])
    height = 430 if width == WIDE else 360
    best = max(marks, key=lambda mark: mark.accuracy)
    frame = _frame(
        (width, height),
        _log_axis(
            "seconds to fit and predict", (low, high), [item for item in _TIMES.items() if low <= item[0] <= high]
        ),
        _accuracy_axis((floor, top)),
        description=f"Accuracy against seconds, {len(marks)} runs. Most accurate: {best.label}, "
        f"{100 * best.accuracy:.1f} %, {duration(best.seconds)}. The table of runs holds every figure.",
    )
    if extract:
        _extraction(frame, extract)
    for mark in sorted(marks, key=lambda mark: mark.important):
        _draw_mark(frame, mark, floor)
    for mark in sorted(marks, key=lambda mark: (not mark.important, mark.kind == "head", -mark.accuracy)):
        if mark.important or width == WIDE:
            _label(frame, mark, mark.label if width == WIDE else mark.short, floor)
    return text_of(frame.svg)


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
        y_axis = _accuracy_axis(_unit_range(values), 4)
    else:
        top = _round_up(max(values) or 1.0)
        y_axis = Axis(quantity, (0.0, top), [(tick, f"{tick:.3g}") for tick in _ticks(0.0, top, 4)])
    last = {split: float(np.mean([line[-1][1] for line in lines])) for split, lines in drawn.items() if lines}
    several = f" of {len(folds)} folds" if len(folds) > 1 else ""
    frame = _frame(
        (SMALL, 200),
        Axis("epoch", (first, max(last_epoch, first + 1)), [(e, f"{e:.0f}") for e in _whole_ticks(first, last_epoch)]),
        y_axis,
        description=f"{quantity} of {name} over {last_epoch:.0f} epochs{several}; last: "
        + ", ".join(f"{split} {value:.3f}" for split, value in last.items()),
    )
    for split, lines in drawn.items():
        for line in lines:
            frame.line(line, f"line {split} {kind}")
    pick = max if quantity == "accuracy" else min
    for line in drawn["val"]:
        best = pick(line, key=lambda point: point[1])
        _dot(frame, line[-1], f"dot {kind}", 3.5)
        _dot(frame, best, f"ring {kind}", 6.5, title=f"best epoch on val: {best[0]:.0f} (optimistic)")
    return text_of(frame.svg)


def _points(rows: Sequence[dict[str, float]], name: str) -> list[PlotPoint]:
    """Return the finite values of a column over its epochs."""
    values = [(float(row["epoch"]), row.get(name)) for row in rows]
    return [(epoch, float(value)) for epoch, value in values if value is not None and math.isfinite(value)]


def calibration(right: npt.NDArray[np.bool_], confidence: npt.NDArray[np.float64], kind: str, name: str) -> str:
    """Draw accuracy against confidence in 10 bins with Wilson intervals, and how many images each bin holds."""
    place = np.minimum((confidence * 10).astype(int), 9)
    counts = np.bincount(place, minlength=10)
    ticks = [(tick / 5, f"{20 * tick} %") for tick in range(6)]
    frame = _frame(
        (SQUARE, 320),
        Axis("confidence", (0.0, 1.0), ticks),
        Axis("accuracy", (0.0, 1.0), ticks),
        description=f"Calibration of {name}: "
        + "; ".join(
            f"confidence {10 * b} to {10 * b + 10} %: {right[place == b].mean():.2f} right of {counts[b]}"
            for b in np.flatnonzero(counts)
        ),
    )
    frame.line([(0, 0), (1, 1)], "diagonal")
    for number in (int(number) for number in np.flatnonzero(counts)):
        inside = place == number
        middle = float(confidence[inside].mean()), float(right[inside].mean())
        _bin(frame, number, middle, (int(right[inside].sum()), int(counts[number]), len(right)), kind=kind)
    return text_of(frame.svg)


def learning(curves: Sequence[tuple[str, str, Sequence[dict[str, float]]]], width: int) -> str:
    """Draw accuracy against images per class (log axis) with bands, one line per (label, kind, points)."""
    points = [point for _, _, rows in curves for point in rows]
    sizes = sorted({point["per_class"] for point in points})
    most = max(sizes[-1], sizes[0] * 1.5)
    frame = _frame(
        (width, 340),
        _log_axis("training images per class", (sizes[0], most), [(size, f"{size:g}") for size in sizes]),
        _accuracy_axis(_unit_range([point[end] for point in points for end in ("low", "high")])),
        description="Accuracy against training images per class. "
        + " ".join(
            f"{label}: {100 * rows[-1]['accuracy']:.1f} % with {rows[-1]['per_class']:g}." for label, _, rows in curves
        ),
    )
    for place, (label, kind, rows) in enumerate(curves):
        dash = f"{kind} dash{place % 4}"
        frame.band([(math.log10(row["per_class"]), row["low"], row["high"]) for row in rows], kind)
        line = [(math.log10(row["per_class"]), row["accuracy"]) for row in rows]
        frame.line(line, f"line {dash}")
        for point in line:
            _dot(frame, point, f"dot {kind}", 3)
        frame.text(frame.box[2] - 4, frame.box[3] - 10 - 16 * place, label, kind=f"label {kind}", anchor="end")
    return text_of(frame.svg)


def interval_bar(low: float, value: float, high: float, floor: float, kind: str) -> str:
    """Draw a small bar of an interval from `floor` to 1; screen readers skip it and read the figures beside it."""
    svg = ElementTree.Element("svg", {"class": "interval", "viewBox": "0 0 120 14", "aria-hidden": "true"})
    low_x, x, high_x = (2 + 116 * (max(end, floor) - floor) / (1 - floor) for end in (low, value, high))
    _add(svg, "line", "track", x1="2", x2="118", y1="7", y2="7")
    _add(svg, "line", f"whisker {kind}", x1=f"{low_x:.1f}", x2=f"{high_x:.1f}", y1="7", y2="7")
    _add(svg, "circle", f"dot {kind}", cx=f"{x:.1f}", cy="7", r="3.5")
    return text_of(svg)


def _add(parent: ElementTree.Element, tag: str, kind: str = "", **attributes: str) -> ElementTree.Element:
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    return ElementTree.SubElement(parent, tag, ({"class": kind} if kind else {}) | named)


def _line(parent: ElementTree.Element, kind: str, x: PlotPoint, y: PlotPoint) -> None:
    """Draw a line between two points, given by their x and their y in pixels."""
    _add(parent, "line", kind, x1=f"{x[0]:.1f}", x2=f"{x[1]:.1f}", y1=f"{y[0]:.1f}", y2=f"{y[1]:.1f}")


def _log_axis(name: str, ends: PlotPoint, ticks: Ticks) -> Axis:
    low, high = ends
    return Axis(
        f"{name}, log scale", (math.log10(low), math.log10(high)), [(math.log10(at), text) for at, text in ticks]
    )


def _accuracy_axis(ends: PlotPoint, about: int = 5) -> Axis:
    return Axis("accuracy", ends, [(tick, f"{100 * tick:.3g} %") for tick in _ticks(*ends, about)])


def _frame(size: tuple[int, int], x_axis: Axis, y_axis: Axis, description: str) -> Frame:
    """Return an SVG with grid, ticks and axis names; a screen reader reads `description`."""
    width, height = size
    box = (50.0, 24.0, width - 24.0, height - 44.0)  # left, top, right, bottom
    svg = ElementTree.Element("svg", {"class": "plot", "viewBox": f"0 0 {width} {height}", "role": "img"})
    svg.set("aria-label", description)
    svg.set("style", f"max-width:{1.2 * width:.0f}px")

    def share(axis: Axis, value: float) -> float:
        return (value - axis.ends[0]) / (axis.ends[1] - axis.ends[0])

    def x(value: float) -> float:
        return box[0] + share(x_axis, value) * (box[2] - box[0])

    def y(value: float) -> float:
        return box[3] - share(y_axis, value) * (box[3] - box[1])

    frame = Frame(svg, box, x, y)
    for tick, label in y_axis.ticks:
        _line(svg, "grid", (box[0], box[2]), (y(tick), y(tick)))
        frame.text(box[0] - 7, y(tick) + 4, label, kind="tick", anchor="end")
    _x_axis(frame, x_axis.ticks)
    frame.text(6, 12, y_axis.name, "name")
    frame.text((box[0] + box[2]) / 2, height - 6, x_axis.name, kind="name", anchor="middle")
    return frame


def _x_axis(frame: Frame, ticks: Ticks) -> None:
    left, _, right, bottom = frame.box
    _line(frame.svg, "axis", (left, right), (bottom, bottom))
    free = -math.inf
    for tick, label in ticks:
        x, half = frame.x(tick), len(label) * _CHARACTER / 2
        _line(frame.svg, "axis", (x, x), (bottom, bottom + 5))
        if x - half > free:  # a label that would touch the last one is left out; its tick stays
            frame.text(x, bottom + 18, label, kind="tick", anchor="middle")
            free = x + half + 8


def _extraction(frame: Frame, extract: float) -> None:
    x = frame.x(math.log10(extract))
    _line(frame.svg, "extraction", (x, x), (frame.box[1], frame.box[3]))
    label = f"extraction, once: {duration(extract)}"
    left = x + 6 + len(label) * _CHARACTER > frame.box[2]
    frame.text(x - 6 if left else x + 6, frame.box[1] - 6, label, kind="note", anchor="end" if left else "start")


def _draw_mark(frame: Frame, mark: Mark, floor: float) -> None:
    x, below = frame.x(math.log10(mark.seconds)), mark.accuracy < floor
    y = frame.box[3] - 9 if below else frame.y(mark.accuracy)
    group = _add(frame.svg, "g", f"{mark.kind}{' important' if mark.important else ''}")
    low, high = mark.interval
    interval = f"{100 * low:.1f} to {100 * high:.1f} %"
    _add(group, "title").text = f"{mark.label}: {100 * mark.accuracy:.1f} % ({interval}), {duration(mark.seconds)}"
    if not below:
        _line(group, f"whisker {mark.kind}", (x, x), (frame.y(max(low, floor)), frame.y(high)))
    shape = "below" if below else mark.kind
    _add(group, "path", f"dot {mark.kind}", d=_SHAPES[shape], transform=f"translate({x:.1f} {y:.1f})")
    frame.taken.append((x - 8, y - 8, x + 8, y + 8))
    frame.marks.append((x, y))


# Shapes as well as colours, for those who cannot tell the colours or print in grey.
_SHAPES = {
    "head": "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0",
    "tuned": "M0,-7L7,0L0,7L-7,0Z",
    "baseline": "M-5,-5H5V5H-5Z",
    "random": "M-5,-3L-3,-5L0,-2L3,-5L5,-3L2,0L5,3L3,5L0,2L-3,5L-5,3L-2,0Z",
    "below": "M-6,-5H6L0,6Z",
}


def _label(frame: Frame, mark: Mark, name: str, floor: float) -> None:
    """Write the run's name where it touches nothing and no other point is nearer, else further off with a line to it.

    Where there is no room at all it is left out: the point's title and the table have it, too.
    """
    below = mark.accuracy < floor
    words = f"{name} {100 * mark.accuracy:.1f} %" if below else name
    x, y = frame.x(math.log10(mark.seconds)), frame.box[3] - 9 if below else frame.y(mark.accuracy)
    wide = len(words) * _CHARACTER
    sides = [(x + 10, y + 4, "start"), (x - 10, y + 4, "end"), (x, y - 12, "middle"), (x, y + 20, "middle")]
    sides += [(x + 8, y - 10, "start"), (x - 8, y - 10, "end"), (x + 8, y + 18, "start"), (x - 8, y + 18, "end")]
    near = len(sides)
    far = [y + step for step in (-26, 34, -42, 50, -58, 66, -74, 82)]
    sides += [(x + shift, base, anchor) for base in far for shift, anchor in ((-8, "start"), (8, "end"), (0, "middle"))]
    for place, (at, base, anchor) in enumerate(sides):
        left = at - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
        box = (left, base - 10, left + wide, base + 3)
        inside = frame.box[0] < box[0] and box[2] < frame.box[2] and frame.box[1] < box[1] and box[3] < frame.box[3]
        beside = place >= near or all(_distance(box, (x, y)) <= _distance(box, other) for other in frame.marks)
        if inside and beside and not any(_overlap(box, taken) for taken in frame.taken):
            frame.taken.append(box)
            if place >= near:
                end = box[3] if base < y else box[1]
                _line(frame.svg, f"leader {mark.kind}", (x, min(max(x, box[0]), box[2])), (y, end))
            style = f"label {mark.kind}{' important' if mark.important else ''}"
            frame.text(at, base, words, kind=style, anchor=anchor)
            return


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _distance(box: Box, point: PlotPoint) -> float:
    """Return how far a point is from a box, in pixels."""
    x, y = point
    return math.hypot(max(box[0] - x, 0.0, x - box[2]), max(box[1] - y, 0.0, y - box[3]))


def _dot(frame: Frame, point: PlotPoint, kind: str, radius: float, title: str = "") -> None:
    x, y = frame.x(point[0]), frame.y(point[1])
    dot = _add(frame.svg, "circle", kind, cx=f"{x:.1f}", cy=f"{y:.1f}", r=f"{radius:.1f}")
    if title:
        _add(dot, "title").text = title


def _bin(frame: Frame, number: int, middle: PlotPoint, counts: tuple[int, int, int], kind: str) -> None:
    """Draw one bin of a calibration plot; `counts` are its right images, its images, and all images."""
    correct, inside, total = counts
    share = inside / total
    top, wide = frame.y(0) - 56 * share, frame.x(0.1) - frame.x(0) - 2
    block = {"x": f"{frame.x(number / 10) + 1:.1f}", "y": f"{top:.1f}"}
    _add(frame.svg, "rect", f"histogram {kind}", **block, width=f"{wide:.1f}", height=f"{frame.y(0) - top:.1f}")
    low, high = wilson(correct, inside)
    frame.line([(middle[0], low), (middle[0], high)], f"whisker {kind}")
    _dot(frame, middle, f"dot {kind}", 3 + 4 * math.sqrt(share), title=f"{correct} of {inside} right")


def _log_range(values: Sequence[float]) -> PlotPoint:
    """Return the time ticks around the values, at least two."""
    low, high = max(min(values), 0.001), max(max(values), 0.001)
    below = [tick for tick in _TIMES if tick <= low * 0.8] or [low * 0.7]
    above = [tick for tick in _TIMES if tick >= high * 1.25] or [high * 1.4]
    return below[-1], above[0]


def _unit_range(values: Sequence[float]) -> PlotPoint:
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
