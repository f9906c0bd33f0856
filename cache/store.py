"""The store: the shards of one recipe. ``append`` commits, ``rows`` reads, ``missing`` lists what to compute.

Rows that are too many for memory stay in it, as :class:`StoredVectors`.
"""

import contextlib
import errno
import logging
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CacheError, CorruptShard
from . import shard as shards
from .arguments import checked
from .cache_miss import explain
from .commit import admit, commit, describe
from .directory import open_directory
from .files import sync_folder
from .format import fingerprint, in_one_line, require_same, shard_names, shard_path, unusable
from .index import Index, ShardEntry
from .keys import Keys, Positions
from .listing import Listing, in_threads, survey
from .processes import Lock
from .recipe import Recipe
from .replica import Replica
from .shard import Shard, unit_id
from .tables import counted

logger = logging.getLogger(__name__)

SHARE = 64  # one chunk in float32 takes 1/64 of the allowed memory: several are in use at once, one of them in float64

_NOT_OURS = {errno.EACCES, errno.EPERM, errno.EROFS}  # what a folder answers in which nothing may be changed


class Store:
    """One recipe's rows in a cache directory.

    Any number of processes may append and read at once without locks: shards are immutable, appear whole, and are
    named after their content. Any number of threads may use one store.

    Parameters
    ----------
    recipe
        Decides the folder.
    directory
        The cache, a folder or a URL; by default ``$FC7_CACHE`` or the user's cache folder.

    Raises
    ------
    CacheError
        The directory is not a cache, has another version, or is not writable.
    """

    @checked
    def __init__(self, recipe: Recipe, directory: Path | str | None = None) -> None:
        self.recipe = recipe
        self.directory = open_directory(directory)
        self.replica = Replica.of(self.directory)
        self.location = self.replica.url if self.replica else str(self.directory)  # for messages
        self.folder = self.directory / "recipes" / recipe.id
        self._opened = fingerprint(self.directory)
        self.index = Index(self.directory)
        self._changing = Lock()
        self.reopened: dict[bytes, str] = {}
        self._looked_again: set[bytes] = set()  # those of them that are rejected again
        try:
            describe(recipe, self.directory)
        except OSError as error:
            raise CacheError(unusable(self.directory, error)) from error
        self.refresh()

    def refresh(self) -> None:
        """List the shards; new ones are checked bit by bit, and damaged ones are quarantined.

        Raises
        ------
        CacheError
            The folder cannot be listed, a shard cannot be read for another reason than its own damage, or the cache is
            gone.
        """
        # A shard that is appended meanwhile must not miss the new listing.
        with self._changing, in_one_line(self.directory):
            listing = self._look()
            if self.reopened:
                listing.reopen(self.reopened.keys() - self._looked_again)
            require_same(self.directory, self._opened)
            self._listing = listing

    def _look(self) -> Listing:
        known = self.index.shards(self.recipe.id)
        # An object store's shards are not merged, and to list them takes a request.
        looked = survey(self.folder, self._names, known, self._admit, merging=not self.replica)
        entries = {name: found for name, found in looked.items() if isinstance(found, ShardEntry)}
        new = {name: entry for name, entry in entries.items() if entry is not known.get(name)}
        self._settle(new)
        self.index.remember_shards(self.recipe.id, new, gone=known.keys() - entries.keys())
        listing = Listing.of(entries)
        listing.left_out = looked.keys() - entries.keys()
        return listing

    @property
    def entries(self) -> Mapping[str, ShardEntry]:
        """What the index knows about each shard, by file name."""
        return self._listing.entries

    @property
    def rejected(self) -> Mapping[bytes, str]:
        """Keys of files that are not an image, with the reason."""
        return self._listing.rejected

    def __contains__(self, key: bytes) -> bool:
        return key in self._listing.rows

    def __len__(self) -> int:
        return len(self._listing.rows.keys.first())

    def __repr__(self) -> str:
        return f"Store({self.recipe.backbone} {self.recipe.layer}, {counted(len(self), 'row')}, {str(self.folder)!r})"

    @property
    def keys(self) -> Keys:
        """The keys that have a row, sorted, each once."""
        return self._listing.rows.keys.unique()

    def path(self, name: str) -> Path:
        """Return the path of the shard with that file name."""
        return shard_path(self.folder, name)

    def missing(self, keys: Iterable[bytes]) -> Keys:
        """Return the keys with neither a row nor a recorded rejection, sorted, each once."""
        wanted, listing = Keys.of(keys).unique(), self._listing
        lacking = wanted.where(listing.rows.find(wanted) < 0)
        return lacking.where(np.fromiter((key not in listing.rejected for key in lacking), bool, len(lacking)))

    def reopen(self, keys: Keys) -> int:
        """Count the rejections of these images as missing from now on, so that they are looked at again.

        Returns
        -------
        int
            How many there are.
        """
        with self._changing:
            reopened = self._listing.reopen(keys)
            self.reopened |= reopened
        return len(reopened)

    def leave_rejected(self, keys: Iterable[bytes]) -> None:
        """Count the rejections of reopened images as they are recorded again: they were looked at, and have no row."""
        with self._changing:
            again = {key: self.reopened[key] for key in keys if key in self.reopened}
            self._looked_again |= again.keys()
            self._listing.reject(again)

    def places(self, keys: Keys) -> Positions:
        """Return each key's place among the rows of all shards, ``(len(keys),)``; -1 without a row."""
        return self._listing.rows.find(keys)

    def committed(self, keys: Iterable[bytes]) -> bool:
        """Return whether a shard of exactly these keys exists now, whoever wrote it; none if they were reopened."""
        keys = list(keys)
        if not self.reopened.keys().isdisjoint(keys):
            return False
        path = self.path(f"{unit_id(self.recipe.id, keys)}.h5")
        if path.name in self._listing.left_out:
            return False
        return self.replica.has(path) if self.replica else os.path.isfile(path)  # noqa: PTH113 - False for any error

    def append(self, shard: Shard) -> Path:
        """Commit rows; when this returns, they survive a crash and a power loss.

        Raises
        ------
        CacheError
            Shape or dtype differ from the recipe's, the disk refuses, or the cache is gone.
        """
        expected = (len(shard.keys), self.recipe.dim)
        if shard.embeddings.shape != expected or shard.embeddings.dtype != self.recipe.dtype:
            raise CacheError(
                f"Embeddings are {shard.embeddings.dtype} {shard.embeddings.shape}, "
                f"the recipe says {self.recipe.dtype} {expected}."
            )
        self.leave_rejected(shard.rejected)
        shard = shards.answering(shard, self.reopened)
        path = self.path(f"{unit_id(self.recipe.id, [*shard.keys, *shard.rejected])}.h5")
        if not shard.keys and not shard.rejected:
            return path
        entry = commit(shards.encode(shard, self.recipe), path, self.recipe, self.replica, self._opened)
        self.index.remember_shards(self.recipe.id, {path.name: entry})
        with self._changing:
            self._listing.add(path.name, entry)
        return path

    def rows(self, keys: Sequence[bytes]) -> npt.NDArray[Any]:
        """Return the embeddings of the keys, ``(len(keys), dim)`` in the stored dtype, in the order asked for.

        If a shard was changed or removed since it was listed, the shards are listed again, until they stand still:
        another process may be merging them.

        Raises
        ------
        CacheError
            Some keys have no row; the message says how many, and how to compute them.
        """
        keys = Keys.of(keys)
        while True:
            listing = self._listing
            try:
                return self._gather(keys, listing)
            except (CacheError, OSError) as error:
                self.refresh()
                if not self._listing.is_same(listing):
                    continue
                if not isinstance(error, CorruptShard | OSError):
                    raise
                reason = getattr(error, "strerror", None) or error
                raise CacheError(
                    f"The cache {self.location} cannot be read: {reason}. Run again; if that goes on, see what is "
                    "damaged with: fc7 cache verify --deep"
                ) from error

    def order(self, keys: Sequence[bytes]) -> Positions:
        """Return the positions that sort keys as their rows lie on disk, ``(len(keys),)``; all must have a row."""
        return np.argsort(self._require(Keys.of(keys), self._listing), kind="stable")

    def seconds(self, keys: Iterable[bytes]) -> float:
        """Return the computing time of these rows, from the provenance of their shards."""
        listing = self._listing
        wanted = self._require(Keys.of(keys).unique(), listing)
        starts, names = np.array(listing.starts[:-1]), list(listing.entries)
        counts = np.bincount(np.searchsorted(starts, wanted, side="right") - 1, minlength=len(starts))
        entries = [listing.entries[name] for name in names[: len(starts)]]
        parts = (int(n) * entry.seconds / max(len(entry.keys), 1) for n, entry in zip(counts, entries, strict=True))
        return math.fsum(parts)  # exact, so that the order in which shards are listed decides no last bit

    def _require(self, keys: Keys, listing: Listing) -> Positions:
        """Return each key's place among all rows; every key must have a row."""
        places = listing.rows.find(keys)
        if len(keys) and places.min() < 0:
            absent = keys[places < 0]
            verb = "has" if len(absent) == 1 else "have"
            raise CacheError(
                f"{len(absent)} of {len(keys)} images {verb} no {self.recipe.backbone} {self.recipe.layer} embedding "
                f"in {self.location}. {explain(self.directory, self.recipe, absent)}Compute them with: fc7 extract DATA"
            )
        return places

    def _gather(self, keys: Keys, listing: Listing) -> npt.NDArray[Any]:
        places = self._require(keys, listing)
        order = np.argsort(places)  # by shard, and within it by row
        places = places[order]
        repeats = np.flatnonzero(np.diff(places, prepend=-1) == 0)  # a row requested more than once is read once
        result = np.empty((len(keys), self.recipe.dim), self.recipe.dtype)
        self._read(listing, np.delete(places, repeats), np.delete(order, repeats), result)
        for number in repeats:
            result[order[number]] = result[order[number - 1]]
        return result

    def _read(self, listing: Listing, places: Positions, numbers: Positions, result: npt.NDArray[Any]) -> None:
        """Read the rows at ascending places into the rows ``numbers`` of the result, shard by shard."""
        starts, names = np.array(listing.starts, np.intp), list(listing.entries)
        cuts = np.searchsorted(places, starts)

        def read(shard: int) -> None:
            name, span = names[shard], slice(cuts[shard], cuts[shard + 1])
            rows = places[span] - starts[shard]
            shards.read_rows(self.path(name), listing.entries[name], rows, numbers=numbers[span], target=result)

        in_threads(read, np.flatnonzero(np.diff(cuts)).tolist())

    def _names(self) -> Collection[str]:
        """Return the file names of the shards on disk, of a replica those that its store has."""
        names = shard_names(self.folder)
        if not self.replica:
            return names
        stored = self.replica.fetch(self.folder, names)
        return [name for name in sorted(stored) if self.path(name).exists()]  # not if it is damaged in the store

    def _settle(self, names: Iterable[str]) -> None:
        """Make the names of new shards durable: their writer may have been killed before it synced them."""

        def settle(folder: Path) -> None:
            with contextlib.suppress(FileNotFoundError):  # removed with all that was in it
                sync_folder(folder)

        in_threads(settle, {self.path(name).parent for name in names})

    def _admit(self, path: Path) -> ShardEntry | str | None:
        """Check a shard; a replica fetches a damaged one once more.

        None if it is not there any more, or was set aside; the reason if it is damaged and cannot be set aside.
        """
        try:
            entry = admit(path)
            if entry is None and self.replica:
                self.replica.fetch_one(path)
                return admit(path) or "what was fetched is damaged, too"
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise
            reason = str(error.strerror)
            logger.warning("fc7: %s is damaged and cannot be set aside (%s). Its rows count as missing.", path, reason)
            return reason
        return entry


class StoredVectors:
    """The vectors of given keys in a store, ``(n, dim)``; indexing reads them from disk.

    Parameters
    ----------
    store
        Holds the vectors.
    keys
        One per row; a key may occur more than once.
    max_ram
        Bytes of memory that work on the rows may use, beyond what the program uses anyway.

    Raises
    ------
    CacheError
        Some keys have no row. Indexing raises it, too, if shards were deleted since.
    """

    def __init__(self, store: Store, keys: Iterable[bytes], max_ram: int) -> None:
        self.store, self.keys, self.max_ram = store, Keys.of(keys), max_ram
        self.order: npt.NDArray[np.intp] = store.order(self.keys)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: Any) -> npt.NDArray[Any]:
        """Read the rows of positions, a mask or a slice, in the stored dtype."""
        return self.store.rows(self.keys[rows])

    def __repr__(self) -> str:
        return f"StoredVectors({len(self)} x {self.shape[1]} {self.dtype}, {str(self.store.folder)!r})"

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and length of one."""
        return len(self.keys), self.store.recipe.dim

    @property
    def dtype(self) -> np.dtype[Any]:
        """The stored dtype."""
        return np.dtype(self.store.recipe.dtype)

    @cached_property
    def rank(self) -> npt.NDArray[np.intp]:
        """The place of each row among all, as they lie on disk, ``(n,)``: the inverse of `order`."""
        return np.argsort(self.order)

    def chunks(self, rows: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
        """Split positions into chunks whose rows fit into memory in float32."""
        size = max(self.max_ram // SHARE // (4 * self.shape[1]), 1)
        return (rows[first : first + size] for first in range(0, len(rows), size))

    def take(self, rows: npt.NDArray[Any]) -> "StoredVectors":
        """Return the given rows, still on disk."""
        return StoredVectors(self.store, self.keys[rows], self.max_ram)
