"""The maintenance lock: only one of repair, gc and compact runs at a time. Extraction and reading never take it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import CacheError
from .directory import open_directory
from .replica import Replica
from .system import lock


@contextlib.contextmanager
def alone(directory: Path | str | None) -> Iterator[Path]:
    """Hold an existing cache's maintenance lock; the system releases it when the process ends, even by a crash.

    Yields the directory, as :func:`~fc7.cache.directory.open_directory` returns it.

    Raises
    ------
    CacheError
        There is no cache, another process holds the lock, the file system has no locks, or the cache is in a store.
    """
    directory = open_directory(directory, new=False)
    if replica := Replica.of(directory):
        raise CacheError(
            f"{replica.url} is not a folder: repair, gc and compact need one that nobody else changes. Copy it to this "
            "machine with the store's own tools, tidy the copy, and copy it back (docs/remote.md)."
        )
    try:
        descriptor = _opened(directory / "maintenance.lock")
    except OSError as error:
        raise CacheError(f"The cache {directory} is not writable: {error.strerror or error}.") from error
    try:
        try:
            lock(descriptor)
        except BlockingIOError as error:
            raise CacheError(f"Another repair, gc or compact is at work in {directory}. Try again after it.") from error
        except OSError as error:
            raise CacheError(f"The cache {directory} cannot be locked: {error.strerror or error}.") from error
        yield directory
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if not path.exists():
            raise
    return os.open(path, os.O_RDONLY)  # another user's: a lock needs no more
