"""List, verify and repair the content of a cache directory. No backbone is loaded."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CacheError, CorruptShard
from .atomic_write import replace, sync_folder
from .commit import set_aside
from .directory import existing_directory
from .index import Index, ShardEntry, stat_line
from .maintenance_lock import alone
from .recipe import Recipe
from .replica import Replica
from .shard import check_file, recipe_of
from .store import READERS, Store

COLUMNS = ("backbone", "layer", "dim", "precision", "dtype", "rows", "rejected", "shards", "MB", "set aside", "recipe")


@dataclass(frozen=True)
class Contents:
    """What a cache holds of one recipe.

    Attributes
    ----------
    rows, rejected
        Number of images with a row, and of files known not to be an image.
    shards, bytes
        Number of files, and their total size.
    quarantined
        Number of files set aside because their bytes were not as committed.
    """

    recipe: Recipe
    rows: int
    rejected: int
    shards: int
    bytes: int
    quarantined: int

    def row(self) -> list[str]:
        """Return the cells under :data:`COLUMNS`."""
        recipe = self.recipe
        identity = [recipe.backbone, recipe.layer, str(recipe.dim), recipe.precision, recipe.dtype]
        counts = [self.rows, self.rejected, self.shards, round(self.bytes / 1e6, 1), self.quarantined]
        return [*identity, *map(str, counts), recipe.id[:12]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return vars(self) | {"recipe": self.recipe.to_dict()}


class Damage(NamedTuple):
    """A damaged file of the cache. ``file`` is relative to the cache."""

    file: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """The result of a verification.

    Attributes
    ----------
    recipes, shards, rows
        Counts of each; only rows of sound shards.
    read
        Shards whose every byte was read now. The others were read before, and their size, times and inode have not
        changed since.
    damaged
        Files that are not as committed.
    """

    recipes: int
    shards: int
    rows: int
    read: int
    damaged: list[Damage]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"damaged": [damage._asdict() for damage in self.damaged]}


def info(directory: Path | str | None = None) -> list[Contents]:
    """Return what a cache holds, one entry per recipe; shards seen for the first time are checked.

    Raises
    ------
    CacheError
        There is no cache, or a recipe's description is damaged.
    """
    directory = existing_directory(directory)
    if replica := Replica.of(directory):
        replica.fetch_all()
    contents = [_contents(folder) for folder in recipe_folders(directory)]
    return [entry for entry in contents if entry.shards or entry.quarantined]  # a failed run may leave an empty folder


def durability(directory: Path) -> str:
    """Return what committed rows survive: ``power loss``, or only ``process crash`` if folders cannot be synced."""
    return "power loss" if sync_folder(directory) else "process crash"


def verify(directory: Path | str | None = None, *, deep: bool = False) -> Verdict:
    """Check a cache and change nothing in it.

    Parameters
    ----------
    deep
        Do not trust the index: read every byte of every shard, and check every number.

    Raises
    ------
    CacheError
        There is no cache.
    """
    directory = existing_directory(directory)
    replica = Replica.of(directory)
    stored = replica.fetch_all(again=deep) if replica else None
    folders = recipe_folders(directory)
    index = Index(directory)
    damaged = [] if replica is None else [_damage(path, reason, directory) for path, reason in replica.damaged.items()]
    rows = read = 0
    shards = len(damaged)
    for folder in folders:
        try:
            described(folder)
        except CacheError as error:
            damaged.append(_damage(folder / "recipe.json", str(error), directory))
        known = {} if deep else index.shards(folder.name)
        paths = [path for path in sorted(folder.glob("shards/*/*.h5")) if stored is None or path.name in stored]
        for path, entry in _looked_at(paths, known, deep=deep):
            shards += 1
            if isinstance(entry, ShardEntry):
                rows += len(entry.keys)
                read += entry is not known.get(path.name)
            else:
                damaged.append(_damage(path, entry, directory))
    return Verdict(recipes=len(folders), shards=shards, rows=rows, read=read, damaged=damaged)


def repair(directory: Path | str | None = None) -> list[Damage]:
    """Repair what a deep verification finds, and return it; the index is deleted.

    Damaged shards are set aside: their rows are missing until the next extract computes them. A recipe's lost
    description is restored from its shards.

    Raises
    ------
    CacheError
        There is no cache, another maintenance is running, or the disk refuses.
    """
    with alone(directory) as directory:
        damaged = verify(directory, deep=True).damaged
        for damage in damaged:
            path = directory / damage.file
            if path.name == "recipe.json":
                _describe_anew(path)
            else:
                set_aside(path, damage.reason)
        Index(directory).forget_all()
    return damaged


def _damage(path: Path, reason: str, directory: Path) -> Damage:
    return Damage(path.relative_to(directory).as_posix(), reason)


def recipe_folders(directory: Path) -> list[Path]:
    """Return the folders of all recipes."""
    return sorted(folder for folder in directory.glob("recipes/*") if folder.is_dir())


def _contents(folder: Path) -> Contents:
    store = Store(described(folder), folder.parents[1])
    files = [store.path(name) for name in store.entries]
    return Contents(
        store.recipe,
        rows=len(store),
        rejected=len(store.rejected),
        shards=len(files),
        bytes=sum(file.stat().st_size for file in files),
        quarantined=len(list(folder.glob("quarantine/*"))),
    )


def described(folder: Path) -> Recipe:
    """Return the recipe that describes a folder; a damaged description, or another recipe's, is a CacheError."""
    path = folder / "recipe.json"
    try:
        recipe = Recipe.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, CacheError) as error:
        raise CacheError(f"{path} is damaged ({error}). Put it right with: fc7 cache repair") from error
    if recipe.id != folder.name:
        raise CacheError(f"{path} describes recipe {recipe.id[:12]}, not its folder. Put it right: fc7 cache repair")
    return recipe


def _describe_anew(path: Path) -> None:
    for shard in sorted(path.parent.glob("shards/*/*.h5")):
        with contextlib.suppress(OSError, CorruptShard):
            recipe = recipe_of(shard)
            if recipe.id == path.parent.name:
                replace(path, f"{recipe.to_json()}\n".encode())
                return
    path.unlink(missing_ok=True)  # no shard knows the recipe, and nothing is lost: the next extract writes it


def _looked_at(
    paths: Sequence[Path], known: Mapping[str, ShardEntry], *, deep: bool
) -> Iterator[tuple[Path, ShardEntry | str]]:
    """Yield each shard with its entry, or with the reason why it is damaged."""

    def look(path: Path) -> ShardEntry | str:
        try:
            entry = known.get(path.name)
            if entry and stat_line(path.stat()) == entry.stat:
                return entry
            return check_file(path, path.parents[2].name, deep=deep)
        except (CorruptShard, OSError) as error:
            return str(error)

    with ThreadPoolExecutor(READERS) as pool:
        yield from zip(paths, pool.map(look, paths), strict=True)
