"""Progress of long work: the function that is called with it, and the bars that a terminal shows."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

# Called with a stage ("extract vgg16"), what is done and the total, in the stage's own unit.
Progress = Callable[[str, int, int], None]

logger = logging.getLogger(__name__)

LINES = 30  # seconds between two lines, where no bar can be drawn


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing: the default."""


@contextlib.contextmanager
def bars(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield a progress function that draws a bar on stderr, with the time left, for what takes more than a second.

    Where stderr is not a terminal, what takes long logs a line every half a minute.
    """
    if quiet or not sys.stderr.isatty():
        yield silent if quiet else _lines()
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    started: dict[str, float] = {}
    tasks: dict[str, Any] = {}

    class Bars(progress.Progress):
        """Bars of stages that began more than a second ago: they appear between two calls, too."""

        def get_renderables(self) -> Iterator[Any]:
            now = time.monotonic()
            yield self.make_tasks_table([task for task in self.tasks if now - started[task.description] > 1])

    # The steps of a grid differ in what they take: the time left goes by the mean of all that are done.
    drawn = Bars(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=24 * 60 * 60)

    def show(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            started[stage] = time.monotonic()
            drawn.start()
            tasks[stage] = drawn.add_task(stage, total=total)
        drawn.update(tasks[stage], completed=done, total=total)
        if done >= total:
            drawn.remove_task(tasks.pop(stage))

    try:
        yield show
    finally:
        drawn.stop()


def _lines() -> Progress:
    """Return a progress function that logs a line of a stage every half a minute."""
    latest: dict[str, float] = {}

    def show(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - latest.setdefault(stage, now) > LINES:
            latest[stage] = now
            logger.info("%s: %d of %d", stage, done, total)

    return show
