"""Hashing: the images of a data set by their bytes. This is what the steps of a verb hand on to each other.

All of it is packed arrays, about 150 bytes for each image with those of the manifest and the store, so that a million
images fit in the memory that the interpreter takes anyway.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.directory import open_directory
from ...cache.embeddings import Rows
from ...cache.format import KEY_BYTES
from ...cache.index import THREADS, Index
from ...cache.keys import Keys, Table
from ...cache.recipe import Recipe
from ...cache.store import Store
from ...cache.urls import is_url
from ..machine import cores
from ..progress import Progress, silent
from .manifest import Manifest, read_manifest
from .members import Members, is_member
from .paths import MAX_BYTES, Reject, refusal

MOST_THREADS = 16  # that hash files of this machine; at least as many as the index takes by itself
CHANGED = "other bytes than those that were reviewed, perhaps renamed: fc7 review finds where these are now"


@dataclass(frozen=True)
class Hashed:
    """The images of a data set by their bytes, and the cache that has their vectors."""

    manifest: Manifest
    directory: Path  # of the cache
    keys: Keys  # of each image; zeros where it could not be read
    unreadable: dict[int, str]  # why not, by row
    images: Keys  # each different image once, sorted
    first: npt.NDArray[np.intp]  # the row where each of them comes first
    seconds: float  # that it took to look at the files
    _stores: dict[Recipe, Store] = field(default_factory=dict, repr=False, compare=False)

    def __repr__(self) -> str:
        unreadable = f", {len(self.unreadable)} unreadable" if self.unreadable else ""
        return f"Hashed({self.manifest!r}, {len(self.images)} different images{unreadable})"

    @classmethod
    def of(
        cls,
        manifest: Any,
        cache: Path | str | None = None,
        *,
        rehash: bool = False,
        progress: Progress = silent,
    ) -> "Hashed":
        """Return a data set hashed, reading only files that the cache's index has not seen; itself if it is hashed.

        Parameters
        ----------
        manifest
            Or what :func:`fc7.extract.read_manifest` takes.
        rehash
            Read all of them.
        progress
            Called with "hash", files done and files to do.
        """
        if isinstance(manifest, Hashed):
            return manifest
        if not isinstance(manifest, Manifest):
            manifest = read_manifest(manifest)
        begun, directory = time.perf_counter(), open_directory(cache)
        keys = bytearray()
        errors: dict[int, OSError] = {}
        for block in Index(directory).hashes(manifest.each_file(), rehash=rehash, **_looked(manifest)):
            for number, digest in enumerate(block):
                if isinstance(digest, OSError):
                    errors[len(keys) // KEY_BYTES + number] = digest
                    block[number] = bytes(KEY_BYTES)
            keys += b"".join(block)  # type: ignore[arg-type]  # no error is left
            progress("hash", len(keys) // KEY_BYTES, len(manifest))
        unreadable = dict(zip(errors, map(_reason, manifest.each_file(errors), errors.values()), strict=True))
        for row in _changed(manifest, keys):
            keys[row * KEY_BYTES : (row + 1) * KEY_BYTES] = bytes(KEY_BYTES)
            unreadable.setdefault(row, CHANGED)
        packed = Keys.from_bytes(keys)
        first = packed.first()
        if unreadable:  # whose zeros are no image
            first = first[~np.isin(first, list(unreadable))]
        images, seconds = packed[first], time.perf_counter() - begun
        return cls(manifest, directory, packed, unreadable, images=images, first=first, seconds=seconds)

    def store(self, recipe: Recipe) -> Store:
        """Return the rows that the cache has under a recipe; they are listed once."""
        if recipe not in self._stores:
            self._stores[recipe] = Store(recipe, self.directory)
        return self._stores[recipe]

    @cached_property
    def rows(self) -> Rows:
        """The readable images, in the order of the manifest."""
        images = self.manifest.images
        rows = Rows(
            labels=np.array(list(images.labels), np.str_),
            paths=np.array(list(images.paths), np.str_),
            split=np.array(list(images.splits), np.str_),
            group=np.array(list(images.groups), np.str_),
            sha256=self.keys.matrix,
            classes=self.manifest.classes,
            name=self.manifest.name,
        )
        return rows[np.delete(np.arange(len(rows)), [*self.unreadable])] if self.unreadable else rows

    def rejects(self, further: Mapping[int, str] | None = None) -> list[Reject]:
        """Return what is no image by its name, what could not be read, and what is refused further on, by row."""
        paths, reasons = self.manifest.images.paths, {**self.unreadable, **(further or {})}
        return [*self.manifest.rejects, *(Reject(paths[row], reasons[row]) for row in sorted(reasons))]

    def rows_of(self, images: Keys) -> list[int]:
        """Return all rows of some images, copies included."""
        return np.flatnonzero(Table(images).find(self.keys) >= 0).tolist() if images else []

    def files(self, images: Sequence[bytes]) -> list[str]:
        """Return the first file of each image; ask for many at once, because single look-ups are slow."""
        places = self._table.find(Keys.of(images))
        if (places < 0).any():
            raise KeyError(images[int(np.argmin(places))])
        return list(self.manifest.each_file(self.first[places].tolist()))

    def in_reading_order(self, images: Keys) -> Keys:
        """Return some of the images as they are to be read: those inside of files from front to back."""
        if not is_member(next(self.manifest.each_file([0]))):
            return images
        return images[np.argsort(self.first[self._table.find(images)], kind="stable")]

    @cached_property
    def _table(self) -> Table:
        return Table(self.images)


def _looked(manifest: Manifest) -> dict[str, Any]:
    if not manifest.remote:
        return {"looked": Members(MAX_BYTES), "threads": max(min(cores(), MOST_THREADS), THREADS)}
    from . import object_store

    return {"looked": object_store.ListedObjects(manifest.remote), "threads": object_store.THREADS}


def _changed(manifest: Manifest, keys: bytearray) -> list[int]:
    """Return the rows of images that have other bytes than those that a review has decided on."""
    if not manifest.stated:
        return []
    digits = (keys[start : start + KEY_BYTES].hex() for start in range(0, len(keys), KEY_BYTES))
    pairs = enumerate(zip(manifest.images.paths, digits, strict=True))
    return [row for row, (path, found) in pairs if manifest.stated.get(path, found) != found]


def _reason(file: str, error: OSError) -> str:
    """Return why a file has no hash; what is no regular file was not opened."""
    return ("" if is_url(file) else refusal(file)) or f"not readable: {error.strerror}"
