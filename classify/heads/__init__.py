"""Heads: estimators that turn an embedding into a class.

Names are imported when they are first used. Estimators say that they are of this package, wherever in it they lie.
"""

from typing import TYPE_CHECKING

from ...errors import door

if TYPE_CHECKING:
    from .baseline import Baseline as Baseline
    from .calibration import Calibrated as Calibrated
    from .centroid import Centroid as Centroid
    from .classifier_stack import ClassifierStack as ClassifierStack
    from .lda import Lda as Lda
    from .leading_axes import LeadingAxes as LeadingAxes
    from .mlp import Mlp as Mlp
    from .naive_bayes import NaiveBayes as NaiveBayes
    from .neighbours import Neighbours as Neighbours
    from .penalised import LinearSVM as LinearSVM
    from .penalised import Logistic as Logistic
    from .preparation import OneScale as OneScale
    from .preparation import StandardRows as StandardRows
    from .preparation import UnitRows as UnitRows
    from .rbf_svm import RbfSVM as RbfSVM
    from .ridge import Ridge as Ridge
    from .table import HEADS as HEADS
    from .table import Head as Head
    from .torch_linear import TorchLinear as TorchLinear

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
    "StandardRows": "preparation",
    "TorchLinear": "torch_linear",
    "UnitRows": "preparation",
}
__all__ = list(_MODULES)
__getattr__, __dir__ = door(__name__, _MODULES)
