"""What a file of vectors holds: a row per image, read a block at a time, so that memory does not grow with rows."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .. import __version__
from .keys import Keys
from .recipe import AnyRecipe

# Names of the columns of texts in tables, and in files of arrays.
COLUMNS = {"path": "paths", "label": "labels", "split": "split", "group": "group"}
TEXTS = tuple(COLUMNS)

Column = Sequence[str] | npt.NDArray[np.str_]

_BLOCK_BYTES = 2**25  # of vectors in float32: larger blocks are not faster, and several of them are in use at once


class SlicedRows(Protocol):
    """Vectors ``(n, dim)`` of which a slice is read when it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and length of one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The stored dtype."""

    def __getitem__(self, rows: slice, /) -> npt.NDArray[Any]:
        """Return the vectors of some rows."""


@dataclass(frozen=True)
class VectorTable:
    """The images of a data set with their vectors under one recipe.

    Attributes
    ----------
    columns
        ``n`` texts for each name of :data:`TEXTS`.
    keys
        The sha256 of each image's bytes.
    vectors
        ``(n, dim)``, float16 or float32; in memory or on disk.
    classes
        Names of the classes, in the order of the columns of probabilities; empty without labels.
    """

    columns: Mapping[str, Column]
    keys: Keys
    vectors: SlicedRows
    recipe: AnyRecipe
    classes: tuple[str, ...] = ()
    weights_source: str = ""
    seconds: float = 0.0
    name: str = ""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.keys)

    @property
    def nbytes(self) -> int:
        """About how large a file of all of it is, at the most, in bytes."""
        texts = sum(len(text.encode()) for span in self.spans() for name in TEXTS for text in self.texts(name, span))
        # HDF5 needs about 40 bytes more for each string: a reference, a header and padding.
        row = self.dim * self.vectors.dtype.itemsize + self.keys.matrix.shape[1] + 40 * len(TEXTS)
        return int(len(self) * row + texts)

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return int(self.vectors.shape[1])

    @property
    def metadata(self) -> dict[str, str]:
        """Everything that is no row, as text."""
        return {
            "recipe": self.recipe.to_json(),
            "classes": json.dumps([valid(name) for name in self.classes]),
            "weights_source": self.weights_source,
            "seconds": repr(self.seconds),
            "name": valid(self.name),
            "fc7": __version__,
        }

    def texts(self, name: str, rows: slice = slice(None)) -> list[str]:
        """Return a column as text that a file can hold; bytes of names that are no Unicode are escaped."""
        return [valid(str(text)) for text in self.columns[name][rows]]

    def digests(self, rows: slice) -> list[str]:
        """Return keys as 64 hexadecimal digits each."""
        return [key.hex() for key in self.keys[rows]]

    def spans(self) -> Iterator[slice]:
        """Yield the rows of each block."""
        size = max(_BLOCK_BYTES // (4 * self.dim), 1)
        return (slice(start, min(start + size, len(self))) for start in range(0, len(self), size))


def valid(name: str) -> str:
    """Return a name as UTF-8 can hold it: bytes that are no Unicode are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()
