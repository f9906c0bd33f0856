"""safetensors: the matrix and the keys as tensors, everything else as texts in the metadata.

The library writes tensors that are in memory; the format is a length, a header in JSON and the bytes one after the
other, so that a matrix on disk can be written some rows at a time.
"""

import json
from pathlib import Path

import numpy as np

from ...cache.embeddings import COLUMNS, Embeddings

_NAMES = {"float16": "F16", "float32": "F32"}
_ALIGNED = 8  # bytes: where data may begin


def write(rows: Embeddings, path: Path) -> None:
    """Write the tensors embeddings and sha256; columns of texts are lists in JSON."""
    texts = {plural: json.dumps(rows.texts(name, slice(None))) for name, plural in COLUMNS.items()}
    numbers = rows.recipe.dim * len(rows) * rows.vectors.dtype.itemsize
    keys = rows.sha256
    tensors = {
        "embeddings": {
            "dtype": _NAMES[rows.vectors.dtype.name],
            "shape": [len(rows), rows.recipe.dim],
            "data_offsets": [0, numbers],
        },
        "sha256": {"dtype": "U8", "shape": list(keys.shape), "data_offsets": [numbers, numbers + keys.nbytes]},
    }
    header = json.dumps({"__metadata__": rows.metadata | texts} | tensors).encode()
    header += b" " * (-len(header) % _ALIGNED)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for span in rows.spans():
            file.write(np.ascontiguousarray(rows.vectors[span]).data)
        file.write(np.ascontiguousarray(keys).data)
