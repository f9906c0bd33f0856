"""The torch linear head: softmax regression by mini-batches, with a line per epoch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data


def epoch_line(epoch: dict[str, float], epochs: int) -> str:
    """Return ``epoch 3/12 train loss 0.2031 acc 0.926 val loss 0.2511 acc 0.902``."""
    parts = [f"epoch {epoch['epoch']:.0f}/{epochs}"]
    for split in ("train", "val"):
        if f"{split}_loss" in epoch:
            parts.append(f"{split} loss {epoch[f'{split}_loss']:.4f} acc {epoch[f'{split}_accuracy']:.3f}")
    return " ".join(parts)


class TorchLinear(ClassifierMixin, BaseEstimator):
    """Softmax regression trained by AdamW on mini-batches of rows.

    Parameters
    ----------
    learning_rate
        Peak of a one-cycle cosine decay to zero.
    weight_decay
        Decoupled (Loshchilov and Hutter 2019).
    epochs, batch_size, random_state
        As in torch and scikit-learn.

    Attributes
    ----------
    coef_, intercept_
        ``(classes, d)`` and ``(classes,)`` float32: prediction needs no torch.
    curves_
        One dict per epoch: ``epoch, train_loss, train_accuracy`` and, where validation rows were given,
        ``val_loss, val_accuracy``. Validation rows are only looked at; the last epoch is the result.
    """

    def __init__(
        self,
        learning_rate: float = 0.1,
        weight_decay: float = 1e-4,
        epochs: int = 30,
        batch_size: int = 32,
        random_state: int = 0,
    ) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.random_state = random_state

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        validation: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None,
        on_epoch: Callable[[str], None] | None = None,
    ) -> "TorchLinear":
        """Fit on ``X`` ``(n, d)`` and ``y`` ``(n,)``.

        ``validation`` rows are measured after each epoch; ``on_epoch`` is called with a line about it.
        """
        import torch
        from torch.nn import functional

        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs {self.epochs}, batch size {self.batch_size}: must be 1 or more.")
        rows, labels = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        inputs, targets = torch.from_numpy(rows), torch.from_numpy(codes)
        generator = torch.Generator().manual_seed(int(self.random_state))
        layer: Any = torch.nn.utils.skip_init(torch.nn.Linear, rows.shape[1], len(self.classes_))
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        steps = self.epochs * -(-len(rows) // self.batch_size)
        optimiser = torch.optim.AdamW(layer.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        self.curves_: list[dict[str, float]] = []
        for epoch in range(1, self.epochs + 1):
            loss_sum, right = 0.0, 0
            for batch in torch.randperm(len(rows), generator=generator).split(self.batch_size):
                logits = layer(inputs[batch])
                loss = functional.cross_entropy(logits, targets[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                loss_sum += float(loss.detach()) * len(batch)
                right += int((logits.argmax(1) == targets[batch]).sum())
            self._keep(layer)
            line = {"epoch": float(epoch), "train_loss": loss_sum / len(rows), "train_accuracy": right / len(rows)}
            self.curves_.append(line | self._validate(validation))
            if on_epoch:
                on_epoch(epoch_line(self.curves_[-1], self.epochs))
        return self

    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return logits: ``(n, classes)``, for two classes ``(n,)``, as scikit-learn's linear classifiers."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float32, reset=False)
        logits: npt.NDArray[np.float32] = rows @ self.coef_.T + self.intercept_
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return ``(n, classes)`` in the order of ``classes_``."""
        from scipy.special import softmax

        scores = self.decision_function(X)
        logits = np.column_stack([-scores / 2, scores / 2]) if scores.ndim == 1 else scores
        return np.asarray(softmax(logits.astype(np.float64), axis=1))

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n,)`` labels."""
        probability = self.predict_proba(X)  # first: it says so if nothing is fitted
        return np.asarray(self.classes_[probability.argmax(axis=1)])

    def _keep(self, layer: Any) -> None:
        self.coef_ = layer.weight.detach().numpy().copy()
        self.intercept_ = layer.bias.detach().numpy().copy()

    def _validate(self, validation: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None) -> dict[str, float]:
        if validation is None:
            return {}
        rows, labels = validation
        probability = self.predict_proba(rows)
        truth = probability[np.arange(len(labels)), np.searchsorted(self.classes_, labels)]
        return {
            "val_loss": float(-np.log(np.maximum(truth, 1e-7)).mean()),
            "val_accuracy": float((self.classes_[probability.argmax(axis=1)] == labels).mean()),
        }
