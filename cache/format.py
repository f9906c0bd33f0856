"""The protocol of the cache directory: one number, the names, and how to change them.

::

    <cache>/
      FORMAT                                     the line below; any other is refused
      recipes/<recipe_id>/recipe.json            canonical JSON of the recipe
      recipes/<recipe_id>/shards/<aa>/<unit>.h5  immutable; appears whole or not at all
      recipes/<recipe_id>/tmp/                   files being written, never read
      recipes/<recipe_id>/quarantine/            shards that failed their check, never read
      claims/<unit>                              who computes what at the moment; advice, delete it at any time
      index.sqlite                               derived; delete it at any time
      maintenance.lock                           held by repair, gc and compact
      REPLICA                                    the URL of the cache of which the folder is a replica

To change the format: raise VERSION, keep a reader of the old one beside the new, write a test that opens a directory
made by the old version. A change of what decides a vector is not a format change: it is a new recipe field.
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
        The folder holds something else, another version, or cannot be written.
    """
    marker = directory / "FORMAT"
    try:
        if not marker.exists():
            strangers = directory.exists() and any(not one.name.startswith(".FORMAT") for one in directory.iterdir())
            if strangers and not marker.exists():  # else another process made the cache between the two looks
                raise CacheError(
                    f"{directory} is not an fc7 cache (it is not empty and has no FORMAT file). "
                    "Name an empty or new folder with --cache DIR."
                )
            make_folder(directory)
            replace(marker, f"{FORMAT_LINE}\n".encode())
        elif not (directory / "recipes").exists():  # who wrote it may have been killed before it synced the name
            sync_folder(directory)
        found = marker.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise CacheError(
            f"The cache {directory} cannot be used: {error.strerror or error}. Name another one with --cache DIR."
        ) from error
    if found != FORMAT_LINE:
        raise CacheError(
            f"The cache {directory} says {found[:60]!r}, this version of fc7 reads {FORMAT_LINE!r}. "
            "Name another folder with --cache DIR, or use the fc7 that wrote it."
        )
    return directory
