"""Delivery: the finished bytes of a shard, made elsewhere, are committed like those that are made here."""

from pathlib import Path

from ..errors import CorruptShard
from . import shard as shards
from .commit import commit, refusal
from .recipe import Recipe
from .replica import Replica
from .shard import unit_id


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
