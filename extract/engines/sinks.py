"""Sinks: what a pipeline appends its shards to. A store commits them; a buffer holds them for another process."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ...cache.commit import deliver
from ...cache.recipe import Recipe
from ...cache.shard import Shard, answering, encode

if TYPE_CHECKING:
    from ...cache.store import Store

_NOWHERE = Path("/dev/null/fc7")  # no claim can be made in this folder: the process that commits makes them


class BufferSink:
    """The shards of one recipe, finished but not committed. It can be sent to another process and back.

    Parameters
    ----------
    wanted
        The keys that the committing process lacks.
    rows
        How many rows it has, about; 0 if it has none.
    reopened
        Rejections that it has of these images, which are looked at again.
    """

    def __init__(self, recipe: Recipe, wanted: Collection[bytes], rows: int, reopened: Mapping[bytes, str]) -> None:
        self.recipe, self.directory, self.reopened = recipe, _NOWHERE, reopened
        self.shards: list[bytes] = []
        self._wanted, self._rows = set(wanted), rows

    def __len__(self) -> int:
        """Return how many rows the committing process has, with those from here."""
        return self._rows

    def missing(self, keys: Iterable[bytes]) -> list[bytes]:
        """Return the keys that are wanted, sorted, each once."""
        return sorted(self._wanted.intersection(keys))

    def committed(self, keys: Iterable[bytes]) -> bool:
        """Return False: nothing is committed from here."""
        return False

    def append(self, shard: Shard) -> None:
        """Encode a shard to the bytes of its file, and keep them."""
        answer = answering(shard, self.reopened)
        if answer.keys or answer.rejected:
            self.shards.append(encode(answer, self.recipe))
        self._wanted.difference_update(shard.keys, shard.rejected)
        self._rows += len(shard.keys)

    def refresh(self) -> None:
        """Do nothing: no other process writes here."""

    def deliver(self, directory: Path) -> None:
        """Commit the shards to a cache, and keep them no longer; raise what :func:`fc7.cache.commit.deliver` raises."""
        while self.shards:
            deliver(self.shards[0], self.recipe, directory)
            del self.shards[0]


ShardSink: TypeAlias = "Store | BufferSink"
