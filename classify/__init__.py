"""The classify room: from cached embeddings to fitted heads, comparisons and predictions."""

from .bundle import Bundle
from .compare import best, compare
from .fit import Fitted, fit
from .predict import Prediction, predict
from .runs import Run, load_runs

__all__ = ["Bundle", "Fitted", "Prediction", "Run", "best", "compare", "fit", "load_runs", "predict"]
