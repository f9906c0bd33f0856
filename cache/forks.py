"""Forks: locks that a forked child finds open, and the refusal to compute in a child whose parent has computed."""

import os
import threading
import weakref

from ..errors import FC7Error

_computed_in = 0  # the first process that computed; a forked child inherits it


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


_locks: "weakref.WeakSet[Lock]" = weakref.WeakSet()


def refuse_after_fork() -> None:
    """Refuse to compute in a process that was forked from one that has.

    The threads of torch, OpenMP and BLAS do not survive a fork. A child that waits for them hangs for ever.

    Raises
    ------
    FC7Error
        Its parent has computed before the fork.
    """
    if _computed_in not in (0, os.getpid()):
        raise FC7Error(
            f"Process {os.getpid()} was forked from {_computed_in} after fc7 had computed there; it would hang. "
            "Compute in the workers only (gunicorn without --preload), or start them with "
            "multiprocessing.get_context('spawn')."
        )


def remember_threads() -> None:
    """Remember that threads of torch, OpenMP or BLAS may run in this process from now on."""
    global _computed_in
    _computed_in = _computed_in or os.getpid()


def _open_locks() -> None:
    for lock in list(_locks):
        lock._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_locks)
