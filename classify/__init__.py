"""The classify room: from cached embeddings to fitted heads, comparisons and predictions.

Names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..extract.transformer import EmbeddingTransformer
    from .audits.audit import Audit, audit
    from .bundles.bundle import Bundle
    from .bundles.predict import predict
    from .bundles.prediction import Prediction
    from .exports.export import Exported, export
    from .fitting.compare import compare
    from .fitting.fit import Fitted, fit
    from .records.ranking import choose
    from .records.runs import Run, load_runs
    from .reports.report import report

__all__ = [
    "Audit",
    "Bundle",
    "EmbeddingTransformer",
    "Exported",
    "Fitted",
    "Prediction",
    "Run",
    "audit",
    "choose",
    "compare",
    "export",
    "fit",
    "load_runs",
    "predict",
    "report",
]

_MODULES = {
    "Audit": "audits.audit",
    "Bundle": "bundles.bundle",
    "EmbeddingTransformer": ".extract.transformer",
    "Exported": "exports.export",
    "Fitted": "fitting.fit",
    "Prediction": "bundles.prediction",
    "Run": "records.runs",
    "audit": "audits.audit",
    "choose": "records.ranking",
    "compare": "fitting.compare",
    "export": "exports.export",
    "fit": "fitting.fit",
    "load_runs": "records.runs",
    "predict": "bundles.predict",
    "report": "reports.report",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
