"""The directory of a cache: by default, by name, or by the URL of an object store; and held for maintenance alone."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import CacheError
from .format import open_local, unusable
from .system import lock
from .urls import URL, Location, locate


def default_directory() -> Location:
    """Return ``$FC7_CACHE``, else the user's cache folder of this platform; raises CacheError if there is none."""
    import platformdirs

    if named := os.environ.get("FC7_CACHE"):
        return locate(named)
    try:
        return Path(platformdirs.user_cache_dir("fc7", appauthor=False))
    except RuntimeError as error:  # no HOME, and a user without a name
        raise CacheError(
            "There is no home folder for the cache. Name another with --cache DIR or FC7_CACHE."
        ) from error


def open_directory(directory: Path | str | None = None, *, new: bool = True) -> Path:
    """Return a cache directory, its FORMAT checked; by default :func:`default_directory`.

    For a URL, this is the local replica through which the cache there is read and written.

    Parameters
    ----------
    new
        Create it if it is absent.

    Raises
    ------
    CacheError
        There is none, the folder holds something else or another version, or it cannot be written.
    """
    location = default_directory() if directory is None else locate(directory)
    if isinstance(location, URL):
        from .replica import Replica  # lazy: only a URL needs it

        return Replica.open(location, new=new).directory
    if location.parts[:1] == ("~",):  # shells leave it in --cache=~/folder
        try:
            location = location.expanduser()
        except RuntimeError as error:
            raise CacheError(f"There is no home folder for {location}. Name the cache by its whole path.") from error
    if not new and not (location / "FORMAT").exists():
        raise CacheError(f"There is no fc7 cache in {location}. Fill one with: fc7 extract DATA --cache {location}")
    return open_local(location)


@contextlib.contextmanager
def alone(directory: Path | str | None) -> Iterator[Path]:
    """Hold an existing cache's maintenance lock; the system releases it when the process ends, even by a crash.

    Only one of repair, gc and compact runs at a time. Extraction and reading never take it.

    Yields the directory, as :func:`open_directory` returns it.

    Raises
    ------
    CacheError
        There is no cache, another process holds the lock, the file system has no locks, or the cache is in a store.
    """
    from .replica import Replica  # as above

    directory = open_directory(directory, new=False)
    if replica := Replica.of(directory):
        raise CacheError(
            f"{replica.url} is not a folder: repair, gc and compact need one that nobody else changes. Copy it to this "
            "machine with the store's own tools, tidy the copy, and copy it back (docs/remote.md)."
        )
    try:
        descriptor = _opened(directory / "maintenance.lock")
    except OSError as error:
        raise CacheError(unusable(directory, error)) from error
    try:
        try:
            lock(descriptor)
        except BlockingIOError as error:
            raise CacheError(f"Another repair, gc or compact is at work in {directory}. Try again after it.") from error
        except OSError as error:
            raise CacheError(
                f"The cache {directory} cannot be locked: {error.strerror or error}. Copy it to a local disk, "
                "tidy the copy, and copy it back."
            ) from error
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
