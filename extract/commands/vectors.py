"""The file of vectors that a verb writes: checked before anything is computed, and said in the answer."""

from typing import TYPE_CHECKING, Any

from ..text import plain

if TYPE_CHECKING:
    from ...cache.embeddings import VectorTable
    from ..vector_files.formats import VectorFile
    from .options import Arguments

MAP = "add the columns x and y to a .parquet, for Embedding Atlas; umap needs the extra fc7[map] (default: none)"
FILE = "the file to write: .parquet, .csv, .h5, .npz, .safetensors, or .npy with a .csv and a .json beside it"


def opened(arguments: "Arguments") -> "VectorFile":
    """Return the file that was asked for, if it can be written and is not the data set.

    A map that the project file names for other verbs is left out where the file has no columns for it.
    """
    from ...cache.output_file import require_apart
    from ..vector_files.formats import VectorFile

    has_columns = arguments.output.suffix.lower() == ".parquet" or "map" not in arguments.of_file
    output = VectorFile(arguments.output, arguments.map if has_columns else None)
    require_apart(*output.outputs, read=[arguments.data])
    return output


def write(output: "VectorFile", rows: "VectorTable") -> tuple[dict[str, Any], str]:
    """Write rows; return what an answer has of them, for programs and for people."""
    files = [str(path) for path in output.write(rows)]
    text = f"Wrote {len(rows):,} x {rows.recipe.dim:,} embeddings to {plain(' '.join(files))}"
    return {"file": files[-1], "files": files, "rows": len(rows)}, text
