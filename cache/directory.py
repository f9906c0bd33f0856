"""The directory of a cache: by default, by name, or by the URL of an object store."""

import os
from pathlib import Path

from ..errors import CacheError
from .format import open_local
from .urls import address


def default_directory() -> Path:
    """Return ``$FC7_CACHE``, else the user's cache folder of this platform.

    Raises
    ------
    CacheError
        The user has none.
    """
    import platformdirs

    if named := os.environ.get("FC7_CACHE"):
        return Path(named)
    try:
        return Path(platformdirs.user_cache_dir("fc7", appauthor=False))
    except RuntimeError as error:  # no HOME, and a user without a name
        raise CacheError(
            "There is no home folder for the cache. Name another with --cache DIR or FC7_CACHE."
        ) from error


def open_directory(directory: Path | str | None = None) -> Path:
    """Return a cache directory, created if absent, its FORMAT checked; by default :func:`default_directory`.

    For a URL, this is the local replica through which the cache there is read and written.

    Raises
    ------
    CacheError
        The folder holds something else or another version, or cannot be written.
    """
    return _opened(directory, new=True)


def existing_directory(directory: Path | str | None = None) -> Path:
    """Return an existing cache directory.

    Raises
    ------
    CacheError
        There is none, or its version is another.
    """
    return _opened(directory, new=False)


def _opened(directory: Path | str | None, *, new: bool) -> Path:
    directory = default_directory() if directory is None else Path(directory)
    if directory.parts[:1] == ("~",):  # shells leave it in --cache=~/folder
        directory = _home(directory)
    if url := address(directory):
        from .replica import Replica  # lazy: only a URL needs it

        return Replica.open(url, new=new).directory
    if not new and not (directory / "FORMAT").exists():
        raise CacheError(f"There is no fc7 cache in {directory}. Fill one with: fc7 extract DATA --cache {directory}")
    return open_local(directory)


def _home(directory: Path) -> Path:
    try:
        return directory.expanduser()
    except RuntimeError as error:
        raise CacheError(f"There is no home folder for {directory}. Name the cache by its whole path.") from error
