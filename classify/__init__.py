"""The classify room: from cached embeddings to fitted heads, comparisons and predictions."""

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
