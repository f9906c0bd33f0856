"""Claims: which process is computing which unit. They save work; correctness never depends on them.

A claim is a dangling symbolic link whose target names its owner. Why not a file: a link appears with its content or not
at all. The owner touches it while it works. If claims are lost or stolen, two processes compute the same unit, and the
second finds it committed.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from .owner import Process

logger = logging.getLogger(__name__)

BEAT = 5.0  # seconds between two heartbeats
STALE = 60.0  # seconds without a heartbeat, by the waiting process's own clock, after which a claim is void


class Claims:
    """The claims that one process holds.

    Parameters
    ----------
    folder
        Holds the claims of all processes that use the cache.
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
        """Claim a unit; False if a process that may be alive holds it.

        In a folder that is not writable nothing is claimed and the answer is True.
        """
        path = self.folder / unit
        if path in self._held:
            return True
        try:
            self.folder.mkdir(exist_ok=True)
            if not self._void(path):
                return False
            path.unlink(missing_ok=True)
            path.symlink_to(Process.mine().token)
        except FileExistsError:
            return not os.path.isdir(self.folder)  # noqa: PTH112 - False: another process was quicker
        except OSError as error:
            logger.debug("no claim on %s: %s", unit[:12], error)
            return True
        self._held.add(path)
        return True

    def beat(self) -> None:
        """Show that this process is alive; cheap enough for every loop."""
        if self._clock() - self._beaten < BEAT:
            return
        self._beaten = self._clock()
        for path in tuple(self._held):
            with contextlib.suppress(OSError):
                os.utime(path, follow_symlinks=False)

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

    def _void(self, path: Path) -> bool:
        """Return whether there is no claim, its owner is gone, or its last heartbeat is :data:`STALE` seconds old."""
        try:
            beat = path.lstat().st_mtime_ns
            owner = owner_of(path)
        except FileNotFoundError:
            return True
        if owner and owner.gone:
            return True
        seen, since = self._seen.get(path, (0, 0.0))
        if seen != beat:
            self._seen[path] = (beat, self._clock())
            return False
        return self._clock() - since > STALE


def owner_of(path: Path) -> Process | None:
    """Return the owner of a claim; None if it names none. An OSError says that there is no such claim."""
    return Process.parse(os.readlink(path))  # noqa: PTH115 - Path would read the token as a path
