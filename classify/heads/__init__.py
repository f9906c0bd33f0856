"""Heads: the table of estimators that turn an embedding into a class, a file each.

Names are imported when they are first used. Estimators say that they are of this package, wherever in it they lie.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .baseline import Baseline
    from .calibration import Calibrated
    from .centroid import Centroid
    from .classifier_stack import ClassifierStack
    from .lda import Lda
    from .leading_axes import LeadingAxes
    from .mlp import Mlp
    from .naive_bayes import NaiveBayes
    from .neighbours import Neighbours
    from .penalised import LinearSVM, Logistic
    from .preparation import OneScale, UnitRows
    from .rbf_svm import RbfSVM
    from .ridge import Ridge
    from .table import HEADS, Head
    from .torch_linear import TorchLinear

__all__ = [
    "HEADS",
    "Baseline",
    "Calibrated",
    "Centroid",
    "ClassifierStack",
    "Head",
    "Lda",
    "LeadingAxes",
    "LinearSVM",
    "Logistic",
    "Mlp",
    "NaiveBayes",
    "Neighbours",
    "OneScale",
    "RbfSVM",
    "Ridge",
    "TorchLinear",
    "UnitRows",
]

_MODULES = {
    "Baseline": "baseline",
    "Calibrated": "calibration",
    "Centroid": "centroid",
    "ClassifierStack": "classifier_stack",
    "HEADS": "table",
    "Head": "table",
    "Lda": "lda",
    "LeadingAxes": "leading_axes",
    "LinearSVM": "penalised",
    "Logistic": "penalised",
    "Mlp": "mlp",
    "NaiveBayes": "naive_bayes",
    "Neighbours": "neighbours",
    "OneScale": "preparation",
    "RbfSVM": "rbf_svm",
    "Ridge": "ridge",
    "TorchLinear": "torch_linear",
    "UnitRows": "preparation",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
