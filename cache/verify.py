"""List, verify and repair the content of a cache directory. No backbone is loaded."""

import contextlib
import errno
import logging
import os
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CorruptRecipe, CorruptShard
from .commit import admit, described, put_back
from .directory import alone, open_directory
from .files import replace, sync_folder
from .format import in_one_line, recipe_folders, shard_names, shard_path
from .index import Index, ShardEntry
from .listing import survey
from .recipe import Recipe
from .replica import Replica
from .shard import check_file, recipe_of
from .store import Store

logger = logging.getLogger(__name__)

COLUMNS = ("backbone", "layer", "dim", "precision", "dtype", "rows", "rejected", "shards", "MB", "set aside", "recipe")


_LEFT = {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}  # of a folder that is gone, or is in use


@dataclass(frozen=True)
class Contents:
    """What a cache holds of one recipe."""

    recipe: Recipe
    # Number of images with a row, and of files known not to be an image.
    rows: int
    rejected: int
    # Number of files, and their total size.
    shards: int
    bytes: int
    quarantined: int  # number of files set aside because their bytes were not as committed

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
    """The result of a verification."""

    # Counts of each; only rows of sound shards.
    recipes: int
    shards: int
    rows: int
    # Shards whose every byte was read now. The others were read before, and their size, times and inode have not
    # changed since.
    read: int
    damaged: list[Damage]  # files that are not as committed

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"damaged": [damage._asdict() for damage in self.damaged]}


def info(directory: Path | str | None = None) -> list[Contents]:
    """Return what a cache holds, one entry per recipe; shards seen for the first time are checked.

    A recipe whose description is damaged is left out, with a warning.

    Raises
    ------
    CacheError
        There is no cache, or it cannot be read now.
    """
    directory = open_directory(directory, new=False)
    if replica := Replica.of(directory):
        replica.fetch_all()
    with in_one_line(directory):
        contents = [_contents(folder, recipe) for folder, recipe in described_folders(directory)]
    return [entry for entry in contents if entry.shards or entry.quarantined]  # a failed run may leave an empty folder


def durability(directory: Path) -> str:
    """Return what committed rows survive: ``power loss``, or only ``process crash`` if folders cannot be synced."""
    with in_one_line(directory):
        return "power loss" if sync_folder(directory) else "process crash"


def verify(directory: Path | str | None = None, *, deep: bool = False) -> Verdict:
    """Check a cache and change nothing in it.

    Other processes may add, merge and remove shards meanwhile: those are judged that are there in the end.

    Parameters
    ----------
    deep
        Do not trust the index: read every byte of every shard, and check every number.

    Raises
    ------
    CacheError
        There is no cache, or it cannot be read now, which is not damage.
    """
    directory = open_directory(directory, new=False)
    replica = Replica.of(directory)
    stored = replica.fetch_all(again=deep) if replica else None
    index = Index(directory)
    damaged = [] if replica is None else [_damage(path, reason, directory) for path, reason in replica.damaged.items()]
    rows = read = recipes = 0
    shards = len(damaged)
    with in_one_line(directory):
        for folder in recipe_folders(directory):
            known = {} if deep else index.shards(folder.name)
            found = _looked_at(folder, known, stored, deep=deep)
            if (folder / "recipe.json").exists() or found:  # else gc removed it, or another process is making it
                recipes += 1
                try:
                    described(folder)
                except CorruptRecipe as error:
                    damaged.append(_damage(folder / "recipe.json", str(error), directory))
            shards += len(found)
            for name, entry in found.items():
                if isinstance(entry, ShardEntry):
                    rows += len(entry.keys)
                    read += entry is not known.get(name)
                else:
                    damaged.append(_damage(shard_path(folder, name), entry, directory))
    return Verdict(recipes=recipes, shards=shards, rows=rows, read=read, damaged=damaged)


def repair(directory: Path | str | None = None) -> list[Damage]:
    """Repair what a deep verification finds, and return it; the index is deleted.

    Damaged shards are set aside: their rows are missing until the next extract computes them. Each is looked at again
    for that; what is sound by then stays. Shards that were set aside though they are sound are put back. A recipe's
    lost description is restored from its shards.

    Raises
    ------
    CacheError
        There is no cache, another maintenance is running, or the disk refuses.
    """
    with alone(directory) as directory, in_one_line(directory):
        Index(directory).forget_all()
        restore(directory)
        return [damage for damage in verify(directory, deep=True).damaged if _put_right(directory / damage.file)]


def _put_right(path: Path) -> bool:
    """Put right what is still damaged; False if it is not."""
    if path.name == "recipe.json":
        return _describe_anew(path)
    try:
        return admit(path, deep=True) is None
    except FileNotFoundError:
        return False


def restore(directory: Path) -> None:
    """Put back what gc, compact or repair took away and did not remove.

    These are files that one of them was about to look at once more when it was killed, and shards that were set aside
    though they are sound. What is not fc7's is left, with a warning.
    """
    _restore_taken(directory)
    for folder in recipe_folders(directory):
        for path in sorted(folder.glob("quarantine/*.h5")):
            if path.is_file() and is_sound(path):
                logger.warning("fc7: shard %s was set aside, but is sound. It is put back.", path.name[:12])
                put_back(path, shard_path(folder, path.name), directory)


def _restore_taken(directory: Path) -> None:
    taken = directory / "removing"
    if taken.is_symlink():  # what it leads to is not fc7's
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(taken))
    for top in sorted(taken.glob("*")):
        if top.is_symlink() or not (top.name in ("claims", "recipes") or top.name.startswith(".FORMAT.")):
            leave(top)
            continue
        for path in sorted([top, *top.rglob("*")], reverse=True):  # what is in a folder before the folder
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                put_back(path, directory / path.relative_to(taken), directory)
    try:
        taken.rmdir()
    except OSError as error:
        if error.errno not in _LEFT:
            raise


def leave(path: Path) -> None:
    """Say that something in the cache is not fc7's, and what to do."""
    logger.warning("fc7: %s is not fc7's and is left. If nothing needs it: rm -r %s", path, shlex.quote(str(path)))


def is_sound(path: Path) -> bool:
    """Return whether every byte and number of a shard that was set aside is as it was committed."""
    try:
        check_file(path, path.parents[1].name, deep=True)
    except CorruptShard:
        return False
    return True


def _damage(path: Path, reason: str, directory: Path) -> Damage:
    return Damage(path.relative_to(directory).as_posix(), reason)


def _contents(folder: Path, recipe: Recipe) -> Contents:
    store = Store(recipe, folder.parents[1])
    return Contents(
        store.recipe,
        rows=len(store),
        rejected=len(store.rejected),
        shards=len(store.entries),
        bytes=sum(int(entry.stat.split()[0]) for entry in store.entries.values()),
        quarantined=len(list(folder.glob("quarantine/*"))),
    )


def described_folders(directory: Path) -> Iterator[tuple[Path, Recipe]]:
    """Yield the folders of recipes with what describes them; those that nothing describes are left out.

    Those with shards are lost to their readers, who are warned.
    """
    for folder in recipe_folders(directory):
        try:
            yield folder, described(folder)
        except CorruptRecipe as error:
            if shard_names(folder):
                logger.warning("fc7: %s", error)


def _describe_anew(path: Path) -> bool:
    """Restore a lost description from a shard; False if it is not lost any more."""
    folder = path.parent
    with contextlib.suppress(CorruptRecipe):
        described(folder)
        return False
    for _ in range(2):  # a shard may be committed before the damaged description is removed
        for name in shard_names(folder):
            with contextlib.suppress(FileNotFoundError, CorruptShard):
                recipe = recipe_of(shard_path(folder, name))
                if recipe.id == folder.name:
                    replace(path, f"{recipe.to_json()}\n".encode())
                    return True
        path.unlink(missing_ok=True)  # no shard knows the recipe, and nothing is lost: the next extract writes it
    return True


def _looked_at(
    folder: Path, known: Mapping[str, ShardEntry], stored: Collection[str] | None, *, deep: bool
) -> dict[str, ShardEntry | str]:
    """Return the file name of each of a recipe's shards with its entry, or with the reason why it is damaged."""

    def check(path: Path) -> ShardEntry | str | None:
        try:
            return check_file(path, folder.name, deep=deep)
        except CorruptShard as error:
            return str(error)
        except FileNotFoundError:
            return None  # removed meanwhile

    def names() -> list[str]:
        return [name for name in shard_names(folder) if stored is None or name in stored]

    looked: dict[str, ShardEntry | str | None] = {**survey(folder, names, known, check)}
    # What is damaged is looked at twice: it may have been set aside and computed again.
    looked |= {name: check(shard_path(folder, name)) for name, found in looked.items() if isinstance(found, str)}
    return {name: found for name, found in looked.items() if found is not None}
