"""Hashing: the files of a manifest by their bytes.

All of it is packed arrays, about 150 bytes for each image with those of the manifest and the store, so that a million
images fit in the memory that the interpreter takes anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.format import KEY_BYTES
from ...cache.index import Index
from ...cache.keys import Keys, Table
from ..progress import Progress, silent
from .manifest import Manifest


@dataclass(frozen=True)
class Hashed:
    """The files of a manifest by their bytes.

    Attributes
    ----------
    keys
        Of each image; zeros where it could not be read.
    unreadable
        Why not, by row.
    readable
        Whether it could, ``(n,)``.
    images
        Each different image once, sorted.
    first
        The row where each of them comes first.
    """

    keys: Keys
    unreadable: dict[int, str]
    readable: npt.NDArray[np.bool_]
    images: Keys
    first: npt.NDArray[np.intp]

    def rows_of(self, images: Keys) -> list[int]:
        """Return all rows of some images, copies included."""
        wanted = Table(images).find(self.keys) >= 0 if len(images) else np.zeros(len(self.keys), bool)
        return np.flatnonzero(wanted & self.readable).tolist()


def hash_files(manifest: Manifest, index: Index, *, rehash: bool = False, progress: Progress = silent) -> Hashed:
    """Return the keys of a manifest's files, reading only those that the index has not seen.

    Parameters
    ----------
    rehash
        Read all of them.
    progress
        Called with "hash", files done and files to do.
    """
    keys = bytearray()
    unreadable: dict[int, str] = {}
    nothing = bytes(KEY_BYTES)
    for block in index.hashes(manifest.each_file(), rehash=rehash, **_looked(manifest)):
        for number, digest in enumerate(block):
            if isinstance(digest, OSError):
                unreadable[len(keys) // KEY_BYTES + number] = f"not readable: {digest.strerror}"
                block[number] = nothing
        keys += b"".join(block)  # type: ignore[arg-type]  # no error is left
        progress("hash", len(keys) // KEY_BYTES, len(manifest))
    packed = Keys.from_bytes(keys)
    first = packed.first()
    readable = np.ones(len(packed), bool)
    readable[list(unreadable)] = False
    first = first[readable[first]]
    return Hashed(packed, unreadable, readable, images=packed[first], first=first)


def _looked(manifest: Manifest) -> dict[str, Any]:
    if not manifest.remote:
        return {}
    from .object_store import THREADS, ListedObjects

    return {"looked": ListedObjects(manifest.remote), "threads": THREADS}


class Files:
    """Where the bytes of images are."""

    def __init__(self, manifest: Manifest, hashed: Hashed) -> None:
        self._manifest, self._rows, self._table = manifest, hashed.first, Table(hashed.images)

    def of(self, keys: Sequence[bytes]) -> list[str]:
        """Return the first file with the bytes of each key; ask for many at once, because single look-ups are slow."""
        places = self._table.find(Keys.of(keys))
        if (places < 0).any():
            raise KeyError(keys[int(np.argmin(places))])
        return list(self._manifest.each_file(self._rows[places].tolist()))
