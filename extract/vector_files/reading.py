"""Readers of files of vectors, whichever program wrote them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import COLUMNS, Embeddings
from ...cache.files import require_fetched
from ...cache.flat_h5 import read_classes
from ...cache.recipe import read_recipe
from ...errors import DataError, FC7Error, UsageError
from ..archives.parquet import require_pyarrow
from ..manifest.csv_rows import read_rows
from ..manifest.table import OF_VECTORS, VECTOR_FILES, choose
from ..text import few, unguarded
from .columns import from_columns


def read_vectors(path: Path | str, columns: Mapping[str, str] | None = None) -> Embeddings:
    """Read a file of vectors that fc7 or another program wrote.

    Parameters
    ----------
    path
        A ``.parquet`` with a column of lists; a ``.npz`` or ``.safetensors`` with a matrix and columns as arrays; a
        ``.npy`` with a matrix, beside a csv of the same name with a row for each of its rows; or an ``.h5``.
    columns
        What a column or array is called that has none of the usual names, by what it holds: see
        :func:`fc7.extract.manifest.table.choose`.

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
    require_fetched(path)
    suffix = path.suffix.lower()
    if suffix == ".h5":
        return Embeddings.from_h5(path)
    if suffix not in VECTOR_FILES:
        raise UsageError(f"{path} is not a file of vectors. Those are {', '.join(VECTOR_FILES)}.")
    read = {".parquet": _read_parquet, ".npz": _read_npz, ".npy": _read_npy, ".safetensors": _read_safetensors}[suffix]
    try:
        found, metadata = read(path, columns or {})
        details = _details(metadata, path) if "recipe" in metadata else {"name": path.name}
    except FC7Error:
        raise
    except Exception as error:  # zip, zlib, numpy, pyarrow and safetensors each have their own errors
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:300]
        raise DataError(f"{path} is not a readable file of vectors: {reason}") from error
    if "embedding" not in found:
        raise DataError(f"{path} has no column of vectors. Call it embedding.")
    return from_columns(found, **details)


Contents = tuple[dict[str, Any], dict[str, str]]  # columns by what they hold, and metadata


def _details(metadata: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return what fc7 wrote beside the rows."""
    return {
        "recipe": read_recipe(metadata["recipe"]),
        "classes": read_classes(path, str(metadata["classes"])) if "classes" in metadata else None,
        # Only the last part, if another tool wrote a path.
        "name": Path(str(metadata.get("name", ""))).name or path.name,
        "weights_source": str(metadata.get("weights_source", "")),
        "seconds": float(metadata.get("seconds", 0)),
    }


def _read_parquet(path: Path, columns: Mapping[str, str]) -> Contents:
    with require_pyarrow().ParquetFile(path) as file:
        chosen = choose(file.schema_arrow.names, OF_VECTORS, path, columns)
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
    chosen = dict[str, str]()

    def pick(names: Sequence[str]) -> list[str]:
        chosen.update(choose(names, [what for what in OF_VECTORS if what != "embedding"], texts, columns))
        if not chosen:
            raise DataError(f"{texts} has the columns {few(list(names))}, and none has a usual name, such as label.")
        return []

    header, rows = read_rows(texts, pick, exact=True)
    cells = {name: [unguarded(row[place]) for _, row in rows] for place, name in enumerate(header)}
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
    chosen = choose(list(arrays), OF_VECTORS, path, columns)
    matrices = [name for name, array in arrays.items() if np.ndim(array) == 2 and name != "sha256"]
    if "embedding" not in chosen and len(matrices) == 1:
        chosen["embedding"] = matrices[0]
    return {what: arrays[name] for what, name in chosen.items()}


def _of_lists(lists: Any) -> npt.NDArray[Any]:
    """Return a column of lists as a matrix."""
    fixed = hasattr(lists.type, "list_size")
    if not (fixed or hasattr(lists, "offsets")) or not hasattr(lists.type, "value_type"):
        raise ValueError(f"its column of vectors holds no lists but {lists.type}")
    if lists.null_count or not (fixed or len(set(np.diff(np.asarray(lists.offsets)).tolist())) == 1):
        raise ValueError("its vectors are not all of one length")
    return np.asarray(lists.flatten()).reshape(len(lists), -1)
