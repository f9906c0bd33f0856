"""The scatter plot: a label belongs to the point that it is next to, or a line leads to it."""

import math
import re
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from fc7.classify.reports.plots import WIDE, Mark, scatter

POINT = re.compile(r"translate\(([\d.]+) ([\d.]+)\)")
LETTER = 6.3


def drawn(marks):
    """Return the points of a scatter plot and its labels, by name, and the ends of the lines between them."""
    tree = ElementTree.fromstring(scatter(marks, 0.0, WIDE))
    points, labels, leaders = {}, {}, []
    for group in tree.iter("g"):
        name = group.find("title").text.partition(":")[0]
        points[name] = tuple(map(float, POINT.search(group.find("path").get("transform")).groups()))
    for text in tree.iter("text"):
        if (text.get("class") or "").startswith("label"):
            x, y, wide = float(text.get("x")), float(text.get("y")), len(text.text) * LETTER
            left = x - {"start": 0, "middle": wide / 2, "end": wide}[text.get("text-anchor")]
            labels[text.text] = (left, y - 10, left + wide, y + 3)
    for line in tree.iter("line"):
        if (line.get("class") or "").startswith("leader"):
            leaders.append(tuple(float(line.get(end)) for end in ("x1", "y1")))
    return points, labels, leaders


def distance(box, point):
    x, y = point
    return math.hypot(max(box[0] - x, 0, x - box[2]), max(box[1] - y, 0, y - box[3]))


def mark(name, seconds, accuracy):
    return Mark(name, name, "head", seconds, accuracy, (accuracy - 0.02, min(1.0, accuracy + 0.02)))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.8, 0.97)), min_size=2, max_size=12))
def test_no_label_is_nearer_to_another_point_than_to_its_own(places):
    marks = [mark(f"vgg16 gap head-{place}", *at) for place, at in enumerate(places)]
    points, labels, leaders = drawn(marks)
    for name, box in labels.items():
        own = distance(box, points[name])
        led = any(math.dist(end, points[name]) < 0.2 for end in leaders)
        assert led or all(own <= distance(box, point) + 0.2 for point in points.values()), name


def test_points_close_together_all_have_their_names():
    marks = [mark(f"vgg16 gap head-{place}", 0.1 * 1.05**place, 0.9 + 0.004 * (place % 3)) for place in range(6)]
    assert len(drawn(marks)[1]) == 6
