"""From cached embeddings to fitted heads, comparisons and predictions.

Names are imported when they are first used.
"""

from typing import TYPE_CHECKING

from ..errors import door

if TYPE_CHECKING:
    from ..extract.transformer import EmbeddingTransformer as EmbeddingTransformer
    from .audits.audit import Audit as Audit
    from .audits.audit import audit as audit
    from .bundles.bundle import Bundle as Bundle
    from .bundles.prediction import Prediction as Prediction
    from .bundles.prediction import Predictions as Predictions
    from .exports.export import Exported as Exported
    from .exports.export import export as export
    from .fitting.compare import Comparison as Comparison
    from .fitting.compare import compare as compare
    from .fitting.fit import Fitted as Fitted
    from .fitting.fit import fit as fit
    from .records.ranking import choose as choose
    from .records.runs import Run as Run
    from .records.table import Runs as Runs
    from .records.table import load_runs as load_runs
    from .reports.report import report as report
    from .screening.screen import Screening as Screening
    from .screening.screen import screen as screen
    from .searches.similar import Similar as Similar
    from .searches.similar import similar as similar

_MODULES = {
    "Audit": "audits.audit",
    "Bundle": "bundles.bundle",
    "Comparison": "fitting.compare",
    "EmbeddingTransformer": ".extract.transformer",
    "Exported": "exports.export",
    "Fitted": "fitting.fit",
    "Prediction": "bundles.prediction",
    "Predictions": "bundles.prediction",
    "Run": "records.runs",
    "Runs": "records.table",
    "Screening": "screening.screen",
    "Similar": "searches.similar",
    "audit": "audits.audit",
    "choose": "records.ranking",
    "compare": "fitting.compare",
    "export": "exports.export",
    "fit": "fitting.fit",
    "load_runs": "records.table",
    "report": "reports.report",
    "screen": "screening.screen",
    "similar": "searches.similar",
}
__all__ = list(_MODULES)
__getattr__, __dir__ = door(__name__, _MODULES)
