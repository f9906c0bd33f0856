"""The protocol of the cache directory: one number, the names, and how to change them.

::

    <cache>/
      FORMAT                                     FORMAT_LINE; any other line is refused
      recipes/<recipe_id>/recipe.json            canonical JSON of the recipe
      recipes/<recipe_id>/shards/<aa>/<unit>.h5  immutable; appears whole or not at all
      recipes/<recipe_id>/tmp/                   files being written, never read
      recipes/<recipe_id>/quarantine/            shards that failed their check, never read
      claims/<unit>                              who computes this unit now; a hint, delete it at any time
      index.sqlite                               derived; delete it at any time
      maintenance.lock                           held by repair, gc and compact
      REPLICA                                    the URL of the cache that this folder is a replica of

To change the format: raise VERSION, keep a reader of the old version beside the new, and test it on a directory of the
old version. A change of what decides a vector is not a format change: it is a new recipe field.
"""

from pathlib import Path

from ..errors import CacheError
from .atomic_write import make_folder, replace, sync_folder

VERSION = 1
FORMAT_LINE = f"fc7-cache {VERSION}"

KEY_BYTES = 32  # a key is the sha256 of an image file's bytes
HEADER_BYTES = 512  # HDF5 user block in front of every shard, one JSON line padded with spaces
UNIT_ROWS = 1024  # rows in one shard at most


def open_local(directory: Path) -> Path:
    """Return a cache directory of this machine, created if absent, its FORMAT checked.

    Raises
    ------
    CacheError
        The folder holds something else or another version, or cannot be written.
    """
    marker = directory / "FORMAT"
    try:
        if not marker.exists():
            foreign = directory.exists() and any(not path.name.startswith(".FORMAT") for path in directory.iterdir())
            if foreign and not marker.exists():  # else another process created the cache in between
                raise CacheError(
                    f"{directory} is not an fc7 cache (it is not empty and has no FORMAT file). "
                    "Name an empty or new folder with --cache DIR."
                )
            make_folder(directory)
            replace(marker, f"{FORMAT_LINE}\n".encode())
        elif not (directory / "recipes").exists():  # its writer may have been killed before it synced the name
            sync_folder(directory)
        line = marker.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise CacheError(
            f"The cache {directory} cannot be used: {error.strerror or error}. Name another one with --cache DIR."
        ) from error
    if line != FORMAT_LINE:
        raise CacheError(
            f"The cache {directory} says {line[:60]!r}, this version of fc7 reads {FORMAT_LINE!r}. "
            "Name another folder with --cache DIR, or use the fc7 that wrote it."
        )
    return directory
