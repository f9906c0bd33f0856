"""Maintenance of a cache: gc removes what is never read, compact merges small shards, import_rows adds rows."""

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import CacheError, DataError
from .atomic_write import sync_folder
from .embeddings import Embeddings
from .format import UNIT_ROWS
from .index import Index, ShardEntry
from .keys import Keys, Table
from .leases import owner_of
from .maintenance_lock import alone
from .owner import Process
from .recipe import JointRecipe, Recipe
from .shard import Shard, decode, unit_id
from .store import Store
from .verify import described, recipe_folders

ABANDONED = 24 * 3600.0  # seconds after which a temporary file of an unknown process counts as a leftover


class Removed(NamedTuple):
    """A file or folder that gc removed, or would. ``file`` is relative to the cache."""

    file: str
    bytes: int
    reason: str


class Compacted(NamedTuple):
    """One recipe's number of shards before and after compact."""

    recipe: Recipe
    before: int
    after: int


def gc(directory: Path | str | None = None, *, recipe: str | None = None, dry_run: bool = False) -> list[Removed]:
    """Remove what no reader needs, and return it.

    These are temporary files and claims of processes that have ended, quarantined shards, shards whose rows are all in
    other shards, empty recipe folders, and index entries of files that no longer exist.

    Parameters
    ----------
    recipe
        Id, or the beginning of it, of a recipe to remove with all its rows instead.
    dry_run
        Return what would be removed, and remove nothing.

    Raises
    ------
    CacheError
        There is no cache, another maintenance is running, no or several recipes begin like that, or the disk refuses.
    """
    with alone(directory) as directory:
        doomed = [*_garbage(directory)] if recipe is None else [_one_recipe(directory, recipe)]
        removed = [Removed(path.relative_to(directory).as_posix(), _size(path), reason) for path, reason in doomed]
        if not dry_run:
            for path, _ in doomed:
                _remove(path)
            Index(directory).forget_files(lambda file: not os.path.lexists(file))
    return removed


def compact(directory: Path | str | None = None) -> list[Compacted]:
    """Merge each recipe's small shards into full ones; rows stay the same, bit for bit.

    Merged shards are committed before the small ones are removed, so a reader finds every row at every moment. A crash
    in between leaves rows twice; gc removes the copies.

    Raises
    ------
    CacheError
        There is no cache, another maintenance is running, or the disk refuses.
    """
    with alone(directory) as directory:
        return [_compact(Store(described(folder), directory)) for folder in recipe_folders(directory)]


def import_rows(embeddings: Embeddings, directory: Path | str | None = None) -> int:
    """Add the rows of an exported file to the cache and return how many were new.

    The recipe in the file is trusted, because the images are not at hand to check it.

    Raises
    ------
    CacheError
        The cache refuses the rows.
    DataError
        Rows of the same image differ, or the recipe joins several backbones or layers.
    """
    if isinstance(embeddings.recipe, JointRecipe):
        raise DataError(f"The file has {embeddings.recipe.backbone} side by side, the cache keeps each alone.")
    store = Store(embeddings.recipe, directory)
    images = Table(embeddings.keys)
    first = images.find(embeddings.keys)
    for number in np.flatnonzero(first != np.arange(len(first))):
        if embeddings.vectors[first[number]].tobytes() != embeddings.vectors[number].tobytes():
            raise DataError(
                f"{embeddings.paths[number]} and {embeddings.paths[first[number]]} are the same image and have "
                "different rows: the file is not an extraction."
            )
    missing = store.missing(embeddings.keys)
    seconds = embeddings.seconds / max(len(embeddings.keys.first()), 1)
    for start in range(0, len(missing), UNIT_ROWS):
        keys = missing[start : start + UNIT_ROWS]
        rows = embeddings.vectors[images.find(keys)].astype(store.recipe.dtype, copy=False)
        store.append(Shard(keys, rows, {}, {"imported": embeddings.name, "seconds": f"{seconds * len(keys):.3f}"}))
    return len(missing)


def _garbage(directory: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(directory.glob("claims/*")):
        if _abandoned(path, owner_of(path)):
            yield path, "a claim of a process that is gone"
    for pattern in (".FORMAT.*", "recipes/*/.recipe.json.*", "recipes/*/tmp/*"):
        for path in sorted(directory.glob(pattern)):
            if _abandoned(path, Process.parse(path.name.split(".")[-2])):
                yield path, "a temporary file of a process that is gone"
    for path in sorted(directory.glob("recipes/*/quarantine/*")):
        yield path, "a damaged shard, set aside"
    for folder in recipe_folders(directory):
        if any(folder.glob("shards/*/*.h5")):
            yield from _redundant(Store(described(folder), directory))
        elif time.time() - folder.stat().st_mtime > ABANDONED and not any(folder.glob("tmp/*")):
            yield folder, "a recipe without rows"


def _redundant(store: Store) -> Iterator[tuple[Path, str]]:
    """Yield shards, small ones first, whose rows and rejections are all in shards that stay.

    A row is in others only as a row. A rejection that a row answers need not stay.
    """
    rows = _Holders(entry.keys for entry in store.entries.values())
    rejections = _Holders(_unanswered(store, entry) for entry in store.entries.values())
    for name, entry in sorted(store.entries.items(), key=lambda item: len(item[1].keys)):
        refused = _unanswered(store, entry)
        if rows.are_several(entry.keys) and rejections.are_several(refused):
            rows.lose(entry.keys)
            rejections.lose(refused)
            yield store.path(name), "a shard whose rows are all in others"


class _Holders:
    """How many shards hold each key."""

    def __init__(self, shards: Iterable[Keys]) -> None:
        self._table = Table(Keys.joined(shards))
        self._counts = np.bincount(self._table.find(self._table.keys), minlength=len(self._table.keys))

    def are_several(self, keys: Keys) -> bool:
        return bool((self._counts[self._table.find(keys)] > 1).all())

    def lose(self, keys: Keys) -> None:
        np.subtract.at(self._counts, self._table.find(keys), 1)


def _unanswered(store: Store, entry: ShardEntry) -> Keys:
    """Return the keys of a shard's rejections to which no row is an answer."""
    refused = Keys.of(entry.rejected)
    return refused.where(store.places(refused) < 0)


def _abandoned(path: Path, owner: Process | None) -> bool:
    return bool(owner and owner.gone) or time.time() - path.lstat().st_mtime > ABANDONED


def _one_recipe(directory: Path, beginning: str) -> tuple[Path, str]:
    folders = [folder for folder in recipe_folders(directory) if beginning and folder.name.startswith(beginning)]
    if len(folders) != 1:
        raise CacheError(f"{len(folders)} recipes begin with {beginning!r}. See them with: fc7 cache info")
    return folders[0], "asked for"


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in (path, *path.rglob("*")) if not file.is_dir())


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise CacheError(f"{path} cannot be removed: {error.strerror or error}.") from error


def _compact(store: Store) -> Compacted:
    before = len(store.entries)
    small = {name: entry for name, entry in store.entries.items() if len(entry.keys) + len(entry.rejected) < UNIT_ROWS}
    full = [entry for name, entry in store.entries.items() if name not in small]
    rows = Keys.joined(entry.keys for entry in small.values()).without(Keys.joined(entry.keys for entry in full))
    refused = Keys.joined(_unanswered(store, entry) for entry in small.values())
    refused = refused.without(Keys.joined(Keys.of(entry.rejected) for entry in full))
    keys = Keys.joined([rows, refused]).unique()
    units = [keys[start : start + UNIT_ROWS] for start in range(0, len(keys), UNIT_ROWS)]
    if len(units) < len(small):
        provenance = _provenance(decode(store.path(name).read_bytes()) for name in small)
        merged = {_merge(store, unit, provenance) for unit in units}
        if not rows.without(Keys.joined(store.entries[name].keys for name in merged)):
            for name in small.keys() - merged:
                _remove(store.path(name))
        store.refresh()
    return Compacted(store.recipe, before, len(store.entries))


def _merge(store: Store, unit: Keys, provenance: Mapping[str, str]) -> str:
    """Commit one merged shard and return its file name."""
    has_row = store.places(unit) >= 0
    keys = unit[has_row]
    rejected = {key: store.rejected[key] for key in unit[~has_row]}
    taken = store.entries.get(f"{unit_id(store.recipe.id, unit)}.h5")
    if taken and len(taken.keys) < len(keys):  # by rejections that rows answer: see fc7.cache.shard.answering
        rejected |= {key: reason for key, reason in taken.rejected.items() if key not in rejected}
    seconds = {"seconds": f"{store.seconds(keys):.3f}"}
    return store.append(Shard(keys, store.rows(keys), rejected, {**provenance, **seconds})).name


def _provenance(shards: Iterable[Shard]) -> dict[str, str]:
    """Return the provenance of several shards; where they differ, every value."""
    values: dict[str, dict[str, None]] = {}
    for shard in shards:
        for name, value in shard.provenance.items():
            values.setdefault(name, {})[value] = None
    return {name: " | ".join(several) for name, several in values.items()}
