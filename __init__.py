"""fc7: frozen backbones, cached embeddings, fast heads, honest comparison.

::

    from fc7.extract import extract, load_backbone, read_manifest
    from fc7.classify import Bundle, audit, compare, fit, load_runs, report

    manifest = read_manifest("photos")                             # a folder, a table, a csv, an archive, a URL
    embeddings = extract(manifest, load_backbone("squeezenet1_1"))  # computed once; the cache has them the next time
    numpy.asarray(embeddings)                                      # the matrix
    embeddings.to_pandas()                                         # the table

    runs = compare(embeddings, folder="runs")                      # many heads; the chosen run comes first
    report("runs", "report.html")
    bundle = Bundle.of(fit(embeddings, "logreg"))                  # what predicts new images
    bundle.predict(["new.jpg"]).to_pandas()

The rooms, each of which lists its public names (``help(fc7.extract)``):

extract
    Images to embeddings: `read_manifest`, `load_backbone`, `extract`.
classify
    Embeddings to answers: `fit`, `compare`, `audit`, `report`, `Bundle`, `EmbeddingTransformer`; `classify.heads`.
cache
    Embeddings on disk: `Embeddings`, `Recipe`, `Store`.
errors
    Everything that fc7 raises on purpose is an `FC7Error`.
"""

from importlib import import_module
from types import ModuleType

__version__ = "0.9.0"
__all__ = ["cache", "classify", "errors", "extract"]


def __getattr__(name: str) -> ModuleType:
    """Import a room when it is first used: whoever imports the package for its version waits for nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
