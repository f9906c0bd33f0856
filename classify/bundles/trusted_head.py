"""The head of a bundle, read with a fixed list of types and looked at before it is used."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...cache.recipe import AnyRecipe
from ...errors import BundleError, FC7Error
from ...extract.text import few
from .members import require_small
from .tree_checks import check_trees, columns

# Types that a head may hold, beyond skops' own defaults. A file that needs any other type is refused.
TRUSTED = (
    "fc7.classify.heads.Baseline",
    "fc7.classify.heads.Calibrated",
    "fc7.classify.heads.Centroid",
    "fc7.classify.heads.ClassifierStack",
    "fc7.classify.heads.Lda",
    "fc7.classify.heads.LeadingAxes",
    "fc7.classify.heads.LinearSVM",
    "fc7.classify.heads.Logistic",
    "fc7.classify.heads.Mlp",
    "fc7.classify.heads.NaiveBayes",
    "fc7.classify.heads.Neighbours",
    "fc7.classify.heads.OneScale",
    "fc7.classify.heads.RbfSVM",
    "fc7.classify.heads.Ridge",
    "fc7.classify.heads.StandardRows",
    "fc7.classify.heads.TorchLinear",
    "fc7.classify.heads.UnitRows",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",  # an array of nodes; see tree_checks.py
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",  # numbers and arrays, not used to predict
    "sklearn.tree._tree.Tree",  # arrays of nodes; see tree_checks.py
)


def load_head(path: Path, data: bytes) -> Any:
    """Return the head that a member of the file `path` holds; BundleError if it holds a type that no head has."""
    import skops.io

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:  # the head is a zip file, too
            require_small(path, archive)
        foreign = sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED))
        if foreign:
            raise BundleError(f"{path} holds types that no head of fc7 has: {few(foreign)}. It was not loaded.")
        head = skops.io.loads(data, trusted=list(TRUSTED))
        check_trees(head)
        return head
    except FC7Error:
        raise
    except Exception as error:  # a hostile schema can make skops fail in any way; none may escape
        raise BundleError(f"{path}: its head cannot be read: {error}") from error


def require_consistent(path: Path, head: Any, classes: Sequence[str], recipe: AnyRecipe) -> None:
    """Refuse a head that does not take the recipe's vectors, or has other classes."""
    outputs, dim = len(getattr(head, "classes_", ())), getattr(head, "n_features_in_", None)
    if not hasattr(head, "predict_proba") or dim != recipe.dim:
        raise BundleError(f"{path}: its head is a {type(head).__name__} of {dim}-d, its recipe gives {recipe.dim}-d.")
    if columns(head) > recipe.dim:
        raise BundleError(f"{path}: its head looks at column {columns(head)}, its recipe gives {recipe.dim}-d.")
    if outputs != len(set(classes)) or outputs != len(classes):
        raise BundleError(f"{path}: its head has {outputs} classes, its description {few(classes)}.")


def require_version(path: Path, written: str) -> None:
    """Refuse a head that another scikit-learn wrote."""
    from sklearn import __version__ as installed

    if written.split(".")[:2] != installed.split(".")[:2]:
        raise BundleError(
            f"{path} was written with scikit-learn {written}, this is {installed}. Fit again (the cache makes that "
            f"cheap), or: pip install 'scikit-learn=={written}'"
        )
