"""Claims: which process is computing which unit. They save work; correctness never depends on them.

A claim is a dangling symbolic link whose target names its owner. Why not a file: a link appears with its content or not
at all. Where no link can be made and touched, as on Windows, it is a file with that content. A thread of the owner
touches it, however long a unit takes. Who cannot tell whether the owner lives, because it is on another machine or in
another PID namespace, waits until no touch has come for some time. If claims are lost or stolen, two processes compute
the same unit, and the second finds it committed.
"""

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from . import system
from .files import read_regular
from .processes import Process

logger = logging.getLogger(__name__)

BEAT = 5.0  # seconds between two heartbeats
_TOUCHES_LINKS = os.utime in os.supports_follow_symlinks
_NAME = 64  # digits of a unit's name

STALE = 60.0  # seconds without a heartbeat, by the waiting process's own clock, after which a claim is void


class Claims:
    """The claims that one process holds; a thread renews them until all are released.

    Parameters
    ----------
    folder
        Holds the claims of all processes that use the cache.
    clock
        Seconds; never compared with another machine's.
    beat
        Seconds between two heartbeats.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic, beat: float = BEAT) -> None:
        self.folder = folder
        self._clock, self._beat = clock, beat
        self._held: set[Path] = set()
        self._ended, self._thread = threading.Event(), threading.Thread()
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
            sign(path)
        except FileExistsError:
            return not os.path.isdir(self.folder)  # noqa: PTH112 - False: another process was quicker
        except OSError as error:
            logger.debug("no claim on %s: %s", unit[:12], error)
            return True
        self._held.add(path)
        if not self._thread.is_alive():
            self._ended.clear()
            self._thread = threading.Thread(target=self._renew, name="fc7 claims", daemon=True)
            self._thread.start()
        return True

    def release(self, unit: str) -> None:
        """Give up a unit, done or not."""
        path = self.folder / unit
        if path in self._held:
            self._held.discard(path)
            with contextlib.suppress(OSError):
                if _is_mine(path):
                    path.unlink()

    def release_all(self) -> None:
        """Give up every unit."""
        for path in tuple(self._held):
            self.release(path.name)
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _renew(self) -> None:
        """Show that this process is alive. A claim that another process has taken meanwhile is its own."""
        while not self._ended.wait(self._beat):
            for path in tuple(self._held):
                with contextlib.suppress(OSError):
                    if _is_mine(path):
                        os.utime(path, follow_symlinks=not _can_touch_links())

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
    try:
        return Process.parse(os.readlink(path))  # noqa: PTH115 - Path would read the token as a path
    except OSError as error:
        if error.errno != errno.EINVAL:  # it is no link
            raise
    try:
        return Process.parse(read_regular(path).decode())
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError):  # a folder, or what is not fc7's
        return None


def is_claim(path: Path) -> bool:
    """Return whether something is a claim, and not a file of somebody else."""
    if path.is_symlink() or owner_of(path) is not None:
        return True
    return len(path.name) == _NAME and path.is_file() and not path.stat().st_size  # killed before it wrote


def sign(path: Path) -> None:
    """Create a claim of this process.

    Raises
    ------
    FileExistsError
        There is one.
    OSError
        None can be created there.
    """
    token = Process.mine().token
    if _can_touch_links():
        try:
            path.symlink_to(token)
        except FileExistsError:
            raise
        except OSError as error:
            logger.debug("no link %s: %s", path, error)
        else:
            return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.BINARY, 0o666)
    try:
        try:
            os.write(descriptor, token.encode())
        finally:
            os.close(descriptor)
    except OSError:
        path.unlink(missing_ok=True)  # empty, it would be nobody's for a day
        raise


def _is_mine(path: Path) -> bool:
    return owner_of(path) == Process.mine()


def _can_touch_links() -> bool:
    return hasattr(os, "symlink") and _TOUCHES_LINKS
