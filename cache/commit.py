"""The commit of one shard: write its bytes whole, read them back, and only then report its rows as saved."""

import errno
import logging
import os
from pathlib import Path

from ..errors import CacheError, CorruptShard
from . import shard as shards
from .atomic_write import link, make_folder, publish, replace
from .format import fingerprint, require_same
from .index import ShardEntry
from .recipe import Recipe
from .replica import Replica
from .shard import unit_id

logger = logging.getLogger(__name__)

TRIES = 10  # a commit may meet another writer's damaged shard, and gc, which removes empty folders


def deliver(data: bytes, recipe: Recipe, directory: Path) -> Path:
    """Commit a shard's bytes under the name that follows from its keys; a second delivery changes nothing.

    When this returns, its rows survive a crash and a power loss. Open stores see them after a refresh.

    Parameters
    ----------
    data
        From :func:`fc7.cache.shard.encode`.
    directory
        The cache.

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
    name = unit_id(recipe.id, [*shard.keys, *shard.rejected])
    path = directory / "recipes" / recipe.id / "shards" / name[:2] / f"{name}.h5"
    replica = Replica.of(directory)
    opened = fingerprint(directory)
    try:
        commit(data, path, recipe, replica)
    except OSError as error:
        raise refusal(replica.url if replica else directory, len(shard.keys), error) from error
    require_same(directory, opened)
    return path


def commit(data: bytes, path: Path, recipe: Recipe, replica: Replica | None = None) -> ShardEntry:
    """Commit a shard's bytes; when this returns, its rows survive a crash and a power loss.

    If another writer's sound shard has that name, the commit succeeds. The folders in the cache that it needs are
    created, the cache itself is not.

    Parameters
    ----------
    path
        Where it belongs in the cache directory.
    replica
        Given if the directory is the replica of a cache in an object store: the shard is put there first.

    Raises
    ------
    OSError
        The disk or the store refuses.
    CacheError
        The store does not answer, or the cache is gone.
    """
    folder, directory = path.parents[2], path.parents[4]
    for _ in range(TRIES):
        try:
            publish(replica.put(data, path) if replica else data, path, folder / "tmp", directory)
            describe(recipe, directory)
            entry = admit(path)
        except FileNotFoundError:  # gc has removed a folder that was empty until now, or a shard kept twice
            fingerprint(directory)
            continue
        if entry is not None:
            return entry
    raise OSError(errno.EIO, f"what was written to {path} is not what is read from it")


def describe(recipe: Recipe, directory: Path) -> None:
    """Write the description of a recipe into its folder, unless it is there; raises OSError."""
    path = directory / "recipes" / recipe.id / "recipe.json"
    if not os.path.exists(path):  # noqa: PTH110 - at every commit, and a Path is slow
        make_folder(path.parent / "shards", directory)
        replace(path, f"{recipe.to_json()}\n".encode())


def refusal(location: str | Path, rows: int, error: OSError) -> CacheError:
    """Return the error of a cache that took no rows: how many, why, and what to do."""
    return CacheError(
        f"The cache {location} refused {rows} rows: {error.strerror or error}. "
        "What was committed before is kept; free some space or name another cache with --cache, then run again."
    )


def admit(path: Path, *, deep: bool = False) -> ShardEntry | None:
    """Check a shard; None if it was damaged and is set aside.

    Parameters
    ----------
    deep
        As for :func:`fc7.cache.shard.check_file`.

    Raises
    ------
    CacheError
        It cannot be read now. That is not damage, and nothing is set aside.
    FileNotFoundError
        There is no such shard.
    OSError
        It is damaged and cannot be set aside.
    """
    while True:
        try:
            found = path.stat()
            return shards.check_file(path, path.parents[2].name, deep=deep)
        except CorruptShard as error:
            if _set_aside(path, found, str(error)):
                return None
        except FileNotFoundError:
            raise
        except OSError as error:
            raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> CacheError:
    """Return the error of a shard that cannot be read now, which is not damage."""
    advice = "Put that right, then run again."
    if error.errno == errno.EIO:
        advice = "Run again. If that goes on, delete the file, and compute its rows again with: fc7 extract"
    return CacheError(f"The shard {path} cannot be read: {error.strerror or error}. {advice}")


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
    path.replace(target)
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
        link(taken, path)
    taken.unlink(missing_ok=True)


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Return whether both are of one file with one content; its name may have changed."""
    return (one.st_ino, one.st_size, one.st_mtime_ns) == (other.st_ino, other.st_size, other.st_mtime_ns)
