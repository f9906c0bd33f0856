"""Maintenance of a cache: gc removes what is never read, compact merges small shards, import_rows adds rows."""

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from ..errors import CacheError, CorruptShard, DataError
from .commit import put_back
from .directory import alone
from .embeddings import Embeddings
from .files import make_folder, read_regular, replace, writer_of
from .format import UNIT_ROWS, in_one_line, recipe_folders, shard_names
from .index import Index, ShardEntry
from .keys import Keys, Table
from .leases import is_claim, owner_of
from .processes import Process, is_abandoned, is_old
from .recipe import ForeignRecipe, JointRecipe, Recipe
from .shard import Shard, check_file, decode, unit_id
from .store import Store
from .system import is_in_use
from .verify import described_folders, is_sound, leave, restore

logger = logging.getLogger(__name__)

# What gc would remove, why, and what does it: it returns False if something is needed by then.
Garbage: TypeAlias = tuple[Path, str, Callable[[Path], bool]]

_NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST}  # what a folder answers that is to be removed and is not empty


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

    These are temporary files and claims of processes that have ended, damaged shards that were set aside, shards whose
    rows are all in other shards, empty recipe folders, and index entries of files that no longer exist. Each file is
    looked at once more under a name that no other process uses, and put back if it is needed by then. What is not
    fc7's is left, with a warning.

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
    with _tidying(directory) as directory:
        garbage = [_of_recipe(directory, recipe)] if recipe is not None else [*_garbage(directory)]
        copies = (
            [] if recipe is not None else [(store, [*_copies(store, store.entries)]) for store in _stores(directory)]
        )
        removed = []
        for path, reason, remove in garbage:
            entry = Removed(path.relative_to(directory).as_posix(), _size(path), reason)
            if dry_run or remove(path):
                removed.append(entry)
        for store, names in copies:
            sizes = {name: _size(store.path(name)) for name in names}
            for name in names if dry_run else _remove_copies(store, names):
                file = store.path(name).relative_to(directory).as_posix()
                removed.append(Removed(file, sizes[name], "a shard whose rows are all in others"))
        if not dry_run:
            Index(directory).forget_files(lambda file: not os.path.lexists(file.rsplit("!/", 1)[0]))
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
    with _tidying(directory) as directory:
        return [_compact(store) for store in _stores(directory)]


def import_rows(embeddings: Embeddings, directory: Path | str | None = None) -> int:
    """Add the rows of an exported file to the cache and return how many were new.

    The recipe in the file is trusted, because the images are not at hand to check it.

    Raises
    ------
    CacheError
        The cache refuses the rows.
    DataError
        Rows of the same image differ, or the recipe joins several backbones or layers, or is not known.
    """
    if isinstance(embeddings.recipe, JointRecipe):
        raise DataError(f"The file has {embeddings.recipe.backbone} side by side. Export each alone, and import that.")
    if isinstance(embeddings.recipe, ForeignRecipe):
        raise DataError(
            "These vectors were made elsewhere, and the cache keeps those of fc7 only. Fit on the file itself: "
            "fc7 fit FILE -o FILE.fc7"
        )
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


@contextlib.contextmanager
def _tidying(directory: Path | str | None) -> Iterator[Path]:
    """Hold the maintenance lock; what was taken away and not removed is put back, before and after."""
    with alone(directory) as directory, in_one_line(directory):
        restore(directory)
        try:
            yield directory
        finally:
            restore(directory)


def _stores(directory: Path) -> Iterator[Store]:
    for _, recipe in described_folders(directory):
        yield Store(recipe, directory)


def _garbage(directory: Path) -> Iterator[Garbage]:
    folders = recipe_folders(directory)
    for path in sorted({*directory.glob("recipes/*")}.difference(folders)):
        leave(path)
    kinds = [(directory, *kind) for kind in _OF_CACHE] + [(folder, *kind) for kind in _OF_RECIPE for folder in folders]
    for folder, pattern, is_ours, is_garbage, reason in kinds:
        for path in sorted(folder.glob(pattern)):
            if not is_ours(path):
                leave(path)
            elif is_garbage(path):
                yield path, reason, partial(_remove, directory, is_garbage)
    for folder in folders:
        if not shard_names(folder) and is_old(folder) and not any(folder.glob("tmp/*")):
            yield folder, "a recipe without rows", _remove_unused


def _is_left(owner: Callable[[Path], Process | None], path: Path) -> bool:
    """Return whether a claim or temporary file is of a process that is gone."""
    with contextlib.suppress(FileNotFoundError):  # given up or finished meanwhile
        return is_abandoned(path, owner(path))
    return False


def _is_shard(path: Path) -> bool:
    return path.suffix == ".h5" and path.is_file()


def _is_temporary(path: Path) -> bool:
    return path.name.count(".") >= 2 and not path.is_dir()


_Kind: TypeAlias = tuple[str, Callable[[Path], bool], Callable[[Path], bool], str]

# What gc may remove in a cache, and in a recipe's folder: its pattern, which of it is fc7's and which garbage, and why.
_TEMPORARY = _is_temporary, partial(_is_left, writer_of), "a temporary file of a process that is gone"
_OF_CACHE: tuple[_Kind, ...] = (
    ("claims/*", is_claim, partial(_is_left, owner_of), "a claim of a process that is gone"),
    (".FORMAT.*", *_TEMPORARY),
)
_OF_RECIPE: tuple[_Kind, ...] = (
    (".recipe.json.*", *_TEMPORARY),
    ("tmp/*", *_TEMPORARY),
    ("quarantine/*", _is_shard, lambda path: not is_sound(path), "a damaged shard, set aside"),
)


def _of_recipe(directory: Path, beginning: str) -> Garbage:
    folders = [folder for folder in recipe_folders(directory) if beginning and folder.name.startswith(beginning)]
    if len(folders) != 1:
        raise CacheError(f"{len(folders)} recipes begin with {beginning!r}. See them with: fc7 cache info")
    return folders[0], "asked for", partial(_remove, directory, Path.exists)


def _size(path: Path) -> int:
    size = 0
    for file in (path, *path.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # others go on working
            size += 0 if file.is_dir() else file.lstat().st_size
    return size


def _take(path: Path, directory: Path) -> Path | None:
    """Give a file or folder a name in `removing`, which no other process uses, and return it.

    None if there is none any more, or Windows leaves it because a process has it open: the next gc takes it.
    """
    taken = directory / "removing" / path.relative_to(directory)
    make_folder(taken.parent, directory)
    try:
        path.rename(taken)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        if not is_in_use(error):
            raise
        logger.warning("fc7: %s is open in another process and stays. Later, run: fc7 cache gc", path)
        return None
    return taken


def _remove(directory: Path, is_garbage: Callable[[Path], bool], path: Path) -> bool:
    """Remove a file or folder if it is garbage under a name that no other process uses, else put it back."""
    taken = _take(path, directory)
    if taken is None:
        return False
    if not is_garbage(taken):
        put_back(taken, path, directory)
        return False
    if taken.is_dir():
        shutil.rmtree(taken)
    else:
        taken.unlink()
    return True


def _remove_unused(folder: Path) -> bool:
    """Remove a recipe's folder in which nothing is but a description.

    Only empty folders can be removed like this, so that no shard is ever away that is committed meanwhile.
    """
    description = folder / "recipe.json"
    text = read_regular(description) if description.exists() else None
    try:
        for inner in (*folder.glob("shards/*"), *(folder / name for name in ("shards", "quarantine", "tmp"))):
            with contextlib.suppress(FileNotFoundError):
                inner.rmdir()
        description.unlink(missing_ok=True)
        folder.rmdir()
    except OSError as error:
        if error.errno not in _NOT_EMPTY:
            raise
        if text is not None and not description.exists():
            replace(description, text)
        return False
    return True


def _copies(store: Store, among: Iterable[str]) -> Iterator[str]:
    """Yield the names of shards, small ones first, whose rows and rejections are all in shards that stay.

    A row is in others only as a row. A rejection that a row answers need not stay.
    """
    rows = _Holders(entry.keys for entry in store.entries.values())
    rejections = _Holders(_unanswered(store, entry) for entry in store.entries.values())
    entries = {name: store.entries[name] for name in among if name in store.entries}
    for name, entry in sorted(entries.items(), key=lambda item: len(item[1].keys)):
        refused = _unanswered(store, entry)
        if rows.are_several(entry.keys) and rejections.are_several(refused):
            rows.lose(entry.keys)
            rejections.lose(refused)
            yield name


def _remove_copies(store: Store, names: Iterable[str]) -> list[str]:
    """Remove shards whose rows are in others, and return the names of those that were.

    All are taken away, then the others are listed anew: what is not in them is put back.
    """
    taken = {}
    for name in names:
        if path := _take(store.path(name), store.directory):  # else found damaged meanwhile
            taken[name] = path
    store.refresh()
    copies = [name for name, path in taken.items() if _is_copy(store, path)]
    for name in copies:
        taken.pop(name).unlink()
    for name, path in taken.items():
        put_back(path, store.path(name), store.directory)
    return copies


def _is_copy(store: Store, path: Path) -> bool:
    """Return whether all that a shard holds now is in the store without it."""
    try:
        entry = check_file(path, store.recipe.id)
    except CorruptShard:
        return False  # for its next reader to find
    return bool((store.places(entry.keys) >= 0).all()) and not store.missing(Keys.of(entry.rejected))


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
        provenance = _provenance(_decoded(store.path(name)) for name in small)
        merged = {_merge(store, unit, provenance) for unit in units}
        store.refresh()
        _remove_copies(store, _copies(store, small.keys() - merged))
        store.refresh()
    return Compacted(store.recipe, before, len(store.entries))


def _decoded(path: Path) -> Shard:
    try:
        return decode(path.read_bytes())
    except CorruptShard as error:
        raise CacheError(f"The shard {path} is damaged: {error}. Put it right with: fc7 cache repair") from error


def _merge(store: Store, unit: Keys, provenance: Mapping[str, str]) -> str:
    """Commit one merged shard and return its file name."""
    has_row = store.places(unit) >= 0
    keys = unit[has_row]
    rejected = {key: store.rejected[key] for key in unit[~has_row] if key in store.rejected}
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
