"""Progress of long work: the function that is called with it, and the bars or lines that a person sees."""

import contextlib
import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from .text import plain

# Called with a stage ("extract vgg16"), what is done and the total, in the stage's own unit.
Progress = Callable[[str, int, int], None]

logger = logging.getLogger(__name__)

LINES = 30.0  # seconds between two lines, where no bar can be drawn
_REDRAWN = 0.5  # seconds between two changes of a notebook's line
_TURN = (math.sqrt(5) - 1) / 2


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing: the default."""


def spread(count: int) -> list[int]:
    """Return the numbers below `count` in an order in which every part of it is a fair sample of all.

    Steps of a grid take longer the further they are in it. Taken like this, those that are done tell how long the
    others take.
    """
    return sorted(range(count), key=lambda number: number * _TURN % 1)


@contextlib.contextmanager
def bars(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield a progress function that draws a bar on stderr, with the time left, for what takes more than a second.

    A notebook has a line instead, which changes. Elsewhere, what takes long logs a line every half a minute, also
    while a single step of it takes longer than that.
    """
    if quiet:
        yield silent
        return
    if not sys.stderr.isatty():
        with _changing_line() if _in_notebook() else _lines() as show:
            yield show
        return
    with _drawn_bars() as show:
        yield show


@contextlib.contextmanager
def _drawn_bars() -> Iterator[Progress]:
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    stages = Stages()

    class Left(progress.ProgressColumn):
        """The time left, once it is known, else the time that has passed."""

        max_refresh = 0.5

        def render(self, task: Any) -> Any:
            return Text(stages.time_of(task.description))

    columns = progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn(), Left()
    tasks: dict[str, Any] = {}

    class Bars(progress.Progress):
        """Bars of stages that began more than a second ago: they appear between two calls, too."""

        def get_renderables(self) -> Iterator[Any]:
            yield self.make_tasks_table([task for task in self.tasks if stages.passed(task.description) > 1])

    drawn = Bars(*columns, console=Console(stderr=True), transient=True)

    def show(stage: str, done: int, total: int) -> None:
        stages.take(stage, done, total)
        if stage not in tasks:
            drawn.start()
            tasks[stage] = drawn.add_task(stage, total=total)
        drawn.update(tasks[stage], completed=done, total=total)
        if done >= total:
            drawn.remove_task(tasks.pop(stage))

    try:
        yield show
    finally:
        drawn.stop()


class Stages:
    """What was reported of each stage that has not ended, and how long the rest of it takes."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}  # when a stage was first heard of
        # When its first step had ended, and what was done by then: that step takes longer, because caches are cold.
        self._warm: dict[str, tuple[float, int]] = {}
        self._latest: dict[str, tuple[int, int]] = {}

    def take(self, stage: str, done: int, total: int) -> None:
        """Take what was reported; a stage that is done is forgotten."""
        before, _ = self._latest.get(stage, (total, 0))
        if done < before or done >= total:  # it begins, perhaps anew, or ends
            for known in (self._begun, self._warm, self._latest):
                known.pop(stage, None)
        if done < total:
            self._begun.setdefault(stage, time.monotonic())
            if done > before:
                self._warm.setdefault(stage, (time.monotonic(), done))
            self._latest[stage] = done, total

    def passed(self, stage: str) -> float:
        """Return the seconds since a stage began."""
        return time.monotonic() - self._begun[stage] if stage in self._latest else 0.0

    def left(self, stage: str) -> float | None:
        """Return the seconds that a stage still takes if it goes on as since its first step; None before its second."""
        if stage not in self._warm:
            return None
        (done, total), (since, first) = self._latest[stage], self._warm[stage]
        return (time.monotonic() - since) * (total - done) / (done - first) if done > first else None

    def time_of(self, stage: str) -> str:
        """Return the time left in words, or the time that has passed."""
        left = self.left(stage)
        return f"for {_duration(self.passed(stage))}" if left is None else f"about {_duration(left)} left"

    def line(self, stage: str) -> str:
        """Return how far a stage is."""
        done, total = self._latest[stage]
        return f"{stage}: {done} of {total}, {self.time_of(stage)}"

    @property
    def current(self) -> str | None:
        """The stage that was begun last and has not ended."""
        return next(reversed(list(self._latest)), None)


def _duration(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def _lines() -> Iterator[Progress]:
    """Log a line of the current stage every half a minute; a thread does it while nothing is reported."""
    stages, lock, ended = Stages(), threading.Lock(), threading.Event()
    latest: list[float] = []

    def say_if_due() -> None:
        stage = stages.current
        if stage and time.monotonic() - max(latest[-1], stages._begun[stage]) > LINES:
            latest[:] = [time.monotonic()]
            logger.info("%s", stages.line(stage))

    def show(stage: str, done: int, total: int) -> None:
        with lock:
            if not latest:
                latest.append(time.monotonic())
                threading.Thread(target=watch, name="fc7 progress", daemon=True).start()
            stages.take(stage, done, total)
            say_if_due()

    def watch() -> None:
        while not ended.wait(LINES / 4):
            with lock:
                say_if_due()

    try:
        yield show
    finally:
        ended.set()


def _in_notebook() -> bool:
    """Return whether what is printed goes to a notebook."""
    return "ipykernel" in sys.modules and type(sys.stderr).__module__.startswith("ipykernel")


@contextlib.contextmanager
def _changing_line() -> Iterator[Progress]:
    """Print a line that changes, as notebooks show it; it is blank at the end."""
    stages = Stages()
    latest, widest = -math.inf, 0

    def show(stage: str, done: int, total: int) -> None:
        nonlocal latest, widest
        stages.take(stage, done, total)
        current, now = stages.current, time.monotonic()
        if current and now - latest > _REDRAWN:
            line = plain(stages.line(current))
            latest, widest = now, max(widest, len(line))
            sys.stderr.write(f"\r{line:<{widest}}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if widest:
            sys.stderr.write(f"\r{'':<{widest}}\r")
            sys.stderr.flush()
