"""The commit of one shard: its bytes appear whole, are read back, and only then are its rows said to be kept."""

import errno
import logging
from pathlib import Path

from ..errors import CacheError, CorruptShard
from . import shard as shards
from .atomic_write import make_folder, publish
from .index import ShardEntry
from .recipe import Recipe
from .replica import Replica
from .shard import unit_id

logger = logging.getLogger(__name__)


def deliver(data: bytes, recipe: Recipe, directory: Path) -> Path:
    """Commit a shard's bytes under the name that follows from what it holds; delivered twice, it is there once.

    When this returns, its rows survive a crash and a power loss. Stores that are open see them after a refresh.

    Parameters
    ----------
    data
        What :func:`fc7.cache.shard.encode` made.
    directory
        The cache, in which the recipe has its folder already.

    Raises
    ------
    CorruptShard
        A bit is not as it was made, or the shard is of another recipe. Nothing was written.
    CacheError
        The disk refuses.
    """
    shard, whose = shards.decode(data), shards.check(data).recipe
    if whose != recipe.id:
        raise CorruptShard(f"A shard of recipe {whose[:12]} came for {recipe.id[:12]}.")
    name = unit_id(recipe.id, [*shard.keys, *shard.rejected])
    path = directory / "recipes" / recipe.id / "shards" / name[:2] / f"{name}.h5"
    replica = Replica.of(directory)
    try:
        commit(data, path, replica)
    except OSError as error:
        raise refusal(replica.url if replica else directory, len(shard.keys), error) from error
    return path


def commit(data: bytes, path: Path, replica: Replica | None = None) -> ShardEntry:
    """Commit a shard's bytes; when this returns, its rows survive a crash and a power loss.

    Another writer's shard of that name is success if it is sound.

    Parameters
    ----------
    path
        Where it belongs in the cache directory.
    replica
        The directory is the replica of a cache in an object store: the shard is put there first.

    Raises
    ------
    OSError
        The disk or the store refuses.
    CacheError
        The store does not answer.
    """
    for _ in range(2):  # the first time, another's may be there, and damaged; it is set aside then
        publish(replica.put(data, path) if replica else data, path, path.parents[2] / "tmp")
        entry = admit(path)
        if entry is not None:
            return entry
    raise OSError(errno.EIO, f"what was written to {path} is not what is read from it")


def refusal(where: str | Path, rows: int, error: OSError) -> CacheError:
    """Return what says that a cache took no rows, and what to do."""
    return CacheError(
        f"The cache {where} refused {rows} rows: {error.strerror or error}. "
        "What was committed before is kept; free some space or name another cache with --cache, then run again."
    )


def admit(path: Path) -> ShardEntry | None:
    """Check a shard; None if there is none, or it was damaged or on a bad place of the disk, and is set aside now.

    Raises
    ------
    CacheError
        It cannot be read for a reason that is not the shard's, or cannot be set aside.
    """
    try:
        return shards.check_file(path, path.parents[2].name)
    except FileNotFoundError:
        return None
    except CorruptShard as error:
        set_aside(path, str(error))
    except OSError as error:
        if error.errno != errno.EIO:
            raise CacheError(f"The shard {path} cannot be read: {error.strerror or error}.") from error
        set_aside(path, str(error.strerror))
    return None


def set_aside(path: Path, reason: str) -> None:
    """Move a damaged shard into its recipe's quarantine: its rows are missing from now on.

    Raises
    ------
    CacheError
        It cannot be moved.
    """
    target = path.parents[2] / "quarantine" / path.name
    try:
        make_folder(target.parent)
        path.replace(target)
    except FileNotFoundError:
        return  # another process was first
    except OSError as error:
        raise CacheError(
            f"The shard {path} is damaged ({reason}) and cannot be set aside: {error.strerror or error}."
        ) from error
    logger.warning("shard %s is damaged: %s. Set aside; its rows will be computed again.", path.name[:12], reason)
