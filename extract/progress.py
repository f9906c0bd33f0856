"""Progress of long work: the function that is called with it, and the bars that a terminal shows."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

# Called with a stage ("extract vgg16"), what is done and the total, in the stage's own unit.
Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing: the default."""


@contextlib.contextmanager
def bars(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield a progress function that draws a bar on stderr, with the time left, for what takes more than a second.

    Nothing is drawn where stderr is not a terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    drawn = progress.Progress(*columns, console=Console(stderr=True), transient=True)
    started: dict[str, float] = {}
    tasks: dict[str, Any] = {}

    def show(stage: str, done: int, total: int) -> None:
        if time.monotonic() - started.setdefault(stage, time.monotonic()) < 1:
            return
        if stage not in tasks:
            drawn.start()
            tasks[stage] = drawn.add_task(stage, total=total)
        drawn.update(tasks[stage], completed=done, total=total, visible=done < total)

    try:
        yield show
    finally:
        drawn.stop()
