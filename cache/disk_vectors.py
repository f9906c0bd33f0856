"""Vectors that stay on disk: read when rows are asked for, and never kept."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .keys import Keys

if TYPE_CHECKING:
    from .store import Store


SHARE = 64  # of the memory allowed: what a part takes in float32; some are held at once, and one in float64


class StoredVectors:
    """The vectors of some keys in a store, ``(n, dim)``: indexing them reads.

    Parameters
    ----------
    store
        Where they are.
    keys
        One per row; a key may come more than once.
    max_ram
        Bytes that work on the rows may take beside what the program takes anyway.

    Raises
    ------
    CacheError
        Some keys have no row; so does indexing where shards have vanished since.
    """

    def __init__(self, store: "Store", keys: Iterable[bytes], max_ram: int) -> None:
        self.store, self.keys, self.max_ram = store, Keys.of(keys), max_ram
        self.order: npt.NDArray[np.intp] = store.order(self.keys)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.keys)

    def __getitem__(self, rows: Any) -> npt.NDArray[Any]:
        """Read the rows of positions, a mask or a slice, in the stored dtype."""
        return self.store.rows(self.keys[rows])

    def __repr__(self) -> str:
        """Say how much there is, and where."""
        return f"StoredVectors({len(self)} x {self.shape[1]} {self.dtype}, {str(self.store.folder)!r})"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and their length."""
        return len(self.keys), self.store.recipe.dim

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""
        return np.dtype(self.store.recipe.dtype)

    def chunks(self, rows: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
        """Cut positions so that the rows of each part may be at hand in float32."""
        size = max(self.max_ram // SHARE // (4 * self.shape[1]), 1)
        return (rows[first : first + size] for first in range(0, len(rows), size))

    def take(self, rows: npt.NDArray[Any]) -> "StoredVectors":
        """Return some of the rows, still on disk."""
        return StoredVectors(self.store, self.keys[rows], self.max_ram)
