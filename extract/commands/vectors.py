"""The file of vectors that a verb writes: checked before anything is computed, and said in the answer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..text import plain

if TYPE_CHECKING:
    from ...cache.embeddings import VectorTable
    from ...cache.urls import Location
    from ..vector_files.formats import VectorFile

MAP = "add the columns x and y to a .parquet, for Embedding Atlas; umap needs the extra fc7[map] (default: none)"
FILE = "the file to write: .parquet, .csv, .h5, .npz, .safetensors, or .npy with a .csv and a .json beside it"


def opened(path: Path, data: "Location", method: str | None = None) -> "VectorFile":
    """Return the file that was asked for, if it can be written and is not the data set."""
    from ...cache.output_file import require_apart
    from ..vector_files.formats import VectorFile

    output = VectorFile(path, method)
    require_apart(*output.outputs, read=[data])
    return output


def write(output: "VectorFile", rows: "VectorTable") -> tuple[dict[str, Any], str]:
    """Write rows; return what an answer has of them, for programs and for people."""
    files = [str(path) for path in output.write(rows)]
    text = f"Wrote {len(rows)} x {rows.recipe.dim} embeddings to {plain(' '.join(files))}"
    return {"file": files[-1], "files": files, "rows": len(rows)}, text
