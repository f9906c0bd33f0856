"""Keys by the million, packed: 32 bytes each in one array, and the set operations that planning needs.

A key as Python's ``bytes`` in a dict costs some 200 bytes of memory, here 32, and 48 where keys can be looked up. Keys
are compared by their first eight bytes as one number; the other 24 decide only where those are equal. Of sha256 they
never are for two different images, but nothing here relies on that.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from .format import KEY_BYTES

BLOCK = 2**16  # keys looked up at a time: what that takes beside the answer does not grow with their number


class Keys(Sequence[bytes]):
    """Keys in an order, each ``bytes`` of :data:`~fc7.cache.format.KEY_BYTES`; they may come more than once.

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
        """Return the keys packed; what is packed already, as it is."""
        return keys if isinstance(keys, cls) else cls.from_bytes(b"".join(keys))

    @classmethod
    def from_bytes(cls, blob: bytes | bytearray) -> "Keys":
        """Return the keys that lie one after the other in ``blob``, without a copy."""
        return cls(np.frombuffer(blob, np.uint8).reshape(-1, KEY_BYTES))

    @classmethod
    def joined(cls, parts: "Iterable[Keys]") -> "Keys":
        """Return the keys of all parts, one part after the other."""
        return cls(np.concatenate([np.empty((0, KEY_BYTES), np.uint8), *(part.matrix for part in parts)]))

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self.matrix)

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice | npt.NDArray[Any]) -> "Keys": ...

    def __getitem__(self, place: Any) -> "bytes | Keys":
        """Return the key at a place; of a slice (which is no copy), places or a mask, keys."""
        found = self.matrix[place]
        return found.tobytes() if found.ndim == 1 else Keys(found)

    def __iter__(self) -> Iterator[bytes]:
        """Yield each key as bytes."""
        for start in range(0, len(self), BLOCK):
            blob = self.matrix[start : start + BLOCK].tobytes()
            for place in range(0, len(blob), KEY_BYTES):
                yield blob[place : place + KEY_BYTES]

    def __eq__(self, other: object) -> bool:
        """Say whether these are the same keys in the same order, packed or not."""
        return isinstance(other, Sequence) and len(self) == len(other) and self.tobytes() == b"".join(other)

    def __repr__(self) -> str:
        """Say how many there are."""
        return f"Keys({len(self)})"

    def tobytes(self) -> bytes:
        """Return all keys, one after the other."""
        return self.matrix.tobytes()

    @property
    def heads(self) -> npt.NDArray[np.uint64]:
        """The first eight bytes of each as one number, ``(n,)``: in the order of the keys."""
        return np.ascontiguousarray(self.matrix[:, :8]).view(">u8").reshape(-1).astype(np.uint64)

    @property
    def words(self) -> npt.NDArray[np.uint64]:
        """The keys as four numbers each, ``(n, 4)``: equal where the keys are, in no order."""
        return np.ascontiguousarray(self.matrix).view(np.uint64)

    def order(self) -> npt.NDArray[np.intp]:
        """Return the places of the keys in sorted order, ``(n,)``; equal keys stay in theirs."""
        heads = self.heads
        if (heads[1:] > heads[:-1]).all():
            return np.arange(len(heads))
        order = np.argsort(heads, kind="stable")
        ties = np.flatnonzero(np.diff(heads[order]) == 0)
        if (self.matrix[order[ties]] != self.matrix[order[ties + 1]]).any():
            numbers = np.ascontiguousarray(self.matrix).view(">u8")
            order = np.lexsort([numbers[:, column] for column in range(numbers.shape[1])][::-1])
        return order

    def first(self) -> npt.NDArray[np.intp]:
        """Return the place where each key comes first, sorted by key: ``keys[keys.first()]`` has each once."""
        order = self.order()
        new = np.ones(len(order), bool)
        for start in range(1, len(order), BLOCK):
            words = self[order[start - 1 : start + BLOCK]].words
            new[start : start + BLOCK] = (words[1:] != words[:-1]).any(axis=1)
        return order[new]

    def unique(self) -> "Keys":
        """Return the keys sorted, each once; themselves, if they are so already."""
        heads = self.heads
        return self if (heads[1:] > heads[:-1]).all() else self[self.first()]

    def where(self, mask: npt.NDArray[np.bool_]) -> "Keys":
        """Return some of the keys; themselves, if it is all of them."""
        return self if mask.all() else self[mask]

    def without(self, others: "Keys") -> "Keys":
        """Return the keys that are not among the others, in their order."""
        return self.where(Table(others).find(self) < 0)


class Table:
    """Keys that can be looked up, 16 bytes for each beside the keys.

    Parameters
    ----------
    keys
        In any order; of a key that comes more than once, the first place counts.
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        heads = keys.heads
        self._order: npt.NDArray[np.intp] = np.argsort(heads, kind="stable")
        self._heads: npt.NDArray[np.uint64] = heads[self._order]

    def find(self, wanted: Keys) -> npt.NDArray[np.intp]:
        """Return the first place of each wanted key, ``(len(wanted),)``; -1 where it is not there."""
        found = np.full(len(wanted), -1, np.intp)
        for start in range(0, len(wanted), BLOCK):
            self._find(wanted[start : start + BLOCK], found[start : start + BLOCK])
        return found

    def _find(self, wanted: Keys, found: npt.NDArray[np.intp]) -> None:
        heads = wanted.heads
        at = np.searchsorted(self._heads, heads)
        left = self._alike(at, heads, np.arange(len(wanted)))
        while len(left):  # once, but for keys that begin alike
            places = self._order[at[left]]
            same = (self.keys[places].words == wanted[left].words).all(axis=1)
            found[left[same]] = places[same]
            left = left[~same]
            at[left] += 1
            left = self._alike(at, heads, left)

    def _alike(
        self, at: npt.NDArray[np.intp], heads: npt.NDArray[np.uint64], left: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.intp]:
        """Return those of ``left`` whose place in the table holds a key that begins as theirs does."""
        left = left[at[left] < len(self._heads)]
        alike: npt.NDArray[np.bool_] = self._heads[at[left]] == heads[left]
        return left[alike]


class Places:
    """The place of each key among all that were added, the first one where it was added more than once.

    Tables of growing size, merged as they grow alike: adding n keys in any portions costs n log n, and looking up asks
    a few tables. One thread may add while others look up: they see all of a portion or nothing of it.
    """

    def __init__(self) -> None:
        self._tables: tuple[Table, ...] = ()

    def add(self, keys: Keys) -> None:
        """Add keys after those that are there."""
        if not len(keys):
            return
        tables = [*self._tables, Table(keys)]
        while len(tables) > 1 and len(tables[-2].keys) < 2 * len(tables[-1].keys):
            tables[-2:] = [Table(Keys.joined(table.keys for table in tables[-2:]))]
        self._tables = tuple(tables)

    def find(self, wanted: Keys) -> npt.NDArray[np.intp]:
        """Return the place of each wanted key, ``(len(wanted),)``; -1 where it is not there."""
        found = np.full(len(wanted), -1, np.intp)
        start = 0
        for table in self._tables:
            left = np.flatnonzero(found < 0)
            places = table.find(wanted if len(left) == len(wanted) else wanted[left])
            found[left] = np.where(places < 0, -1, places + start)
            start += len(table.keys)
        return found

    def __contains__(self, key: bytes) -> bool:
        """Say whether the key was added."""
        return bool(self.find(Keys.from_bytes(key))[0] >= 0)

    @property
    def keys(self) -> Keys:
        """All keys in the order of their places."""
        return Keys.joined(table.keys for table in self._tables)
