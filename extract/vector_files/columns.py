"""Vectors that other programs made, in memory: columns, a matrix with labels, or a table, as embeddings."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import Embeddings
from ...cache.flat_h5 import check_content
from ...cache.format import KEY_BYTES
from ...cache.recipe import AnyRecipe, ForeignRecipe
from ...cache.tables import counted
from ...errors import DataError, UsageError
from ..manifest.paths import named_split
from ..manifest.table import OF_VECTORS, choose, text_of
from ..text import few, first_line

_INDEX = re.compile(r"(Unnamed: |level_)\d+|index|")  # what pandas calls a column that was an index


def from_columns(
    columns: Mapping[str, Any],
    name: str,
    *,
    recipe: AnyRecipe | None = None,
    classes: Sequence[str] | None = None,
    **details: Any,
) -> Embeddings:
    """Return columns as embeddings.

    Parameters
    ----------
    columns
        By what they hold: ``embedding`` ``(n, dim)``, ``label``, ``path``, ``split`` and ``group``
        ``(n,)``, ``sha256`` ``(n,)`` hexadecimal digits or ``(n, 32)`` uint8. All but the first may be absent.
    name
        What they are called in tables and reports.
    recipe
        If it is known.
    classes
        Their names, if there may be some without a vector; by default those of the labels.
    details
        Other fields of :class:`fc7.cache.Embeddings`.

    Raises
    ------
    DataError
        They are no matrix of finite numbers, or columns differ in length, or a cell cannot be what it should; see also
        :func:`fc7.cache.flat_h5.check_content`.
    """
    vectors = _matrix(columns["embedding"], name)
    rows = len(vectors)
    texts = {column: _texts(columns.get(column), column, rows, name) for column in ("label", "path", "split", "group")}
    if "path" not in columns:
        texts["path"] = np.array([f"row {row}" for row in range(rows)], np.str_)
    fields: dict[str, Any] = {
        "labels": texts["label"],
        "paths": texts["path"],
        "split": np.array([named_split(text) for text in texts["split"].tolist()], np.str_),
        "group": texts["group"],
        "sha256": _keys(columns.get("sha256"), vectors, name),
        "classes": tuple(sorted(set(texts["label"].tolist()) - {""}) if classes is None else classes),
        "name": name,
        "vectors": vectors,
        "recipe": recipe or ForeignRecipe(name, vectors.shape[1], hashlib.sha256(vectors.tobytes()).hexdigest()),
    }
    check_content(name, fields)
    return Embeddings(**fields, **details)


def from_memory(data: Any) -> Embeddings:
    """Return ``(X, y)``, or a table of pandas, polars or pyarrow, as embeddings.

    Parameters
    ----------
    data
        A matrix ``(n, dim)`` and ``n`` labels, or None; or a table with a column of vectors, else with numbers in all
        columns that have none of the usual names.

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
            f"Vectors are embeddings, (X, y), or a table with a column of them; this is of type {type(data).__name__}."
            + (" Of images: fc7.extract.extract(images, backbone)." if isinstance(data, str | os.PathLike) else "")
        )
    keys = {str(name): name for name in names}  # pandas numbers columns that have no names
    names = list(keys)
    chosen = choose(names, OF_VECTORS, "The table")
    found = {what: _values(data[keys[name]]) for what, name in chosen.items()}
    if "embedding" in found:
        found["embedding"] = _rows(found["embedding"])
        return from_columns(found, "table")
    columns = _of_numbers(data, keys, chosen)
    embeddings = from_columns(found | {"embedding": np.stack([*columns.values()], axis=1)}, "table")
    _require_features(columns, embeddings)
    return embeddings


def _rows(vectors: Any) -> npt.NDArray[Any]:
    """Return a column of vectors as a matrix."""
    rows = list(map(np.asarray, vectors))
    odd = next((place for place, row in enumerate(rows) if row.shape != rows[0].shape), None)
    if odd is not None:
        raise DataError(
            f"The table has vectors of several lengths: {rows[0].shape} in its first row, {rows[odd].shape} in row "
            f"{odd + 1}. Leave out rows without a vector."
        )
    return np.array(rows)


def _of_numbers(data: Any, keys: Mapping[str, Any], chosen: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
    """Return all other columns of a table, which are numbers."""
    columns = {name: np.asarray(_values(data[key])) for name, key in keys.items() if name not in chosen.values()}
    other = [name for name, column in columns.items() if column.ndim != 1 or column.dtype.kind not in "fiub"]
    if other or not columns:
        lack = f"{few(other)} hold no numbers" if other else "there is no column of numbers"
        raise DataError(f"The table has no column of vectors, and {lack}. Call one embedding, or leave out the others.")
    return columns


def _require_features(columns: Mapping[str, npt.NDArray[Any]], embeddings: Embeddings) -> None:
    """Refuse a column that tells the label, as a second one with its number does, or that numbers the rows."""
    known = np.flatnonzero(embeddings.labels != "")
    codes, numbers = embeddings.y[known], embeddings.vectors[known]
    values, first = np.unique(codes, return_index=True)
    telling = np.zeros(len(columns), bool)
    if len(known) > len(values) > 1:
        same = (numbers == numbers[first][np.searchsorted(values, codes)]).all(axis=0)
        telling = same & (numbers[first].max(axis=0) > numbers[first].min(axis=0))
    for (name, column), tells in zip(columns.items(), telling, strict=True):
        if tells or (_INDEX.fullmatch(name) and (np.diff(column.astype(np.float64)) == 1).all()):
            why = "has one number for all rows of a label, and would tell it" if tells else "numbers the rows"
            raise DataError(
                f"The column {name!r} {why}, and all columns of numbers are taken as features. Leave it out: "
                f"table.drop(columns=[{name!r}])"
            )


def as_tables(data: Any) -> list[Embeddings]:
    """Return embeddings, several of them, or what :func:`from_memory` takes, as a list of embeddings."""
    if isinstance(data, Embeddings):
        return [data]
    several = isinstance(data, Sequence) and bool(data) and all(isinstance(table, Embeddings) for table in data)
    return list(data) if several else [from_memory(data)]


def as_table(data: Any, function: str) -> Embeddings:
    """Return embeddings, or what :func:`from_memory` takes, as embeddings; of several a function takes one."""
    tables = as_tables(data)
    if len(tables) != 1:
        raise UsageError(f"{function} takes one table of embeddings, got {len(tables)}; compare takes many.")
    return tables[0]


def _values(column: Any) -> Any:
    return column.to_pylist() if hasattr(column, "to_pylist") else column.to_numpy()


def _matrix(vectors: Any, name: str) -> npt.NDArray[Any]:
    try:
        masked = isinstance(vectors, np.ma.MaskedArray)
        matrix = np.ma.filled(vectors.astype(np.float64), np.nan) if masked else np.asarray(vectors)
    except (RuntimeError, TypeError, ValueError) as error:  # of torch, and rows of several lengths
        raise DataError(f"{name}: not a matrix of numbers: {first_line(error)}") from error
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or 0 in matrix.shape:
        found = f"{matrix.shape} {matrix.dtype}" if matrix.ndim else f"of type {type(vectors).__name__}"
        raise DataError(f"{name}: needed is a matrix of numbers with a row for each image, this is {found}.")
    if matrix.dtype == np.float64:
        largest = np.abs(matrix).max(axis=1)
        small = int(((largest > 0) & (largest < np.finfo(np.float32).tiny)).sum())
        if small:
            raise DataError(
                f"{name}: {small} of {len(matrix)} rows have numbers too small for float32. Scale all rows."
            )
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(matrix, matrix.dtype if matrix.dtype in (np.float16, np.float32) else np.float32)


def _texts(column: Any, what: str, rows: int, name: str) -> npt.NDArray[np.str_]:
    if column is None:
        return np.full(rows, "", np.str_)
    if isinstance(column, set | dict) or not isinstance(column, Iterable):
        raise DataError(f"{name}: the column {what} is of type {type(column).__name__}, not a list of values.")
    if isinstance(column, np.ma.MaskedArray):
        pairs = zip(column.data, np.ma.getmaskarray(column), strict=True)
        column = [None if masked else value for value, masked in pairs]
    values = np.array(column if hasattr(column, "__array__") else list(column), object)
    if values.shape == (rows, 1):
        values = values[:, 0]
    if len(values) != rows:
        raise DataError(f"{name} has {counted(rows, 'vector')} and {len(values)} in the column {what}.")
    if values.ndim != 1 or any(isinstance(value, list | tuple | dict | set | np.ndarray) for value in values):
        raise DataError(f"{name}: the column {what} has one value for each vector, this has several.")
    return np.array([text_of(value) for value in values.tolist()], np.str_)


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
