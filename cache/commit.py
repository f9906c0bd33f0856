"""The commit of one shard: write its bytes whole, read them back, and only then report its rows as saved."""

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
    """Commit a shard's bytes under the name that follows from its keys; a second delivery changes nothing.

    When this returns, its rows survive a crash and a power loss. Open stores see them after a refresh.

    Parameters
    ----------
    data
        From :func:`fc7.cache.shard.encode`.
    directory
        The cache; the recipe's folder exists already.

    Raises
    ------
    CorruptShard
        The bytes are damaged, or the shard is of another recipe. Nothing was written.
    CacheError
        The disk refuses.
    """
    shard, recipe_id = shards.decode(data), shards.check(data).recipe
    if recipe_id != recipe.id:
        raise CorruptShard(f"A shard of recipe {recipe_id[:12]} came for {recipe.id[:12]}.")
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

    If another writer's sound shard has that name, the commit succeeds.

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
        The store does not answer.
    """
    for _ in range(2):  # the first try may meet another writer's damaged shard, and sets it aside
        publish(replica.put(data, path) if replica else data, path, path.parents[2] / "tmp")
        entry = admit(path)
        if entry is not None:
            return entry
    raise OSError(errno.EIO, f"what was written to {path} is not what is read from it")


def refusal(location: str | Path, rows: int, error: OSError) -> CacheError:
    """Return the error of a cache that took no rows: how many, why, and what to do."""
    return CacheError(
        f"The cache {location} refused {rows} rows: {error.strerror or error}. "
        "What was committed before is kept; free some space or name another cache with --cache, then run again."
    )


def admit(path: Path) -> ShardEntry | None:
    """Check a shard; None if it does not exist, or is damaged or unreadable and was set aside.

    Raises
    ------
    CacheError
        It cannot be read for another reason than its own damage, or cannot be set aside.
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
    """Move a damaged shard into its recipe's quarantine; its rows are missing until they are computed again."""
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
