"""The maintenance lock: repair, gc and compact, one at a time. Extraction and reading never take it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import CacheError


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold the cache's maintenance lock; it ends with the process, however that ends.

    Raises
    ------
    CacheError
        Another process holds it, or the file system has no locks.
    """
    import fcntl

    try:
        descriptor = os.open(directory / "maintenance.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise CacheError(f"The cache {directory} is not writable: {error.strerror or error}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CacheError(f"Another repair, gc or compact is at work in {directory}. Try again after it.") from error
        except OSError as error:
            raise CacheError(f"The cache {directory} cannot be locked: {error.strerror or error}.") from error
        yield
    finally:
        os.close(descriptor)
