"""Claims: which unit another process is computing at this moment. They save work; correctness never needs them.

A claim is a symbolic link to nowhere whose target says whose it is: it appears with its content or not at all. Its
owner touches it while it works. Without any claim, or with all of them stolen, two processes compute the same unit, and
the second finds it committed.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from .owner import Process

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
        """Show that this process is alive; call it as often as you like."""
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
        """Say whether there is no claim, its owner is gone, or it has shown no life for :data:`STALE` seconds."""
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
    """Return whose claim it is; None if it does not say.

    Raises
    ------
    OSError
        There is no such claim.
    """
    return Process.parse(os.readlink(path))  # noqa: PTH115 - Path would read the token as a path
