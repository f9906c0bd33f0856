"""Delivery: the finished bytes of a shard, made elsewhere, are committed like those that are made here."""

import errno
from pathlib import Path

from ..errors import CacheError, CorruptShard
from . import shard as shards
from .durable import publish
from .recipe import Recipe
from .shard import unit_id
from .store import set_aside


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
    folder = directory / "recipes" / recipe.id
    path = folder / "shards" / name[:2] / f"{name}.h5"
    try:
        publish(data, path, folder / "tmp")
        if not _sound(path, recipe):  # it was another's, and damaged; it is set aside by now
            publish(data, path, folder / "tmp")
            if not _sound(path, recipe):
                raise OSError(errno.EIO, f"what was written to {path} is not what is read from it")
    except OSError as error:
        raise CacheError(
            f"The cache {directory} refused {len(shard.keys)} rows: {error.strerror or error}. "
            "What was committed before is kept; free some space or name another cache with --cache, then run again."
        ) from error
    return path


def _sound(path: Path, recipe: Recipe) -> bool:
    """Read back what is there now; what is damaged is set aside."""
    try:
        shards.admit(path, recipe.id)
    except CorruptShard as error:
        set_aside(path, str(error))
        return False
    return True
