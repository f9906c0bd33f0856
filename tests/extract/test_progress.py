"""Progress: the time left is right early, and something is said where no bar can be drawn, and inside of long steps."""

import io
import random
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import until

from fc7.extract import progress
from fc7.extract.progress import Stages, bars, spread


@given(st.integers(0, 200))
def test_an_order_that_is_spread_has_every_number_once(count):
    assert sorted(spread(count)) == list(range(count))


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock.monotonic)
    return clock


# Seconds of each step of a stage: all alike, and grids whose points take ever longer, as with less regularisation, each
# fitted on five folds.
GRIDS = {
    "alike": [1.0] * 40,
    "ten times as long at the end": [10 ** (point / 9) for point in range(10) for _ in range(5)],
    "ten times as long at the beginning": [10 ** (1 - point / 9) for point in range(10) for _ in range(5)],
    "one point that takes four times as long": [4.0 if point == 7 else 1.0 for point in range(10) for _ in range(5)],
    "two parameters": [(1 + a) * (1 + b) for a in range(4) for b in range(6) for _ in range(5)],
}
# Seconds of batches in the order in which they come: the first waits for cold caches, and files are of unequal size.
_sizes = random.Random(0)
BATCHES = (
    {
        f"a first batch {times} times as long, {count} batches": [times] + [1.0] * (count - 1)
        for times in (3.0, 10.0, 20.0)
        for count in (8, 12, 40, 100)
    }
    | {
        f"files of unequal size, {count} batches, {first:g}": [
            (first if batch == 0 else 1.0) * sum(_sizes.lognormvariate(0, 1) for _ in range(32))
            for batch in range(count)
        ]
        for count in (12, 40)
        for first in (1.0, 5.0)
    }
    | {"epochs that end with a validation": ([1.0] * 10 + [4.0]) * 6}
)


def errors_of_time_left(seconds, clock):
    """Return how far the time left is off, in parts of the whole time, from its first quarter on where it is said."""
    stages = Stages()
    stages.take("fit", 0, len(seconds))
    whole, found = sum(seconds), []
    start = clock.now
    for done, step in enumerate(seconds[:-1], start=1):
        clock.now += step
        stages.take("fit", done, len(seconds))
        passed = clock.now - start
        left = stages.left("fit")
        if passed >= whole / 4 and left is not None:
            found.append(abs(left - (whole - passed)) / whole)
    return found


@pytest.mark.parametrize("name", GRIDS)
def test_the_time_left_is_within_30_percent_from_the_first_quarter_on(name, clock):
    seconds = [GRIDS[name][step] for step in spread(len(GRIDS[name]))]
    assert max(errors_of_time_left(seconds, clock)) < 0.3


@pytest.mark.parametrize("name", BATCHES)
def test_so_it_is_of_batches(name, clock):
    found = errors_of_time_left(BATCHES[name], clock)
    assert max(found) < 0.3
    assert len(found) > len(BATCHES[name]) / 2


def test_twin_in_the_order_of_the_grid_it_is_not(clock):
    assert max(errors_of_time_left(GRIDS["ten times as long at the end"], clock)) > 0.3


def test_what_was_done_before_counts_for_no_speed(clock):
    stages = Stages()
    stages.take("extract", 900, 1000)
    assert stages.left("extract") is None
    assert stages.time_of("extract") == "for 0 s"
    clock.now += 20
    stages.take("extract", 920, 1000)
    assert stages.time_of("extract") == "for 20 s"
    clock.now += 6
    stages.take("extract", 950, 1000)
    assert stages.left("extract") == pytest.approx(10)
    assert stages.line("extract") == "extract: 950 of 1000, about 10 s left"
    stages.take("extract", 1000, 1000)
    assert stages.current is None


def test_a_stage_of_the_same_name_begins_anew(clock):
    stages = Stages()
    for fold in range(2):
        stages.take("train", 0, 10)
        assert stages.left("train") is None
        stages.take("train", 1, 10)
        clock.now += 5 * (1 + fold)
        stages.take("train", 6, 10)
        assert stages.left("train") == pytest.approx(4 * (1 + fold))


@pytest.mark.parametrize(("seconds", "said"), [(4.4, "4 s"), (240, "4 min"), (40_000, "11.1 h")])
def test_durations_are_short(seconds, said):
    assert progress._duration(seconds) == said


def test_without_a_terminal_a_step_that_takes_long_is_said_while_it_does(monkeypatch, log):
    monkeypatch.setattr(progress, "LINES", 0.01)
    with bars() as show:
        show("fit forest", 0, 6)
        until(lambda: len(log.messages) > 1)  # nobody calls
        assert log.messages[0].startswith("fit forest: 0 of 6, for ")
    until(lambda: "fc7 progress" not in [thread.name for thread in threading.enumerate()])


def test_nothing_is_said_of_what_has_ended(monkeypatch, log):
    monkeypatch.setattr(progress, "LINES", 0.01)
    with bars() as show:
        show("hash", 0, 6)
        show("hash", 6, 6)
        said = len(log.messages)
        show("fit forest", 0, 6)
        until(lambda: len(log.messages) > said)
    assert not any(message.startswith("hash") for message in log.messages[said:])


def test_a_notebook_has_one_line_that_changes(monkeypatch, clock):
    class Stream(io.StringIO):
        pass

    Stream.__module__ = "ipykernel.iostream"
    screen = Stream()
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    monkeypatch.setattr(sys, "stderr", screen)
    with bars() as show:
        for done in range(6):
            show("extract vgg16", done, 6)
            clock.now += 1
    lines = screen.getvalue().split("\r")
    assert "\n" not in screen.getvalue()
    assert "extract vgg16: 3 of 6, about 3 s left" in [line.rstrip() for line in lines]
    assert lines[-1] == ""
    assert lines[-2].strip() == ""


def test_quiet_is_quiet(log):
    with bars(quiet=True) as show:
        show("x", 0, 2)
    assert not log.messages
