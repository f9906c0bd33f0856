"""Vectors that other programs made, in memory: columns, a matrix with labels, or a table, as embeddings."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import Embeddings
from ...cache.format import KEY_BYTES
from ...cache.recipe import AnyRecipe, ForeignRecipe
from ...errors import DataError, UsageError
from ..manifest.paths import SPLITS
from ..text import few

# What a column or an array is usually called, by what it holds.
USUAL = {
    "embedding": ("embedding", "embeddings", "vector", "vectors", "features", "X"),
    "label": ("label", "labels", "class", "class_name", "category", "target", "y"),
    "path": ("path", "paths", "filename", "file_name", "file", "filepath", "image", "image_path", "id"),
    "split": ("split", "set", "subset", "partition"),
    "group": ("group", "groups"),
    "sha256": ("sha256",),
}
SPLIT_NAMES = {"validation": "val", "valid": "val", "dev": "val", "training": "train", "testing": "test"}


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
    split = np.array([SPLIT_NAMES.get(text, text) for text in texts["split"].tolist()], np.str_)
    unknown = sorted(set(split.tolist()) - {"", *SPLITS})
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


def from_memory(data: Any) -> Embeddings:
    """Return ``(X, y)``, or a table of pandas, polars or pyarrow, as embeddings.

    Parameters
    ----------
    data
        A matrix ``(n, dim)`` and ``n`` labels; or a table with a column of vectors, else with numbers in all columns
        that have none of the usual names.

    Raises
    ------
    UsageError
        It is neither.
    DataError
        See :func:`from_columns`.
    """
    if isinstance(data, tuple) and len(data) == 2:
        return from_columns({"embedding": data[0], "label": data[1]}, "vectors")
    names = getattr(data, "column_names", None) or getattr(data, "columns", None)
    if names is None:
        raise UsageError(
            f"A {type(data).__name__} is no vectors: give embeddings, (X, y), or a table with a column of them."
        )
    names = [str(name) for name in names]
    chosen = choose(names, {}, "The table")
    found = {what: _values(data[name]) for what, name in chosen.items()}
    numbers = [] if "embedding" in found else [name for name in names if name not in chosen.values()]
    try:
        parts = [_values(data[name]) for name in numbers] or list(map(np.asarray, found.get("embedding", ())))
        found["embedding"] = np.stack(parts, axis=1 if numbers else 0)
    except ValueError as error:
        raise DataError(f"The table has neither vectors of one length nor columns of numbers: {error}.") from error
    return from_columns(found, "table")


def as_tables(data: Any) -> list[Embeddings]:
    """Return embeddings, several of them, or what :func:`from_memory` takes, as a list of embeddings."""
    if isinstance(data, Embeddings):
        return [data]
    several = isinstance(data, Sequence) and bool(data) and all(isinstance(table, Embeddings) for table in data)
    return list(data) if several else [from_memory(data)]


def _values(column: Any) -> Any:
    return column.to_pylist() if hasattr(column, "to_pylist") else column.to_numpy()


def choose(names: Sequence[str], columns: Mapping[str, str], where: Any) -> dict[str, str]:
    """Return which name holds what.

    Parameters
    ----------
    columns
        What a column is called that has none of the usual names, by what it holds: see :data:`USUAL`.

    Raises
    ------
    UsageError
        What it holds is not in :data:`USUAL`.
    DataError
        There is no such column, or several of the usual names.
    """
    unknown = sorted(set(columns) - USUAL.keys())
    if unknown:
        raise UsageError(f"There is no column {few(unknown)}: name one of {', '.join(USUAL)}.")
    chosen = {}
    for what, usual in USUAL.items():
        if what in columns:
            if columns[what] not in names:
                raise DataError(f"{where} has no column {columns[what]!r}. It has {few(list(names))}.")
            chosen[what] = columns[what]
            continue
        there = [name for name in names if name in usual]
        if len(there) > 1:
            raise DataError(f"{where} has the columns {few(there)}, and one can be the {what}. Rename the others.")
        if there:
            chosen[what] = there[0]
    return chosen


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
