"""The protocol of the cache directory: one number, the names, and how to change them.

::

    <cache>/
      FORMAT                                     FORMAT_LINE; any other line is refused
      recipes/<recipe_id>/recipe.json            canonical JSON of the recipe
      recipes/<recipe_id>/shards/<aa>/<unit>.h5  immutable; appears whole or not at all
      recipes/<recipe_id>/tmp/                   files being written, never read
      recipes/<recipe_id>/quarantine/            shards that failed their check, never read
      claims/<unit>                              who computes this unit now; a hint, delete it at any time
      removing/                                  what gc or compact takes away, while it is looked at once more
      index.sqlite                               derived; delete it at any time
      maintenance.lock                           held by repair, gc and compact
      REPLICA                                    the URL of the cache that this folder is a replica of

To change the format: raise VERSION, keep a reader of the old version beside the new, and test it on a directory of the
old version. A change of what decides a vector is not a format change: it is a new recipe field.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import CacheError
from .files import create, make_folder, read_regular, sync_folder
from .system import refusal_of_length

VERSION = 1
FORMAT_LINE = f"fc7-cache {VERSION}"

KEY_BYTES = 32  # a key is the sha256 of an image file's bytes
HEADER_BYTES = 512  # in front of every shard, one JSON line padded with spaces: HDF5's smallest user block
UNIT_ROWS = 1024  # rows in one shard at most

_LONGEST = 180  # characters of a file's path in the cache, its writer's mark included

_RECIPE = re.compile("[0-9a-f]{64}")
_SHARD = re.compile(r"[0-9a-f]{64}\.h5")


def unusable(directory: Path, error: OSError) -> str:
    """Return what to say of a cache that the system does not let fc7 read or write."""
    reason = error.strerror or error
    return f"The cache {directory} cannot be used: {reason}. Name another one with --cache DIR or FC7_CACHE."


def open_local(directory: Path) -> Path:
    """Return a cache directory of this machine, created if absent, its FORMAT checked.

    Raises
    ------
    CacheError
        The folder holds something else or another version, or cannot be written.
    """
    try:
        if not is_cache(directory):
            make_folder(directory)
            create(directory / "FORMAT", f"{FORMAT_LINE}\n".encode())
            is_cache(directory)  # another process may have created another version in between
        elif not (directory / "recipes").exists():  # its writer may have been killed before it synced the name
            sync_folder(directory)
    except OSError as error:
        raise CacheError(unusable(directory, error)) from error
    return directory


def is_cache(directory: Path) -> bool:
    """Return whether a folder is a cache; if not, it is absent or empty. Nothing is changed.

    Raises
    ------
    CacheError
        The folder holds something else or another version, or cannot be read.
    """
    marker = directory / "FORMAT"
    if refusal := refusal_of_length(directory, _LONGEST):
        raise CacheError(f"The cache {directory} cannot be used: {refusal}")
    try:
        if not marker.exists():
            # Claims are left by a run whose cache was moved away under it.
            own = (".FORMAT", "claims")
            foreign = directory.exists() and any(not path.name.startswith(own) for path in directory.iterdir())
            if not foreign:
                return False
            if not marker.exists():  # else another process created the cache in between
                raise CacheError(
                    f"{directory} is not an fc7 cache (it is not empty and has no FORMAT file). "
                    "Name an empty or new folder with --cache DIR."
                )
        line = read_regular(marker).decode(errors="replace").strip()
    except OSError as error:
        raise CacheError(unusable(directory, error)) from error
    require_version(directory, line)
    return True


def require_version(location: Path | str, line: str) -> None:
    """Raise a CacheError if the line in FORMAT is another than this version's."""
    if line != FORMAT_LINE:
        raise CacheError(
            f"The cache {location} says {line[:60]!r}, this version of fc7 reads {FORMAT_LINE!r}. "
            "Name another one with --cache, or use the fc7 that wrote it."
        )


def fingerprint(directory: Path) -> tuple[int, int]:
    """Return what tells an open cache from another one in its place; raises CacheError if it is gone."""
    with in_one_line(directory):
        try:
            stat = os.stat(directory / "FORMAT")  # noqa: PTH116 - at every commit, and a Path is slow
        except (FileNotFoundError, NotADirectoryError):
            raise _gone(directory) from None
    return stat.st_ino, stat.st_mtime_ns


def require_same(directory: Path, opened: tuple[int, int]) -> None:
    """Raise a CacheError if a cache is not the one that was opened: none of its readers would find what is written."""
    if fingerprint(directory) != opened:
        raise _gone(directory)


def _gone(directory: Path) -> CacheError:
    """Return the error of a cache that was there when it was opened."""
    return CacheError(
        f"The cache {directory} is gone: its folder was moved, deleted or replaced while it was in use. What was "
        "committed before is where that folder is now. Put it back, or name it with --cache, then run again."
    )


def recipe_folders(directory: Path) -> list[Path]:
    """Return the folders of all recipes. What else lies among them is not fc7's."""
    try:
        with os.scandir(directory / "recipes") as entries:
            names = [entry.name for entry in entries if _RECIPE.fullmatch(entry.name) and entry.is_dir()]
    except FileNotFoundError:
        return []
    return [directory / "recipes" / name for name in sorted(names)]


def shard_path(folder: Path, name: str) -> Path:
    """Return the path of a shard in its recipe's folder; of 256 folders, none gets too many files."""
    return folder / "shards" / name[:2] / name


def shard_names(folder: Path) -> list[str]:
    """Return the file names of a recipe's shards on disk, sorted. What else lies among them is not fc7's.

    This is one look. While shards are merged, it may miss a row that moves from a shard in front of it to one behind.
    """
    names: list[str] = []
    is_shard = _SHARD.fullmatch
    try:
        with os.scandir(folder / "shards") as entries:
            parts = [entry for entry in entries if len(entry.name) == 2 and entry.is_dir()]
    except FileNotFoundError:
        return names
    for part in parts:
        try:
            with os.scandir(part.path) as entries:
                files = [entry.name for entry in entries if is_shard(entry.name) and entry.is_file()]
        except FileNotFoundError:
            continue  # gc removed it, because it was empty
        names += [name for name in files if name.startswith(part.name)]
    return sorted(names)


@contextmanager
def in_one_line(directory: Path) -> Iterator[None]:
    """Turn what the system refuses into a CacheError with file and reason. It may pass, so it is never damage."""
    try:
        yield
    except OSError as error:
        path = f" ({error.filename})" if error.filename else ""
        raise CacheError(
            f"The cache {directory} cannot be used: {error.strerror or error}{path}. Put that right, then run again."
        ) from error
