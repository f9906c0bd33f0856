"""Parquet: a column of fixed-size lists of float32 beside those of texts; the recipe is in the schema's metadata."""

from pathlib import Path

import numpy as np

from ...cache.embeddings import COLUMNS, VectorTable
from ..coordinates import coordinates


def write(rows: VectorTable, path: Path, method: str | None = None) -> None:
    """Write the columns path, label, split, group, sha256 (hex) and embedding; float16 is widened, which loses nothing.

    Many readers of parquet lack float16. With a method the columns x and y follow: see
    :func:`fc7.extract.coordinates.coordinates`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    fields = [pa.field(name, pa.string()) for name in (*COLUMNS, "sha256")]
    fields.append(pa.field("embedding", pa.list_(pa.float32(), rows.recipe.dim)))
    points = coordinates(rows.vectors, method).points if method else None
    if points is not None:
        fields += [pa.field(name, pa.float32()) for name in ("x", "y")]
    schema = pa.schema(fields, metadata=rows.metadata)
    # Few vectors are equal: a dictionary of them takes memory and time, and leads nowhere.
    with parquet.ParquetWriter(path, schema, use_dictionary=["label", "split", "group"]) as writer:
        for span in rows.spans():
            numbers = pa.array(np.asarray(rows.vectors[span], np.float32).reshape(-1))
            columns = [pa.array(rows.texts(name, span), pa.string()) for name in COLUMNS]
            columns += [
                pa.array(rows.digests(span), pa.string()),
                pa.FixedSizeListArray.from_arrays(numbers, rows.recipe.dim),
            ]
            if points is not None:
                columns += [pa.array(points[span, axis]) for axis in (0, 1)]
            writer.write_batch(pa.record_batch(columns, schema=schema))
