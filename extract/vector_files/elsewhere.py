"""Vectors that another program made: arrays, tables and files of them, as embeddings whose recipe is not known."""

import csv
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import Embeddings
from ...cache.format import KEY_BYTES
from ...cache.recipe import AnyRecipe, ForeignRecipe, read_recipe
from ...cache.vector_table import COLUMNS
from ...errors import DataError, FC7Error, UsageError
from ..text import few, unguarded
from . import parquet

# What a column or an array is usually called, by what it holds.
USUAL = {
    "embedding": ("embedding", "embeddings", "vector", "vectors", "features", "X"),
    "label": ("label", "labels", "class", "class_name", "category", "target", "y"),
    "path": ("path", "paths", "filename", "file_name", "file", "filepath", "image", "image_path", "id"),
    "split": ("split", "set", "subset", "partition"),
    "group": ("group", "groups"),
    "sha256": ("sha256",),
}
SPLITS = {"validation": "val", "valid": "val", "dev": "val", "training": "train", "testing": "test"}

READ = (".parquet", ".npz", ".npy", ".safetensors", ".h5")


def from_columns(
    columns: Mapping[str, Any], name: str, *, recipe: AnyRecipe | None = None, **details: Any
) -> Embeddings:
    """Return columns as embeddings.

    Parameters
    ----------
    columns
        Those of :data:`USUAL` by name: ``embedding`` ``(n, dim)``, ``label``, ``path``, ``split`` and ``group``
        ``(n,)``, ``sha256`` ``(n,)`` hexadecimal digits or ``(n, 32)`` uint8. All but the first may be absent.
    name
        What they are called in tables and reports.
    recipe
        If it is known.
    details
        Other fields of :class:`fc7.cache.Embeddings`.

    Raises
    ------
    DataError
        They are no matrix of finite numbers, or columns differ in length, or a cell cannot be what it should.
    """
    vectors = _matrix(columns["embedding"], name)
    rows = len(vectors)
    texts = {column: _texts(columns.get(column), column, rows, name) for column in ("label", "path", "split", "group")}
    if "path" not in columns:
        texts["path"] = np.array([f"row {row}" for row in range(rows)], np.str_)
    split = np.array([SPLITS.get(text, text) for text in texts["split"].tolist()], np.str_)
    unknown = sorted(set(split.tolist()) - {"", "train", "val", "test"})
    if unknown:
        raise DataError(f"{name} has the splits {few(unknown)}; allowed are train, val, test or none.")
    keys = _keys(columns.get("sha256"), vectors, name)
    return Embeddings(
        labels=texts["label"],
        paths=texts["path"],
        split=split,
        group=texts["group"],
        sha256=keys,
        classes=tuple(sorted(set(texts["label"].tolist()) - {""})),
        name=name,
        vectors=vectors,
        recipe=recipe or ForeignRecipe(name, vectors.shape[1], hashlib.sha256(vectors.tobytes()).hexdigest()),
        **details,
    )


def read_vectors(path: Path | str, columns: Mapping[str, str] | None = None) -> Embeddings:
    """Read a file of vectors that fc7 or another program wrote.

    Parameters
    ----------
    path
        A ``.parquet`` with a column of lists; a ``.npz`` or ``.safetensors`` with a matrix and columns as arrays; a
        ``.npy`` with a matrix, beside a csv of the same name with a row for each of its rows; or an ``.h5``.
    columns
        What a column or array is called that has none of the usual names, by what it holds: see :data:`USUAL`.

    Raises
    ------
    UsageError
        Another kind of file, or an unknown column.
    MissingExtra
        pyarrow is not installed.
    DataError
        The file is not what it should be; see :func:`from_columns`.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".h5":
        return Embeddings.from_h5(path)
    if suffix not in READ:
        raise UsageError(f"{path} is no file of vectors: one of {', '.join(READ)}.")
    unknown = sorted(set(columns or {}) - USUAL.keys())
    if unknown:
        raise UsageError(f"There is no column {few(unknown)}: name one of {', '.join(USUAL)}.")
    read = {".parquet": _read_parquet, ".npz": _read_npz, ".npy": _read_npy, ".safetensors": _read_safetensors}[suffix]
    try:
        found, metadata = read(path, columns or {})
    except FC7Error:
        raise
    except Exception as error:  # zip, zlib, numpy, pyarrow and safetensors each have their own errors
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:300]
        raise DataError(f"{path} is not a readable file of vectors: {reason}") from error
    if "embedding" not in found:
        raise DataError(f"{path} has no column of vectors. Name it: --columns embedding=NAME")
    known = "recipe" in metadata
    details = {"weights_source": metadata.get("weights_source", ""), "seconds": float(metadata.get("seconds", 0))}
    recipe = read_recipe(metadata["recipe"]) if known else None
    embeddings = from_columns(found, metadata.get("name", path.name), recipe=recipe, **details if known else {})
    if recipe and recipe.dim != embeddings.vectors.shape[1]:
        dim = embeddings.vectors.shape[1]
        raise DataError(f"{path} contradicts itself: {dim} numbers a row, {recipe.dim} by its recipe.")
    return embeddings


def _chosen(names: Sequence[str], columns: Mapping[str, str], path: Path) -> dict[str, str]:
    """Return which of the names in a file holds what."""
    chosen = {}
    for what, usual in USUAL.items():
        if what in columns:
            if columns[what] not in names:
                raise DataError(f"{path} has no column {columns[what]!r}. It has {few(list(names))}.")
            chosen[what] = columns[what]
            continue
        there = [name for name in names if name in usual]
        if len(there) > 1:
            raise DataError(f"{path} has the columns {few(there)}: name one with --columns {what}={there[0]}")
        if there:
            chosen[what] = there[0]
    return chosen


Contents = tuple[dict[str, Any], dict[str, str]]  # columns by what they hold, and metadata


def _read_parquet(path: Path, columns: Mapping[str, str]) -> Contents:
    parquet.require()
    from pyarrow import parquet as files

    with files.ParquetFile(path) as file:
        chosen = _chosen(file.schema_arrow.names, columns, path)
        table = file.read(list(chosen.values()))
        metadata = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
    found = {what: table[name].to_pylist() for what, name in chosen.items() if what != "embedding"}
    if "embedding" in chosen:
        found["embedding"] = _of_lists(table[chosen["embedding"]].combine_chunks())
    return found, metadata


def _read_npz(path: Path, columns: Mapping[str, str]) -> Contents:
    with path.open("rb") as file, np.load(file) as archive:  # it refuses what would be pickles
        arrays = {name: archive[name] for name in archive.files}
    texts = {name: str(array) for name, array in arrays.items() if array.ndim == 0 and array.dtype.kind == "U"}
    return _by_purpose({name: array for name, array in arrays.items() if array.ndim}, columns, path), texts


def _read_npy(path: Path, columns: Mapping[str, str]) -> Contents:
    texts = path.with_suffix(".csv")
    if not texts.is_file():
        raise DataError(f"{path} has vectors only. Put a csv with a row for each of them beside it: {texts.name}")
    with texts.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    if any(len(row) != len(header) for row in rows):
        raise DataError(f"{texts} has rows of other lengths than its first line.")
    cells = {name: [unguarded(row[place]) for row in rows] for place, name in enumerate(header)}
    chosen = _chosen(header, columns, texts)
    details = path.with_suffix(".json")
    metadata = json.loads(details.read_text(encoding="utf-8")) if details.is_file() else {}
    if not isinstance(metadata, dict):
        raise DataError(f"{details} is not what fc7 wrote beside {path.name}.")
    if "recipe" in metadata:
        metadata["recipe"] = json.dumps(metadata["recipe"])
    return {what: cells[name] for what, name in chosen.items()} | {"embedding": np.load(path)}, metadata


def _read_safetensors(path: Path, columns: Mapping[str, str]) -> Contents:
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        metadata = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    arrays |= {name: json.loads(metadata[name]) for name in COLUMNS.values() if name in metadata}
    return _by_purpose(arrays, columns, path), metadata


def _by_purpose(arrays: Mapping[str, Any], columns: Mapping[str, str], path: Path) -> dict[str, Any]:
    """Return arrays by what they hold; the only matrix holds the vectors, whatever it is called."""
    chosen = _chosen(list(arrays), columns, path)
    matrices = [name for name, array in arrays.items() if np.ndim(array) == 2 and name != "sha256"]
    if "embedding" not in chosen and len(matrices) == 1:
        chosen["embedding"] = matrices[0]
    return {what: arrays[name] for what, name in chosen.items()}


def _of_lists(lists: Any) -> npt.NDArray[Any]:
    """Return a column of lists as a matrix."""
    fixed = hasattr(lists.type, "list_size")
    if lists.null_count or not (fixed or len(set(np.diff(np.asarray(lists.offsets)).tolist())) == 1):
        raise ValueError("its vectors are not all of one length")
    return np.asarray(lists.flatten()).reshape(len(lists), -1)


def _matrix(vectors: Any, name: str) -> npt.NDArray[Any]:
    matrix = np.asarray(vectors)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or 0 in matrix.shape:
        found = f"{matrix.shape} {matrix.dtype}"
        raise DataError(f"{name}: vectors are a matrix of numbers with a row for each image, not {found}.")
    with np.errstate(over="ignore"):
        matrix = np.ascontiguousarray(matrix, matrix.dtype if matrix.dtype in (np.float16, np.float32) else np.float32)
    bad = len(matrix) - int(np.isfinite(matrix).all(axis=1).sum())
    if bad:
        raise DataError(f"{name}: {bad} of {len(matrix)} rows are not finite. Leave them out.")
    return matrix


def _texts(column: Any, what: str, rows: int, name: str) -> npt.NDArray[np.str_]:
    if column is None:
        return np.full(rows, "", np.str_)
    values = ["" if _is_missing(value) else str(value) for value in np.asarray(column, object).tolist()]
    if len(values) != rows:
        raise DataError(f"{name} has {rows} vectors and {len(values)} in the column {what}.")
    return np.array(values, np.str_)


def _is_missing(value: Any) -> bool:
    nothing = isinstance(value, float) and math.isnan(value)
    return value is None or nothing or type(value).__name__ in {"NAType", "NaTType"}  # of pandas


def _keys(column: Any, vectors: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    """Return the keys that are given; those of vectors without are made from their bytes."""
    if column is None:
        blob = b"".join(hashlib.sha256(row.tobytes()).digest() for row in vectors)
        return np.frombuffer(blob, np.uint8).reshape(-1, KEY_BYTES)
    if isinstance(column, np.ndarray) and column.dtype == np.uint8 and column.shape == (len(vectors), KEY_BYTES):
        return column
    try:
        blob = b"".join(bytes.fromhex(text) for text in column)
        keys = np.frombuffer(blob, np.uint8).reshape(len(vectors), KEY_BYTES)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: sha256 is not {2 * KEY_BYTES} hexadecimal digits in each row.") from error
    return keys
