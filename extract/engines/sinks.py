"""What a pipeline puts its shards into: a store, or an outbox where somebody else commits them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ...cache.recipe import Recipe
from ...cache.shard import Shard, encode

_NOWHERE = Path("/dev/null/fc7")  # a folder in which no claim can be made: claims are the business of who commits


class ShardSink(Protocol):
    """What a pipeline asks of a :class:`fc7.cache.Store`."""

    recipe: Recipe
    directory: Path

    @property
    def rejected(self) -> Mapping[bytes, str]:
        """Keys of bytes that are no image, with the reason."""

    def __contains__(self, key: bytes) -> bool: ...

    def missing(self, keys: Iterable[bytes]) -> Sequence[bytes]:
        """Return the keys with neither a row nor a recorded rejection, sorted, each once."""

    def committed(self, keys: Iterable[bytes]) -> bool:
        """Say whether a shard of exactly these keys is there by now."""

    def append(self, shard: Shard) -> Any:
        """Take rows."""

    def refresh(self) -> None:
        """Look again at what is there."""


class BufferSink:
    """The shards of one recipe, finished but not committed.

    Parameters
    ----------
    wanted
        The keys that whoever commits them does not have.
    """

    def __init__(self, recipe: Recipe, wanted: Collection[bytes]) -> None:
        self.recipe, self.directory = recipe, _NOWHERE
        self.rejected: Mapping[bytes, str] = {}
        self.shards: list[bytes] = []
        self._wanted = set(wanted)

    def __contains__(self, key: bytes) -> bool:
        """Say whether nobody asks for this key, or not any more."""
        return key not in self._wanted

    def missing(self, keys: Iterable[bytes]) -> list[bytes]:
        """Return the keys that are wanted, sorted, each once."""
        return sorted(self._wanted.intersection(keys))

    def committed(self, keys: Iterable[bytes]) -> bool:
        """Return False: nothing is committed from here."""
        return False

    def append(self, shard: Shard) -> None:
        """Keep the bytes of a shard as they are to lie on the disk."""
        self.shards.append(encode(shard, self.recipe))
        self._wanted.difference_update(shard.keys, shard.rejected)

    def refresh(self) -> None:
        """Do nothing: nobody else puts anything in here."""
