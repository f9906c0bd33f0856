"""Processes: whether the one that left a claim or temporary file has certainly ended, and what a forked child opens."""

import contextlib
import os
import re
import sys
import threading
import time
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, Self, TypeVar, overload

from . import system
from .recipe import sha256_of

T = TypeVar("T")

_TOKEN = re.compile(r"([0-9a-f]*)-([0-9a-f]*)-([0-9]+)(?:-([0-9+]*)-([0-9]*))?", re.ASCII)  # of before: three fields

ABANDONED = 24 * 3600.0  # seconds after which nobody is still writing a temporary file, or about to use a folder


class Process(NamedTuple):
    """A process. What the system does not tell is empty. ``token`` is short and safe in a file name."""

    # Hashes of the machine's name and of its boot id.
    host: str
    boot: str
    pid: int
    # Inodes of the PID namespace, in which the number holds, and of the time namespace, in which the start does.
    namespaces: str = ""
    start: str = ""  # when it began, in clock ticks since the boot: a number is used again

    @classmethod
    @cache
    def mine(cls) -> "Process":
        """Return this process."""
        boot = namespaces = ""
        with contextlib.suppress(OSError):
            boot = _short(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        with contextlib.suppress(OSError):
            namespaces = str(os.stat("/proc/self/ns/pid").st_ino)  # noqa: PTH116 - nothing but a number
            namespaces += f"+{os.stat('/proc/self/ns/time').st_ino}"  # noqa: PTH116 - as above
        return cls(_short(system.node()), boot, os.getpid(), namespaces, _start(os.getpid()))

    @classmethod
    def parse(cls, token: str) -> Self | None:
        """Read :attr:`token`; None if the text is not a token."""
        fields = _TOKEN.fullmatch(token)
        return cls(fields[1], fields[2], int(fields[3]), fields[4] or "", fields[5] or "") if fields else None

    @property
    def token(self) -> str:
        """The process as text without spaces, dots or slashes."""
        return "-".join(map(str, self))

    @property
    def gone(self) -> bool:
        """Whether the process has certainly ended: its namespaces are those of this one, and there it is no more.

        Nothing is known about a process of another machine, boot or namespace, so the answer is False. Another boot id
        may be that of another machine with the same name.
        """
        mine = Process.mine()
        here = mine.host, mine.boot, mine.namespaces
        if (self.host, self.boot, self.namespaces) != here or (sys.platform == "linux" and not all(here)):
            return False
        if system.has_ended(self.pid):
            return True
        return bool(self.start) and _start(self.pid) not in ("", self.start)


def is_abandoned(path: Path, owner: Process | None) -> bool:
    """Return whether the owner of a file is gone; where that cannot be told, whether the file is old."""
    return bool(owner and owner.gone) or is_old(path)


def is_old(path: Path) -> bool:
    """Return whether a file or folder was last changed :data:`ABANDONED` seconds ago or earlier."""
    return time.time() - path.lstat().st_mtime > ABANDONED


def _start(pid: int) -> str:
    """Return when a process began; empty if the system does not tell, or /proc is that of another namespace."""
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115 - nothing but a number
            return ""
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _short(text: str) -> str:
    return sha256_of(text)[:8]


class Lock:
    """A reentrant lock. In a forked child it is open: the thread that held it does not exist there."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type["Lock"], tuple[()]]:
        """Pickle and copy as a new lock."""
        return Lock, ()


class once(Generic[T]):
    """A property that is computed once, also if several threads ask at the same time.

    ``functools.cached_property`` lets each of them compute it from Python 3.12 on.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, owner: None, kind: type) -> Self: ...

    @overload
    def __get__(self, owner: object, kind: type) -> T: ...

    def __get__(self, owner: object | None, kind: type) -> T | Self:
        """Return the value; it is looked up here only until the object has it."""
        if owner is None:
            return self
        values = vars(owner)
        with values.setdefault(f"_lock of {self._name}", Lock()):
            if self._name not in values:
                values[self._name] = self._compute(owner)
        value: T = values[self._name]
        return value


_locks: "weakref.WeakSet[Lock]" = weakref.WeakSet()


def _after_fork() -> None:
    Process.mine.cache_clear()
    for lock in list(_locks):
        lock._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
