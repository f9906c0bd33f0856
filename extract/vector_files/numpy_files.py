"""numpy's own files: .npz with everything in it, and .npy with the matrix alone and two files beside it."""

import json
import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import COLUMNS, VectorTable

_PORTION = 2**22  # bytes that are in memory at once; texts are each as wide as the longest


def write_npz(rows: VectorTable, path: Path) -> None:
    """Write the arrays of an .h5 under the same names, and what its attributes are as arrays of one text.

    Texts are packed: each takes as much room as the longest. Vectors would hardly get smaller.
    """
    with zipfile.ZipFile(path, "w") as archive:

        def write(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], blocks: Iterable[Any]) -> None:
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = zipfile.ZIP_DEFLATED if dtype.kind == "U" else zipfile.ZIP_STORED
            with archive.open(member, "w", force_zip64=True) as file:
                _write_array(file, dtype, shape, blocks)

        write("embeddings", rows.vectors.dtype, rows.vectors.shape, _vectors(rows))
        write("sha256", np.dtype(np.uint8), rows.sha256.shape, [rows.sha256])
        for column, plural in COLUMNS.items():
            longest = max((len(text) for span in rows.spans() for text in rows.texts(column, span)), default=1)
            texts = (rows.texts(column, span) for span in rows.spans())
            write(plural, np.dtype((np.str_, max(longest, 1))), (len(rows),), texts)
        for name, text in rows.metadata.items():
            write(name, np.dtype((np.str_, max(len(text), 1))), (), [[text]])


def write_npy(rows: VectorTable, path: Path) -> None:
    """Write the matrix ``(n, dim)`` in the stored dtype."""
    with path.open("wb") as file:
        _write_array(file, rows.vectors.dtype, rows.vectors.shape, _vectors(rows))


def write_metadata(rows: VectorTable, path: Path) -> None:
    """Write as JSON what holds for all rows."""
    metadata = rows.metadata
    path.write_text(json.dumps(metadata | {"recipe": json.loads(metadata["recipe"])}, indent=1) + "\n")


def _vectors(rows: VectorTable) -> Iterable[npt.NDArray[Any]]:
    return (rows.vectors[span] for span in rows.spans())


def _write_array(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], blocks: Iterable[Any]) -> None:
    """Write an array of which there is a block at a time."""
    header: dict[str, Any] = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, header)
    together = max(_PORTION // (dtype.itemsize * math.prod(shape[1:])), 1)
    for block in blocks:
        for start in range(0, len(block), together):
            file.write(np.asarray(block[start : start + together], dtype).tobytes())
