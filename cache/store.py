"""The store: the shards of one recipe. ``append`` commits, ``rows`` reads, ``missing`` lists what to compute."""

import contextlib
import errno
import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CacheError, CorruptShard
from . import shard as shards
from .atomic_write import sync_folder
from .cache_miss import explain
from .commit import admit, commit, describe, refusal
from .directory import open_directory
from .forks import Lock
from .format import KEY_BYTES, fingerprint, in_one_line, require_same, shard_names
from .index import Index, ShardEntry, stat_line
from .keys import Keys, Places, Positions
from .recipe import Recipe
from .replica import Replica
from .shard import Shard, unit_id

logger = logging.getLogger(__name__)

READERS = min(os.cpu_count() or 1, 8)  # threads that read or check shards; more wait for memory

_NOT_OURS = {errno.EACCES, errno.EPERM, errno.EROFS}  # what a folder answers in which nothing may be changed
_VANISHED = object()


class _Listing:
    """The shards that one look at the folder has found, and the place of each of their rows.

    A refresh makes another listing, so that a reader who goes on with this one finds each row where it says. Shards may
    be added while others read: a row is found only when its shard is listed.
    """

    def __init__(self) -> None:
        self.entries: dict[str, ShardEntry] = {}
        self.names: list[str] = []
        self.starts: list[int] = []  # first place of each shard's rows, so that a row's place is one number
        self.end = 0  # number of rows in all shards
        self.rows, self.refused = Places(), Places()
        self.rejected: dict[bytes, str] = {}
        self.left_out: set[str] = set()  # damaged shards that cannot be set aside here

    @classmethod
    def of(cls, entries: dict[str, ShardEntry], names: Iterable[str]) -> "_Listing":
        """Return the listing of some shards; their entries are popped, so that no key is in memory twice.

        Of a row that several shards hold, the largest one's is read: the small ones may be about to be removed.
        """
        listing = cls()
        names = sorted(names, key=lambda name: (-len(entries[name].keys), name))
        keys = Keys(np.empty((sum(len(entries[name].keys) for name in names), KEY_BYTES), np.uint8))
        rejected: dict[bytes, str] = {}
        for name in names:
            entry = entries.pop(name)
            shard_keys = keys[listing.end : listing.end + len(entry.keys)]
            shard_keys.matrix[:] = entry.keys.matrix
            listing._list(name, entry._replace(keys=shard_keys))
            rejected |= entry.rejected
        listing.rows.add(keys)
        listing.reject(rejected)
        return listing

    def add(self, name: str, entry: ShardEntry) -> None:
        """Add a shard, unless it is listed."""
        if name not in self.entries:
            self._list(name, entry)
            self.rows.add(entry.keys)
            answered = self.rejected.keys() & entry.keys if self.rejected else set()
            if answered:  # these images were looked at again
                self.rejected = {key: reason for key, reason in self.rejected.items() if key not in answered}
            self.reject(entry.rejected)

    def reject(self, reasons: Mapping[bytes, str]) -> None:
        """Add the rejections of images that have no row."""
        refused = Keys.of(reasons)
        refused = refused.where(self.rows.find(refused) < 0)
        if refused:
            self.refused.add(refused)
            # Not in place: other threads go through it.
            self.rejected = {**self.rejected, **{key: reasons[key] for key in refused}}

    def reopen(self, keys: Iterable[bytes]) -> dict[bytes, str]:
        """Forget the rejections of some images, and return them."""
        reopened = {key: self.rejected[key] for key in keys if key in self.rejected}
        self.rejected = {key: reason for key, reason in self.rejected.items() if key not in reopened}
        self.refused = Places()
        self.refused.add(Keys.of(self.rejected))
        return reopened

    def is_same(self, other: "_Listing") -> bool:
        """Return whether both have the same files."""
        return {name: entry.stat for name, entry in self.entries.items()} == {
            name: entry.stat for name, entry in other.entries.items()
        }

    def _list(self, name: str, entry: ShardEntry) -> None:
        self.entries[name] = entry
        self.names.append(name)
        self.starts.append(self.end)
        self.end += len(entry.keys)


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
        self._rejected_again: dict[bytes, str] = {}
        try:
            describe(recipe, self.directory)
        except OSError as error:
            raise CacheError(f"The cache {self.directory} is not writable: {error.strerror or error}.") from error
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
                listing.reopen(self.reopened.keys() - self._rejected_again.keys())
            require_same(self.directory, self._opened)
            self._listing = listing

    def _look(self) -> _Listing:
        """Look until no shard was removed meanwhile: its rows may have moved to where the look had passed already."""
        known = self.index.shards(self.recipe.id)
        sound: dict[str, ShardEntry] = {}
        damaged: set[str] = set()
        before = set() if self.replica else set(shard_names(self.folder))  # an object store's shards are not merged
        while True:
            listed = self._listed()
            looked_at = sound.keys() | damaged
            new = [name for name, stat in listed.items() if not (name in looked_at or _is_known(known, name, stat))]
            with ThreadPoolExecutor(READERS) as pool:
                checked = dict(zip(new, pool.map(self._admit, new), strict=True))
            damaged |= {name for name in new if checked[name] is None}
            sound |= {name: entry for name, entry in checked.items() if isinstance(entry, ShardEntry)}
            vanished = {name for name in new if checked[name] is _VANISHED}
            if not vanished and before <= listed.keys() | damaged:
                break
            before = listed.keys() - vanished
        self._settle(sound)
        self.index.remember_shards(self.recipe.id, sound)
        self.index.forget_shards(self.recipe.id, known.keys() - (listed.keys() - damaged))
        listing = _Listing.of(known | sound, listed.keys() - damaged)
        listing.left_out = damaged & set(shard_names(self.folder)) if damaged else damaged
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
        """Return the number of rows."""
        return len(self._listing.rows.keys.first())

    def __repr__(self) -> str:
        return f"Store({self.recipe.backbone} {self.recipe.layer}, {len(self)} rows, {str(self.folder)!r})"

    @property
    def keys(self) -> Keys:
        """The keys that have a row, sorted, each once."""
        return self._listing.rows.keys.unique()

    def path(self, name: str) -> Path:
        """Return the path of the shard with that file name."""
        return self.folder / "shards" / name[:2] / name

    def missing(self, keys: Iterable[bytes]) -> Keys:
        """Return the keys with neither a row nor a recorded rejection, sorted, each once."""
        wanted, listing = Keys.of(keys).unique(), self._listing
        lacking = wanted.where(listing.rows.find(wanted) < 0)
        return lacking.where(listing.refused.find(lacking) < 0)

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
            self._reject_again({key: self.reopened[key] for key in keys if key in self.reopened})

    def _reject_again(self, reasons: Mapping[bytes, str]) -> None:
        self._rejected_again |= reasons
        self._listing.reject(reasons)

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
        again = {key: reason for key, reason in shard.rejected.items() if key in self.reopened}
        with self._changing:
            self._reject_again(again)
        shard = shards.answering(shard, self.reopened)
        path = self.path(f"{unit_id(self.recipe.id, [*shard.keys, *shard.rejected])}.h5")
        if not shard.keys and not shard.rejected:
            return path
        try:
            require_same(self.directory, self._opened)
            describe(self.recipe, self.directory)
            if self.replica and not self.entries:
                self.replica.describe(self.recipe)
            entry = commit(shards.encode(shard, self.recipe), path, self.recipe, self.replica)
            require_same(self.directory, self._opened)
        except OSError as error:
            raise refusal(self.location, len(shard.keys), error) from error
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
        starts = np.array(listing.starts)
        counts = np.bincount(np.searchsorted(starts, wanted, side="right") - 1, minlength=len(starts))
        entries = [listing.entries[name] for name in listing.names[: len(starts)]]
        costs = [entry.seconds / max(len(entry.keys), 1) for entry in entries]
        return float(counts @ np.array(costs))

    def _require(self, keys: Keys, listing: _Listing) -> Positions:
        """Return each key's place among all rows; every key must have a row."""
        places = listing.rows.find(keys)
        if len(keys) and places.min() < 0:
            absent = keys[places < 0]
            raise CacheError(
                f"{len(absent)} of {len(keys)} images have no {self.recipe.backbone} {self.recipe.layer} embedding in "
                f"{self.location}. {explain(self.directory, self.recipe, absent)}Compute them with: fc7 extract"
            )
        return places

    def _gather(self, keys: Keys, listing: _Listing) -> npt.NDArray[Any]:
        places = self._require(keys, listing)
        order = np.argsort(places)  # by shard, and within it by row
        places = places[order]
        repeats = np.flatnonzero(np.diff(places, prepend=-1) == 0)  # a row requested more than once is read once
        result = np.empty((len(keys), self.recipe.dim), self.recipe.dtype)
        self._read(listing, np.delete(places, repeats), np.delete(order, repeats), result)
        for number in repeats:
            result[order[number]] = result[order[number - 1]]
        return result

    def _read(self, listing: _Listing, places: Positions, numbers: Positions, result: npt.NDArray[Any]) -> None:
        """Read the rows at ascending places into the rows ``numbers`` of the result, shard by shard."""
        starts = np.array(listing.starts, np.intp)
        cuts = [*np.searchsorted(places, starts), len(places)]

        def read(shard: int) -> None:
            name, span = listing.names[shard], slice(cuts[shard], cuts[shard + 1])
            rows = places[span] - starts[shard]
            shards.read_rows(self.path(name), listing.entries[name], rows, numbers=numbers[span], target=result)

        wanted = [shard for shard in range(len(starts)) if cuts[shard] < cuts[shard + 1]]
        with ThreadPoolExecutor(READERS) as pool:
            for future in [pool.submit(read, shard) for shard in wanted]:
                future.result()

    def _listed(self) -> dict[str, str]:
        """Return name and stat of the shards on disk, of a replica those that its store has."""
        names: Collection[str] = shard_names(self.folder)
        if self.replica:
            names = sorted(self.replica.fetch(self.folder, names))
        listed, shards_folder = {}, f"{self.folder}{os.sep}shards{os.sep}"
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # removed between the two calls, or damaged in the store
                listed[name] = stat_line(os.stat(f"{shards_folder}{name[:2]}{os.sep}{name}"))  # noqa: PTH116 - as above
        return listed

    def _settle(self, names: Iterable[str]) -> None:
        """Make the names of new shards durable: their writer may have been killed before it synced them."""

        def settle(folder: Path) -> None:
            with contextlib.suppress(FileNotFoundError):  # removed with all that was in it
                sync_folder(folder)

        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(settle, {self.path(name).parent for name in names}))

    def _admit(self, name: str) -> ShardEntry | object | None:
        """Check a shard; a replica fetches a damaged one once more.

        None if it is damaged, :data:`_VANISHED` if it is not there any more.
        """
        path = self.path(name)
        try:
            entry = admit(path)
            if entry is None and self.replica:
                self.replica.fetch_one(path)
                entry = admit(path)
        except FileNotFoundError:
            return _VANISHED
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise
            logger.warning(
                "fc7: %s is damaged and cannot be set aside (%s). Its rows count as missing.", path, error.strerror
            )
            return None
        return entry


def _is_known(known: Mapping[str, ShardEntry], name: str, stat: str) -> bool:
    return name in known and known[name].stat == stat
