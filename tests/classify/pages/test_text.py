"""Words and figures as a page says them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.classify.pages.text import (
    duration,
    figure,
    percent,
    points,
    probability,
    ratio,
    relative,
    shown,
    value,
    without_folders,
)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.0042, "4.2 ms"),
        (0.054, "54 ms"),
        (60, "1 min"),
        (7200, "2 h"),
        (0.8, "0.80 s"),
        (9.99, "10.0 s"),
        (41.3, "41 s"),
        (320, "5 min 20 s"),
        (7501, "2 h 5 min"),
    ],
)
def test_duration(seconds, said):
    assert duration(seconds) == said


def test_ratio():
    assert ratio(1, 401) == "1/400 of"
    assert ratio(2, 15) == "1/7.5 of"
    assert ratio(1, 12345) == "1/12,000 of"
    assert ratio(3, 1) == "3.0 times"
    assert ratio(0, 1) == "an unmeasured share of"


def test_probability_and_points():
    assert [probability(p) for p in (0.0004, 0.0312, 0.73, 1.0)] == ["p < 0.001", "p = 0.031", "p = 0.73", "p = 1"]
    assert points(-0.0131) == "\N{MINUS SIGN}1.3"
    assert points(0.0392, sign=False) == "3.9"
    assert [points(value) for value in (-0.0001, 0.0, 1e-17, 2e-5)] == ["\N{MINUS SIGN}0.01", "0.0", "0.0", "+0.002"]
    near = [probability(p) for p in (0.0496, 0.05, 0.0504, 0.050001)]
    assert near == ["p = 0.05", "p = 0.05", "p = 0.0504", "p = 0.050001"]


def test_what_plain_does():
    assert shown("a\u2028b\x1b") == "a\\u2028b\\x1b"
    assert without_folders("see https://example.org/a/b and ants/1.jpg") == "see https://example.org/a/b and ants/1.jpg"
    assert without_folders("'/a/b c") == "'b c"
    assert relative("\\\\server\\share\\ants\\1.jpg") == "ants/1.jpg"
    assert (
        value({"C": 0.001, "on": True, "sizes": [1, 2.5], "none": None})
        == "C = 0.001, on = True, sizes = [1, 2.5], none = None"
    )


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_percent_is_the_figure_times_a_hundred(of):
    share = of[0] / of[1]
    assert float(percent(share)) == pytest.approx(100 * float(figure(share)))
