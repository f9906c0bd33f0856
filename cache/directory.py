"""The directory of a cache: by default, by name, or by the URL of an object store."""

import os
from pathlib import Path

from ..errors import CacheError
from .format import open_local
from .urls import URL, Location, locate


def default_directory() -> Location:
    """Return ``$FC7_CACHE``, else the user's cache folder of this platform.

    Raises
    ------
    CacheError
        The user has none.
    """
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
