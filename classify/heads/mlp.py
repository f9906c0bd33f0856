"""The multi-layer perceptron: scikit-learn's, with quick defaults and class weights."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.neural_network import MLPClassifier
from sklearn.utils.class_weight import compute_sample_weight

from .base import ClassWeight, exported

BATCH = 200  # rows in a batch at the most


@exported
class Mlp(MLPClassifier):
    """``MLPClassifier`` with quick defaults, class weights, and batches of about equal size.

    scikit-learn divides the penalty by the rows of a batch: a last batch of a few rows has so strong a penalty that
    nothing is learned.

    Parameters
    ----------
    hidden_layer_sizes, alpha, learning_rate_init, tol, max_iter, n_iter_no_change, random_state
        As in scikit-learn.
    class_weight
        None, ``balanced``, or a dict by label.
    """

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (32,),
        alpha: float = 1e-4,
        learning_rate_init: float = 0.01,
        tol: float = 1e-3,
        max_iter: int = 1000,
        n_iter_no_change: int = 10,
        class_weight: ClassWeight = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            alpha=alpha,
            learning_rate_init=learning_rate_init,
            tol=tol,
            max_iter=max_iter,
            n_iter_no_change=n_iter_no_change,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Fit on ``X`` ``(n, d)`` and labels ``(n,)``.

        Raises
        ------
        ValueError
            There is a single class.
        """
        rows = np.asarray(y).size
        self.batch_size: Any = max(-(-rows // max(-(-rows // BATCH), 1)), 1)
        weights = {} if self.class_weight is None else {"sample_weight": compute_sample_weight(self.class_weight, y)}
        try:
            super().fit(X, y, **weights)
        finally:
            self.batch_size = "auto"
        if len(self.classes_) < 2:
            raise ValueError(f"Mlp needs two classes, the labels have one class: {self.classes_}.")
        return self
