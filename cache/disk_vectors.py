"""Vectors that stay on disk: each access reads its rows, and nothing is kept in memory."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .keys import Keys

if TYPE_CHECKING:
    from .store import Store


SHARE = 64  # one chunk in float32 takes 1/64 of the allowed memory: several are in use at once, one of them in float64


class StoredVectors:
    """The vectors of given keys in a store, ``(n, dim)``; indexing reads them from disk.

    Parameters
    ----------
    store
        Holds the vectors.
    keys
        One per row; a key may occur more than once.
    max_ram
        Bytes of memory that work on the rows may use, beyond what the program uses anyway.

    Raises
    ------
    CacheError
        Some keys have no row. Indexing raises it, too, if shards were deleted since.
    """

    def __init__(self, store: "Store", keys: Iterable[bytes], max_ram: int) -> None:
        self.store, self.keys, self.max_ram = store, Keys.of(keys), max_ram
        self.order: npt.NDArray[np.intp] = store.order(self.keys)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: Any) -> npt.NDArray[Any]:
        """Read the rows of positions, a mask or a slice, in the stored dtype."""
        return self.store.rows(self.keys[rows])

    def __repr__(self) -> str:
        return f"StoredVectors({len(self)} x {self.shape[1]} {self.dtype}, {str(self.store.folder)!r})"

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and length of one."""
        return len(self.keys), self.store.recipe.dim

    @property
    def dtype(self) -> np.dtype[Any]:
        """The stored dtype."""
        return np.dtype(self.store.recipe.dtype)

    @cached_property
    def rank(self) -> npt.NDArray[np.intp]:
        """The place of each row among all, as they lie on disk, ``(n,)``: the inverse of `order`."""
        return np.argsort(self.order)

    def chunks(self, rows: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
        """Split positions into chunks whose rows fit into memory in float32."""
        size = max(self.max_ram // SHARE // (4 * self.shape[1]), 1)
        return (rows[first : first + size] for first in range(0, len(rows), size))

    def take(self, rows: npt.NDArray[Any]) -> "StoredVectors":
        """Return the given rows, still on disk."""
        return StoredVectors(self.store, self.keys[rows], self.max_ram)
