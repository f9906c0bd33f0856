"""safetensors: the matrix and the keys as tensors, everything else as texts in the metadata.

The library writes tensors that are in memory; the format is a length, a header in JSON and the bytes one after the
other, so that a matrix on disk can be written some rows at a time.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...cache.embeddings import COLUMNS, VectorTable
from ...errors import DataError

_NAMES = {"float16": "F16", "float32": "F32"}
_ALIGNED = 8  # bytes: where data may begin
_MOST = 100_000_000  # bytes of a header that the library reads


def write(rows: VectorTable, path: Path) -> None:
    """Write the tensors embeddings and sha256; columns of texts are lists in JSON.

    Raises DataError if the texts are more than a header can hold.
    """
    keys = np.ascontiguousarray(rows.sha256)
    with path.open("wb") as file:
        size = file.write(bytes(8)) - 8  # of the header, which is written there when it is known
        for piece in _header(rows):
            size += file.write(piece.encode())
            if size > _MOST:
                raise DataError(
                    f"A .safetensors has its texts in a header of at most {_MOST / 1e6:.0f} MB; those of {len(rows)} "
                    "images are more. Write a .parquet or an .npz."
                )
        size += file.write(b" " * (-size % _ALIGNED))
        for span in rows.spans():
            file.write(np.ascontiguousarray(rows.vectors[span]).data)
        file.write(keys.data)
        file.seek(0)
        file.write(size.to_bytes(8, "little"))


def _header(rows: VectorTable) -> Iterator[str]:
    """Yield the header in pieces."""
    dim, dtype = rows.recipe.dim, rows.vectors.dtype
    numbers = dim * len(rows) * dtype.itemsize
    tensors = {
        "embeddings": {"dtype": _NAMES[dtype.name], "shape": [len(rows), dim], "data_offsets": [0, numbers]},
        "sha256": {"dtype": "U8", "shape": [*rows.sha256.shape], "data_offsets": [numbers, numbers + rows.sha256.size]},
    }
    yield f'{{"__metadata__": {json.dumps(rows.metadata)[:-1]}'
    for column, plural in COLUMNS.items():
        # A value of the metadata is a text, here one that is a list in JSON.
        yield f', "{plural}": "['
        for span in rows.spans():
            listed = json.dumps(rows.texts(column, span))[1:-1]
            yield json.dumps(f", {listed}" if span.start else listed)[1:-1]
        yield ']"'
    yield f"}}, {json.dumps(tensors)[1:]}"
