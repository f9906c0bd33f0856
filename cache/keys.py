"""Millions of keys, packed into one array with 32 bytes each, and the set operations that planning needs.

Why not a dict: a key as ``bytes`` in a dict costs some 200 bytes of memory, here 32, or 48 with lookup. Keys are
compared by their first eight bytes as one number, and by the other 24 only if those are equal. With sha256 that never
happens for two different images, but nothing here relies on it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from .format import KEY_BYTES

Positions = npt.NDArray[np.intp]

BLOCK = 2**16  # keys looked up at a time, so that the working memory does not grow with their number


class Keys(Sequence[bytes]):
    """A sequence of keys, each ``bytes`` of length :data:`~fc7.cache.format.KEY_BYTES`; keys may repeat.

    Parameters
    ----------
    matrix
        ``(n, 32)`` uint8, C-contiguous; it is not copied.
    """

    __slots__ = ("matrix",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, matrix: npt.NDArray[np.uint8]) -> None:
        self.matrix = matrix

    @classmethod
    def of(cls, keys: Iterable[bytes]) -> "Keys":
        """Return the keys packed; packed keys are returned unchanged."""
        return keys if isinstance(keys, cls) else cls.from_bytes(b"".join(keys))

    @classmethod
    def from_bytes(cls, blob: bytes | bytearray) -> "Keys":
        """Return the keys that lie one after the other in ``blob``, without a copy."""
        return cls(np.frombuffer(blob, np.uint8).reshape(-1, KEY_BYTES))

    @classmethod
    def joined(cls, groups: "Iterable[Keys]") -> "Keys":
        """Return the keys of all groups, one group after the other."""
        return cls(np.concatenate([np.empty((0, KEY_BYTES), np.uint8), *(group.matrix for group in groups)]))

    def __len__(self) -> int:
        return len(self.matrix)

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice | npt.NDArray[Any]) -> "Keys": ...

    def __getitem__(self, place: Any) -> "bytes | Keys":
        """Return the key at a place; for a slice (without a copy), places or a mask, return keys."""
        selected = self.matrix[place]
        return selected.tobytes() if selected.ndim == 1 else Keys(selected)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self), BLOCK):
            blob = self.matrix[start : start + BLOCK].tobytes()
            for place in range(0, len(blob), KEY_BYTES):
                yield blob[place : place + KEY_BYTES]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and self.tobytes() == b"".join(other)

    def __repr__(self) -> str:
        return f"Keys({len(self)})"

    def tobytes(self) -> bytes:
        """Return all keys, one after the other."""
        return self.matrix.tobytes()

    @property
    def heads(self) -> npt.NDArray[np.uint64]:
        """The first eight bytes of each key as one number, ``(n,)``; they sort as the keys do."""
        return np.ascontiguousarray(self.matrix[:, :8]).view(">u8").reshape(-1).astype(np.uint64)

    @property
    def words(self) -> npt.NDArray[np.uint64]:
        """Each key as four numbers, ``(n, 4)``: for tests of equality, not for sorting."""
        return np.ascontiguousarray(self.matrix).view(np.uint64)

    def order(self) -> Positions:
        """Return the places that sort the keys, ``(n,)``; equal keys keep their order."""
        heads = self.heads
        if (heads[1:] > heads[:-1]).all():
            return np.arange(len(heads))
        order = np.argsort(heads, kind="stable")
        ties = np.flatnonzero(np.diff(heads[order]) == 0)
        if (self.matrix[order[ties]] != self.matrix[order[ties + 1]]).any():
            numbers = np.ascontiguousarray(self.matrix).view(">u8")
            order = np.lexsort([numbers[:, column] for column in range(numbers.shape[1])][::-1])
        return order

    def first(self) -> Positions:
        """Return the first place of each distinct key, sorted by key: ``keys[keys.first()]`` has each key once."""
        order = self.order()
        new = np.ones(len(order), bool)
        for start in range(1, len(order), BLOCK):
            words = self[order[start - 1 : start + BLOCK]].words
            new[start : start + BLOCK] = (words[1:] != words[:-1]).any(axis=1)
        return order[new]

    def unique(self) -> "Keys":
        """Return the keys sorted, each once; self if that changes nothing."""
        heads = self.heads
        return self if (heads[1:] > heads[:-1]).all() else self[self.first()]

    def where(self, mask: npt.NDArray[np.bool_]) -> "Keys":
        """Return the keys where the mask is true; self if it is true everywhere."""
        return self if mask.all() else self[mask]

    def without(self, others: "Keys") -> "Keys":
        """Return the keys that ``others`` lacks, in their order."""
        return self.where(Table(others).find(self) < 0)


class Table:
    """Keys with lookup, at 16 bytes per key beside the keys themselves.

    Parameters
    ----------
    keys
        In any order; if a key repeats, its first place counts.
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        heads = keys.heads
        self._order: Positions = np.argsort(heads, kind="stable")
        self._heads: npt.NDArray[np.uint64] = heads[self._order]

    def find(self, wanted: Keys) -> Positions:
        """Return the first place of each wanted key, ``(len(wanted),)``; -1 if it is absent."""
        places = np.full(len(wanted), -1, np.intp)
        for start in range(0, len(wanted), BLOCK):
            self._find(wanted[start : start + BLOCK], places[start : start + BLOCK])
        return places

    def _find(self, wanted: Keys, places: Positions) -> None:
        heads = wanted.heads
        slots = np.searchsorted(self._heads, heads)
        unresolved = self._alike(slots, heads, np.arange(len(wanted)))
        while len(unresolved):  # one round, unless different keys begin alike
            positions = self._order[slots[unresolved]]
            same = (self.keys[positions].words == wanted[unresolved].words).all(axis=1)
            places[unresolved[same]] = positions[same]
            unresolved = unresolved[~same]
            slots[unresolved] += 1
            unresolved = self._alike(slots, heads, unresolved)

    def _alike(self, slots: Positions, heads: npt.NDArray[np.uint64], unresolved: Positions) -> Positions:
        """Return those of ``unresolved`` whose slot in the table holds a key that begins as theirs does."""
        unresolved = unresolved[slots[unresolved] < len(self._heads)]
        alike: npt.NDArray[np.bool_] = self._heads[slots[unresolved]] == heads[unresolved]
        return unresolved[alike]


class Places:
    """The place of each key among all that were added; if a key was added more than once, its first place.

    Tables are merged when they are of similar size, so adding n keys in any portions costs n log n, and a lookup asks
    few tables. One thread may add while others look up: they see all of a portion or nothing of it.
    """

    def __init__(self) -> None:
        self._tables: tuple[Table, ...] = ()

    def add(self, keys: Keys) -> None:
        """Append keys."""
        if not len(keys):
            return
        tables = [*self._tables, Table(keys)]
        while len(tables) > 1 and len(tables[-2].keys) < 2 * len(tables[-1].keys):
            tables[-2:] = [Table(Keys.joined(table.keys for table in tables[-2:]))]
        self._tables = tuple(tables)

    def find(self, wanted: Keys) -> Positions:
        """Return the place of each wanted key, ``(len(wanted),)``; -1 if it is absent."""
        places = np.full(len(wanted), -1, np.intp)
        start = 0
        for table in self._tables:
            unresolved = np.flatnonzero(places < 0)
            in_table = table.find(wanted if len(unresolved) == len(wanted) else wanted[unresolved])
            places[unresolved] = np.where(in_table < 0, -1, in_table + start)
            start += len(table.keys)
        return places

    def __contains__(self, key: bytes) -> bool:
        return bool(self.find(Keys.from_bytes(key))[0] >= 0)

    @property
    def keys(self) -> Keys:
        """All keys in the order of their places."""
        return Keys.joined(table.keys for table in self._tables)
