"""Training under a protocol, and its record; the same for pixels and for cached rows."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import log_softmax, softmax
from sklearn.utils.class_weight import compute_class_weight

from ...cache.embeddings import Embeddings, Rows
from ...cache.recipe import Recipe
from ..arrays import Positions
from ..data.splits import Protocol, cut
from ..heads.base import ClassWeight
from ..heads.calibration import find_temperature
from ..records.fold_fit import FoldFit
from ..records.runs import Run, build_run, fingerprint
from .training_loop import State, Training, TrainingTask, logits, train


@dataclass(frozen=True)
class TrainableModule:
    """A module, the parts of it to train, its `new` parameters (not pretrained), and notes for the record."""

    module: torch.nn.Module
    parts: list[torch.nn.Module]
    new: frozenset[str]
    notes: list[str]


@dataclass(frozen=True)
class TrainingOutcome:
    """The result of training on all pairs of the protocol."""

    probability: npt.NDArray[np.float64]
    folds: list[FoldFit]
    curves: list[dict[str, float]]
    selection: dict[str, Any]
    seconds: dict[str, float]
    temperature: float
    state_dict: dict[str, torch.Tensor]
    notes: list[str]


@dataclass(frozen=True)
class TrainingStudy:
    """Training under a protocol: once per pair of fitted and evaluated rows, then one record."""

    images: Rows
    plan: Protocol
    options: Training
    recipe: Recipe
    weights_source: str
    identity: str
    folder: Path | None = None
    class_weight: ClassWeight = None  # by position of the class

    def run(
        self, build: Callable[[], TrainableModule], inputs: Any, device: torch.device, **reporting: Any
    ) -> TrainingOutcome:
        """Train once per pair of the protocol, and predict every evaluated row once; `reporting` is as in `train`."""
        started = time.perf_counter()
        y = self.images.y
        probability = np.full((len(y), len(self.images.classes)), np.nan)
        folds, seconds_predict = [], 0.0
        for number, (fitted, predicted) in enumerate(self.plan.pairs):
            trainable = build()
            inner, held = cut(self.images, fitted, self.options.held_out, self.options.random_state)[0]
            task = TrainingTask(
                module=trainable.module.to(device), parts=trainable.parts, new=trainable.new, inputs=inputs, y=y,
                fitted=inner, held=held, watched=predicted, options=self.options, device=device,
                bf16=self.recipe.precision == "bf16", weights=self._weights(inner),
            )  # fmt: skip
            keep = len(self.plan.pairs) > 1
            state = train(task, checkpoint=self._checkpoint(number), keep=keep, **reporting)
            log_probability = log_softmax(logits(task, held), axis=1)
            temperature, log_loss = find_temperature(log_probability, y[held])
            start = time.perf_counter()
            probability[predicted] = softmax(logits(task, predicted) / temperature, axis=1)
            seconds_predict += time.perf_counter() - start
            right = log_probability.argmax(axis=1) == y[held]
            accuracy = float(right.mean())
            folds.append(
                FoldFit(
                    len(fitted), len(predicted), log_loss, accuracy, temperature,
                    epochs=state.epoch, best_epoch=state.best_epoch,
                )
            )  # fmt: skip
        seconds = {"extract": 0.0, "fit": time.perf_counter() - started - seconds_predict, "predict": seconds_predict}
        last: State = state
        selection = {
            "by": "log loss of a held-out part of train",
            "held_out": len(held),
            "best_epoch": last.best_epoch,
            "log_loss": float(np.mean([fold.log_loss for fold in folds])),
            "accuracy": float(np.mean([fold.accuracy for fold in folds])),
        }
        epochs = self.options.epochs
        stopped = [f"stopped after {last.epoch} of {epochs} epochs"] if last.epoch < epochs else []
        state_dict = {name: value.cpu() for name, value in _plain_names(trainable.module).items()}
        return TrainingOutcome(
            probability[self.plan.rows], folds, last.curves, selection, seconds,
            temperature=temperature, state_dict=state_dict, notes=trainable.notes + stopped,
        )  # fmt: skip

    def record(self, outcome: TrainingOutcome, *, head: str, trainable: str, augment: bool) -> Run:
        """Return the run record."""
        options = {name: getattr(self.options, name) for name in ("learning_rate", "epochs", "batch_size", "optimiser")}
        extract = self.images.seconds if isinstance(self.images, Embeddings) else 0.0
        return build_run(
            self.images,
            self.plan,
            outcome.probability,
            fingerprint=fingerprint(self.images),
            packages=("numpy", "scikit-learn", "torch", "torchvision"),
            random=self.weights_source.startswith("random:"),
            id=self.identity,
            head=head,
            trainable=trainable,
            recipe=self.recipe.to_dict(),
            weights_source=self.weights_source,
            selection=outcome.selection,
            hyperparameters=options | {"best_epoch": outcome.selection["best_epoch"], "augment": augment},
            seconds=outcome.seconds | {"extract": extract},
            curves=outcome.curves,
            notes=outcome.notes,
            folds=outcome.folds,
            settings={"class_weight": self.class_weight, "device": "cpu", "views": 0, "average_views": False},
        )

    def forget_checkpoints(self) -> None:
        """Delete the checkpoints from which a killed run would have resumed."""
        for number in range(len(self.plan.pairs)):
            path = self._checkpoint(number)
            if path:
                path.unlink(missing_ok=True)

    def _weights(self, fitted: Positions) -> npt.NDArray[np.float32] | None:
        if self.class_weight is None:
            return None
        classes = np.arange(len(self.images.classes))
        weights = compute_class_weight(self.class_weight, classes=classes, y=self.images.y[fitted])
        return np.asarray(weights, np.float32)

    def _checkpoint(self, number: int) -> Path | None:
        return self.folder / "checkpoints" / f"{self.identity[:16]}-{number}.pt" if self.folder else None


def seeded_layers(new: frozenset[str], last: str) -> list[str]:
    """Return a note that names the layers which started from a seed; none if only the last layer did."""
    seeded = sorted({name.rpartition(".")[0] for name in new} - {last})
    return [f"started from a seed, not from pretrained values: {', '.join(seeded)}"] if seeded else []


def _plain_names(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name.removeprefix("network."): value.detach() for name, value in module.state_dict().items()}
