"""The commit of one shard: write its bytes whole, read them back, and only then report its rows as saved."""

import errno
import logging
import os
from pathlib import Path

from ..errors import CacheError, CorruptRecipe, CorruptShard
from . import shard as shards
from . import system
from .files import link, make_folder, publish, read_regular, replace
from .format import HEADER_BYTES, fingerprint, require_same, shard_path
from .index import ShardEntry
from .recipe import Recipe
from .replica import Replica
from .shard import unit_id
from .tables import counted

logger = logging.getLogger(__name__)

_NO_FILE = {errno.ENOENT, errno.EISDIR, errno.EINVAL}  # of a description that is none, or no regular file

TRIES = 10  # a commit may meet another writer's damaged shard, and gc, which removes empty folders


def deliver(data: bytes, recipe: Recipe, directory: Path) -> Path:
    """Commit a shard's bytes under the name that follows from its keys; a second delivery changes nothing.

    When this returns, its rows survive a crash and a power loss. Open stores see them after a refresh.

    Raises
    ------
    CorruptShard
        The bytes are damaged, or the shard is of another recipe. Nothing was written.
    CacheError
        The disk refuses, or the cache is gone.
    """
    shard, recipe_id = shards.decode(data), shards.check(data).recipe
    if recipe_id != recipe.id:
        raise CorruptShard(f"A shard of recipe {recipe_id[:12]} came for {recipe.id[:12]}.")
    path = shard_path(directory / "recipes" / recipe.id, f"{unit_id(recipe.id, [*shard.keys, *shard.rejected])}.h5")
    commit(data, path, recipe, Replica.of(directory), fingerprint(directory))
    return path


def commit(data: bytes, path: Path, recipe: Recipe, replica: Replica | None, opened: tuple[int, int]) -> ShardEntry:
    """Commit a shard's bytes; when this returns, its rows survive a crash and a power loss.

    If another writer's sound shard has that name, the commit succeeds. The folders in the cache that it needs are
    created, the cache itself is not.

    Parameters
    ----------
    path
        Where it belongs in the cache directory.
    replica
        Given if the directory is the replica of a cache in an object store: the shard is put there first.
    opened
        The fingerprint of the cache when it was opened.

    Raises
    ------
    CacheError
        The disk or the store refuses, the store does not answer, or the cache is gone.
    """
    folder, directory = path.parents[2], path.parents[4]
    try:
        require_same(directory, opened)
        if replica:
            replica.describe(recipe)
        for _ in range(TRIES):
            try:
                describe(recipe, directory)  # first: nobody finds the shards of a folder that nothing describes
                publish(replica.put(data, path) if replica else data, path, folder / "tmp", directory)
                describe(recipe, directory)  # again: until there was a shard, gc could remove it
                entry = admit(path)
            except FileNotFoundError:  # gc has removed a folder that was empty until now, or a shard kept twice
                require_same(directory, opened)
                continue
            if entry is not None:
                require_same(directory, opened)
                return entry
        raise OSError(errno.EIO, f"what was written to {path} is not what is read from it")
    except OSError as error:
        rows = shards.Header.decode(data[:HEADER_BYTES]).rows
        raise CacheError(
            f"The cache {replica.url if replica else directory} refused {counted(rows, 'row')}: "
            f"{error.strerror or error}. What was committed before is kept; free some space or name another cache with "
            "--cache, then run again."
        ) from error


def describe(recipe: Recipe, directory: Path) -> None:
    """Write the description of a recipe into its folder, unless it is there; raises OSError."""
    path = directory / "recipes" / recipe.id / "recipe.json"
    if not os.path.exists(path):  # noqa: PTH110 - at every commit, and a Path is slow
        make_folder(path.parent / "shards", directory)
        replace(path, f"{recipe.to_json()}\n".encode())


def described(folder: Path) -> Recipe:
    """Return the recipe that describes a folder.

    Raises
    ------
    CorruptRecipe
        The description is lost, damaged, or another recipe's.
    OSError
        It cannot be read now.
    """
    path = folder / "recipe.json"
    try:
        recipe = Recipe.from_json(read_regular(path).decode())
    except (OSError, UnicodeDecodeError, CacheError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_FILE:
            raise
        raise CorruptRecipe(f"{path} is damaged ({error}). Put it right with: fc7 cache repair") from error
    if recipe.id != folder.name:
        raise CorruptRecipe(f"{path} describes recipe {recipe.id[:12]}, not its folder. Put it right: fc7 cache repair")
    return recipe


def admit(path: Path, *, deep: bool = False) -> ShardEntry | None:
    """Check a shard by :func:`fc7.cache.shard.check_file`; None if it was damaged and is set aside.

    Raises
    ------
    CacheError, FileNotFoundError
        It cannot be read now, or is not there.
    OSError
        It is damaged and cannot be set aside.
    """
    while True:
        with shards.readable(path):
            found = path.stat()
        try:
            return shards.check_file(path, path.parents[2].name, deep=deep)
        except CorruptShard as error:
            if _set_aside(path, found, str(error)):
                return None


def _set_aside(path: Path, found: os.stat_result, reason: str) -> bool:
    """Move a damaged shard into its recipe's quarantine; its rows are missing until they are computed again.

    By now, other processes may have set it aside, and computed it again. What lies there is moved only if it is the
    file that was found damaged; if it is another one after all, it is put back.

    Returns
    -------
    bool
        False if there is another file now.
    """
    target = path.parents[2] / "quarantine" / path.name
    if not _is_same(path.stat(), found):
        return False
    make_folder(target.parent, path.parents[4])
    system.replace(path, target)
    if not _is_same(target.stat(), found):
        put_back(target, path, path.parents[4])
        return False
    logger.warning("shard %s is damaged: %s. Set aside; its rows will be computed again.", path.name[:12], reason)
    return True


def put_back(taken: Path, path: Path, directory: Path) -> None:
    """Give a file that was taken away its name in the cache again, unless there is a newer file of that name."""
    make_folder(path.parent, directory)
    if taken.is_symlink():  # a claim
        if not os.path.lexists(path):
            taken.rename(path)
    else:
        try:
            link(taken, path)
        except FileNotFoundError:
            if taken.exists():
                raise
            return  # another process has put it back by now
    taken.unlink(missing_ok=True)


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Return whether both are of one file with one content; its name may have changed."""
    return (one.st_ino, one.st_size, one.st_mtime_ns) == (other.st_ino, other.st_size, other.st_mtime_ns)
