"""A plot to draw on: inline SVG, coloured by the page's CSS variables, with a description for screen readers.

The standard library serialises a tree of elements, so a name can never become markup.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from ..pages.text import shown

CHARACTER = 7.1  # mean width in px of a letter at 12 px of the widest font: only a browser could measure the real one

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
            line_between(self.svg, "grid", (left, self.y(tick)), (right, self.y(tick)))
            self.text((left - 7, self.y(tick) + 4), label, "tick", "end")
        line_between(self.svg, "axis", (left, bottom), (right, bottom))
        free = -math.inf
        for tick, label in x_axis.ticks.items():
            x, half = self.x(tick), len(label) * CHARACTER / 2
            line_between(self.svg, "axis", (x, bottom), (x, bottom + 5))
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
        add(self.svg, tag, kind, points=" ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in points))

    def dot(self, point: Point, kind: str, radius: float, title: str = "") -> None:
        """Draw a circle at a data point."""
        dot = add(self.svg, "circle", kind, cx=self.x(point[0]), cy=self.y(point[1]), r=radius)
        if title:
            add(dot, "title", text=title)

    def text(self, at: Point, words: str, kind: str, anchor: str = "start") -> None:
        """Write at pixels."""
        add(self.svg, "text", kind, words, x=at[0], y=at[1], text_anchor=anchor)


def add(
    parent: ElementTree.Element, tag: str, kind: str = "", text: str = "", **attributes: float | str
) -> ElementTree.Element:
    """Add an element with text that is shown as it is, and numbers of one decimal."""
    named = {name.replace("_", "-"): f"{v:.1f}" if isinstance(v, int | float) else v for name, v in attributes.items()}
    element = ElementTree.SubElement(parent, tag, ({"class": kind} if kind else {}) | named)
    element.text = shown(text)
    return element


def line_between(parent: ElementTree.Element, kind: str, start: Point, end: Point) -> None:
    """Draw a line between two points in pixels."""
    add(parent, "line", kind, x1=start[0], x2=end[0], y1=start[1], y2=end[1])


def accuracy_axis(ends: Point, about: int = 5) -> Axis:
    """Return an axis of shares between two ends, which it names if they are not 0 and 1; with about so many ticks."""
    return share_axis("accuracy", ends, about)


def share_axis(name: str, ends: Point, about: int = 5) -> Axis:
    """Return an axis like that of accuracy for other shares."""
    low, high = (f"{100 * end:.3g}" for end in ends)
    name += "" if ends == (0.0, 1.0) else f", axis from {low} to {high} %"
    return Axis(name, ends, {tick: f"{100 * tick:.3g} %" for tick in round_ticks(*ends, about)})


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


def write_label(plot: Plot, style: str, words: str, at: Point, points: Sequence[Point], taken: list[Box]) -> None:
    """Write a name where it touches nothing and no other point is nearer, else further off with a line to it.

    Where there is no room at all it is left out: the point's title and the table have it, too.
    """
    (x, y), wide = at, len(words) * CHARACTER * (1.1 if "important" in style else 1)  # these are bold
    for shift, drop, anchor in _NEAR + _FAR:
        left, base = x + shift - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor], y + drop
        box, far = (left, base - 11, left + wide, base + 4), (shift, drop, anchor) in _FAR
        inside = plot.box[0] < box[0] and box[2] < plot.box[2] and plot.box[1] < box[1] and box[3] < plot.box[3]
        beside = far or all(_distance(box, at) <= _distance(box, other) for other in points)
        if inside and beside and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            if far:
                end = box[3] if drop < 0 else box[1]
                line_between(plot.svg, f"leader {style}", at, (min(max(x, box[0]), box[2]), end))
            plot.text((x + shift, base), words, f"label {style}", anchor)
            return


def _overlap(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _distance(box: Box, point: Point) -> float:
    """Return how far a point is from a box, in pixels."""
    x, y = point
    return math.hypot(max(box[0] - x, 0.0, x - box[2]), max(box[1] - y, 0.0, y - box[3]))


def unit_range(values: Sequence[float]) -> Point:
    """Return round ends around proportions, with a little air: differences are seen that 0 to 100 % would hide."""
    low, high = min(values), max(values)
    air = max(high - low, 0.02) / 20
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if high - low <= 8 * step)
    low, high = math.floor((low - air) / step + 1e-9), math.ceil((high + air) / step - 1e-9)
    return max(0.0, round(low * step, 2)), min(1.0, round(high * step, 2))


def round_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers between two ends."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]
