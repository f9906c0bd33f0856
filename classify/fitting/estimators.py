"""Estimators, some of them the user's, which may do anything: fitted without a word, and asked for scores."""

import contextlib
import logging
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning

from ...errors import DataError, FC7Error
from ...extract.text import few
from ..heads.calibration import scores

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


def scores_of(estimator: Any, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the scores of rows, a column for each class by its number, by an estimator that may be the user's."""
    try:
        found, classes = scores(estimator, rows), estimator.classes_
    except (FC7Error, MemoryError):
        raise
    except Exception as error:  # it may raise anything, or lack what classifiers have
        raise DataError(f"{estimator} gives no scores of classes: {error}") from error
    if not np.array_equal(classes, np.arange(found.shape[1])):
        raise DataError(
            f"{estimator} has the classes_ {few(list(map(str, classes)))}: all are needed, the least first."
        )
    return found


def require_answers(estimator: Any, rows: npt.NDArray[np.float32]) -> None:
    """Refuse an estimator of the user's whose scores are not of its classes, and say where they answer otherwise.

    SVC with ``decision_function_shape="ovo"`` has the margins of pairs, which of three classes are as many.
    """
    if not hasattr(estimator, "predict"):
        return
    other = int((scores_of(estimator, rows.copy()).argmax(axis=1) != estimator.predict(rows.copy())).sum())
    said = f"of {len(rows)} fitted images {other} get another answer by its predict than by its largest score"
    if 2 * other > len(rows):
        raise DataError(f"{estimator}: {said}. A score for each class is needed.")
    if 100 * other > len(rows):
        logger.warning("fc7: %s: %s. Figures are of its scores.", type(estimator).__name__, said)


def quietly(
    fit: Callable[[], Any], estimator: Any, images: int, device: "torch.device | None" = None
) -> tuple[Any, bool]:
    """Fit without warnings, and return whether it converged: the record says so once, not every fold."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        # BLAS sets this flag on small matrices without cause; values that are not finite fail when they are measured.
        warnings.filterwarnings("ignore", "invalid value encountered in matmul", RuntimeWarning)
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # two images a class are few
        try:
            with _memory_of(device):
                fitted = fit()
        except (FC7Error, MemoryError):
            raise
        except Exception as error:  # an estimator of the user's may raise anything
            raise DataError(f"{estimator} cannot be fitted on {images} images: {error}") from error
    return fitted, not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _memory_of(device: "torch.device | None") -> contextlib.AbstractContextManager[None]:
    """Say what to do if the memory of a device is too small."""
    if device is None:
        return contextlib.nullcontext()
    from ...extract.backbones.torch_runtime import memory_of

    return memory_of(device, "The processor fits heads, too: --device cpu")
