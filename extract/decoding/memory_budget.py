"""A memory budget for decoding: large images share it, and wait for each other."""

import contextlib
import threading
from collections.abc import Iterator

BUDGET = 640_000_000  # bytes that the large images being decoded may take together; one that takes more is alone
SMALL = 64_000_000  # what takes less does not wait


class Budget:
    """Bytes that all decoding threads of this process together may take."""

    def __init__(self) -> None:
        self._taken, self._changed = 0, threading.Condition()

    def take(self, size: int) -> None:
        """Wait until the budget has room, or until nothing else is taken from it."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + size <= BUDGET)
            self._taken += size

    def give_back(self, size: int) -> None:
        """Let others go on."""
        with self._changed:
            self._taken -= size
            self._changed.notify_all()


class _Mine(threading.local):
    """What this thread has taken of the budget, and whether it is within :func:`in_turn`."""

    taken = 0
    within = False


_budget = Budget()
_mine = _Mine()


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """Keep an image's share of the memory budget until the end of the block.

    Why not only until it is decoded: the bytes of a large file that waits, and the pixels of a large image that is
    resized, would come on top of the image that is decoded.
    """
    if _mine.within:
        yield
        return
    _mine.within = True
    try:
        yield
    finally:
        _mine.within = False
        taken, _mine.taken = _mine.taken, 0
        if taken:
            _budget.give_back(taken)


def take(size: int) -> None:
    """Take from the budget, once per turn: a thread that holds some and waits for more could wait for ever."""
    if size > SMALL and _mine.within and not _mine.taken:
        _budget.take(size)
        _mine.taken = size


def lend(size: int) -> None:
    """Take from the budget for another process, until :func:`take_back`."""
    _budget.take(size)


def take_back(size: int) -> None:
    """Let others have what was lent."""
    _budget.give_back(size)


def ask_for_memory(budget: Budget) -> None:
    """Take from another budget from now on."""
    global _budget
    _budget = budget
