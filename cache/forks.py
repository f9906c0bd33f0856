"""Threads and forks: locks that a forked child finds open, and values that are computed once."""

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


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


def _open_locks() -> None:
    for lock in list(_locks):
        lock._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_locks)
