"""Claims: which unit another process is computing at this moment. They save work; correctness never needs them.

A claim is a small file that says whose it is and is touched while its owner works. Without any claim, or with all of
them stolen, two processes compute the same unit, and the second finds it committed.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from .process import Process

logger = logging.getLogger(__name__)

BEAT = 5.0  # seconds between two signs of life
STALE = 60.0  # seconds without one, by the waiting process's own clock, after which a claim is void


class Claims:
    """The claims of one process in a folder.

    Parameters
    ----------
    folder
        Where all processes of a cache leave their claims.
    clock
        Seconds; never compared with another machine's.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self._clock = clock
        self._held: set[Path] = set()
        self._beaten = clock()
        self._seen: dict[Path, tuple[int, float]] = {}

    def take(self, unit: str) -> bool:
        """Claim a unit; False if a process that may be alive has it.

        A folder in which nothing can be written claims nothing and forbids nothing: the answer is True.
        """
        path = self.folder / unit
        if path in self._held:
            return True
        try:
            if path.exists():
                if not self._void(path):
                    return False
                path.unlink(missing_ok=True)
            self._leave(path)
        except OSError as error:
            logger.debug("no claim on %s: %s", unit[:12], error)
            return not path.exists()  # another process was quicker, or nothing can be written here
        self._held.add(path)
        return True

    def beat(self) -> None:
        """Show that this process is alive; call it as often as you like."""
        if self._clock() - self._beaten < BEAT:
            return
        self._beaten = self._clock()
        for path in tuple(self._held):
            with contextlib.suppress(OSError):
                os.utime(path)

    def release(self, unit: str) -> None:
        """Give up a unit, done or not."""
        path = self.folder / unit
        if path in self._held:
            self._held.discard(path)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def release_all(self) -> None:
        """Give up every unit."""
        for path in tuple(self._held):
            self.release(path.name)

    def _leave(self, path: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(descriptor, Process.mine().token.encode())
        finally:
            os.close(descriptor)

    def _void(self, path: Path) -> bool:
        """Say whether a claim's owner is gone, or has shown no life for :data:`STALE` seconds."""
        try:
            beat = path.stat().st_mtime_ns
            owner = Process.parse(path.read_text(encoding="ascii", errors="replace"))
        except FileNotFoundError:
            return True
        if owner and owner.gone:
            return True
        seen, since = self._seen.get(path, (0, 0.0))
        if seen != beat:
            self._seen[path] = (beat, self._clock())
            return False
        return self._clock() - since > STALE
