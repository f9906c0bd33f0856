"""Training under a protocol, and its record; the same for pixels and for cached rows."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
from ..heads.calibration import find_temperature
from ..records.fold_fit import FoldFit, ranges
from ..records.outcome import Evaluated
from ..records.runs import Run
from ..settings import FitSettings, Training
from .training_loop import logits, train
from .training_task import Inputs, State, TrainingTask


@dataclass(frozen=True)
class TrainableModule:
    """A module, the parts of it to train, its `new` parameters (not pretrained), and notes for the record."""

    module: torch.nn.Module
    parts: list[torch.nn.Module]
    new: frozenset[str]
    notes: list[str]


@dataclass(frozen=True)
class Trained:
    """The result of training on all pairs of the protocol."""

    run: Run
    # `(n, classes)`: logits of rows that were not trained on by the network that made them. Of every row after
    # cross-validation, otherwise of the held-out part of train; NaN elsewhere.
    scores: npt.NDArray[np.float64]
    temperature: float  # of `scores`
    # Of the network that was trained last: on all rows after cross-validation, empty where that was not asked for.
    state_dict: dict[str, torch.Tensor]


@dataclass(frozen=True)
class TrainingStudy:
    """Training under a protocol: once per pair of fitted and evaluated rows, then one record."""

    images: Rows
    plan: Protocol
    evaluated: Evaluated
    settings: FitSettings
    training: Training
    recipe: Recipe
    weights_source: str
    identity: str
    head: str = ""
    trainable: str = ""
    augment: bool | None = None  # whether images are augmented; None where there are none
    folder: Path | None = None  # of the records; checkpoints are in a folder in it

    def run(
        self,
        build: Callable[[], TrainableModule],
        inputs: Inputs,
        device: torch.device,
        *,
        averaged: Sequence[Inputs] = (),
        refit: bool = False,
        **reporting: Any,
    ) -> Trained:
        """Train once per pair of the protocol, and predict every evaluated row once.

        Parameters
        ----------
        averaged
            Other views of the evaluated rows, over which their probabilities are averaged.
        refit
            After cross-validation, train once more on all rows, for the median of the folds' best epochs.
        reporting
            As in :func:`fc7.classify.finetuning.training_loop.train`.
        """
        y, pairs = self.images.y, self.plan.pairs
        shape = len(y), len(self.images.classes)
        probability, scores = np.full(shape, np.nan), np.full(shape, np.nan)
        several = len(pairs) > 1
        session = _Session(self, build, inputs, device, len(pairs) + (refit and several), reporting)
        folds: list[FoldFit] = []
        for number, (fitted, predicted) in enumerate(pairs):
            inner, held = self.held_out(fitted)[0]
            name = f"fold {number + 1} of {len(pairs)}" if several else ""
            task, state = session.train(inner, held=held, watched=predicted, name=name)
            log_probability = log_softmax(logits(task, held), axis=1)
            temperature, log_loss = find_temperature(log_probability, y[held])
            start = time.perf_counter()
            centre = logits(task, predicted)
            views = [centre, *(logits(replace(task, inputs=view), predicted) for view in averaged)]
            probability[predicted] = np.mean([softmax(view / temperature, axis=1) for view in views], axis=0)
            session.seconds["predict"] += time.perf_counter() - start
            rows, outputs = (predicted, centre) if several else (held, log_probability)
            scores[rows] = outputs
            accuracy = float((log_probability.argmax(axis=1) == y[held]).mean())
            folds.append(
                FoldFit(
                    len(inner), len(predicted), log_loss, accuracy, temperature,
                    held_out=len(held), epochs=state.epoch, best_epoch=state.best_epoch,
                )
            )  # fmt: skip
        curves = [
            ({"fold": number + 1} if several else {}) | line
            for number, state in enumerate(session.states)
            for line in state.curves
        ]
        notes = _stops(session.states, self.training)
        if several:
            temperature, _ = find_temperature(scores, y)
        if several and refit:
            epochs = statistics.median_low(fold.best_epoch or 1 for fold in folds)
            every, none = np.arange(len(y)), np.arange(0)
            task, state = session.train(every, held=none, watched=none, name="all images", until=epochs)
            notes.append(f"refitted on all {len(y)} images: {state.epochs:.3g} of {epochs} epochs, the folds' median")
        values = task.module.state_dict().items() if refit or not several else ()
        state_dict = {name.removeprefix("network."): value.detach().cpu() for name, value in values}
        embeddings = self.images if isinstance(self.images, Embeddings) else None
        names = ("learning_rate", "epochs", "batch_size", "optimiser")
        options = {name: getattr(self.training, name) for name in names}
        best = ranges(folds)["best_epoch"] if several else folds[0].best_epoch
        run = self.evaluated.run(
            id=self.identity,
            head=self.head,
            trainable=self.trainable,
            recipe=self.recipe.to_dict(),
            weights_source=self.weights_source,
            probability=probability[self.plan.rows],
            predicted=probability[self.plan.rows].argmax(axis=1),
            selection={
                "by": "log loss of a held-out part of train",
                "log_loss": float(np.mean([fold.log_loss for fold in folds])),
                "accuracy": float(np.mean([fold.accuracy for fold in folds])),
            },
            hyperparameters=options | {"best_epoch": best},
            protocol={
                "class_weight": self.settings.class_weight,
                "preparation": None,
                "views": len(embeddings.views) if embeddings else 0,
                "average_views": self.settings.average_views,
                "device": device.type,
                **({} if self.augment is None else {"augment": self.augment}),
            },
            folds=folds,
            seconds=session.seconds | {"extract": embeddings.seconds if embeddings else 0.0},
            curves=curves,
            notes=session.notes + notes,
        )
        return Trained(run, scores, temperature, state_dict)

    def held_out(self, fitted: Positions) -> list[tuple[Positions, Positions]]:
        """Return parts of the fitted rows; the first one is held out to choose the epoch on."""
        return cut(self.images, fitted, self.training.held_out, self.training.random_state)

    def forget_checkpoints(self) -> None:
        """Delete the checkpoints from which a killed run would have resumed."""
        for number in range(len(self.plan.pairs) + 1):
            path = self.checkpoint(number)
            if path:
                path.unlink(missing_ok=True)

    def weights(self, fitted: Positions) -> npt.NDArray[np.float32] | None:
        """Return the weights of the classes in rows that are trained on."""
        weights, classes = self.settings.weights(self.images.classes), np.arange(len(self.images.classes))
        if weights is None:
            return None
        return np.asarray(compute_class_weight(weights, classes=classes, y=self.images.y[fitted]), np.float32)

    def checkpoint(self, number: int) -> Path | None:
        """Return the checkpoint of a training, counted from 0."""
        return self.folder / "checkpoints" / f"{self.identity[:16]}-{number}.pt" if self.folder else None


@dataclass
class _Session:
    """The trainings of a study, one after the other, which share its limit of seconds."""

    study: TrainingStudy
    build: Callable[[], TrainableModule]
    inputs: Inputs
    device: torch.device
    trainings: int
    reporting: dict[str, Any]
    states: list[State] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"fit": 0.0, "predict": 0.0})
    notes: list[str] = field(default_factory=list)  # on where parameters started: the same in every training

    def train(
        self, rows: Positions, *, held: Positions, watched: Positions, name: str, until: int | None = None
    ) -> tuple[TrainingTask, State]:
        """Train a new module on rows, and return it with how that went."""
        study, number, begun = self.study, len(self.states), time.perf_counter()
        trainable = self.build()
        self.notes = trainable.notes
        limit, left = study.training.limit_seconds, self.trainings - number
        if limit is not None:
            limit = max(0.0, (limit - sum(self.seconds.values())) / left)
        task = TrainingTask(
            module=trainable.module.to(self.device), parts=trainable.parts, new=trainable.new, inputs=self.inputs,
            y=study.images.y, fitted=rows, held=held, watched=watched, device=self.device,
            options=replace(study.training, limit_seconds=limit), bf16=study.recipe.precision == "bf16",
            weights=study.weights(rows), until=until, name=name, trainings=left if not number else 0,
        )  # fmt: skip
        loading = time.perf_counter() - begun
        state = train(task, checkpoint=study.checkpoint(number), keep=self.trainings > 1, **self.reporting)
        self.seconds["fit"] += loading + state.seconds
        self.states.append(state)
        return task, state


def seeded_layers(new: frozenset[str], last: str) -> list[str]:
    """Return a note that names the layers which started from a seed; none if only the last layer did."""
    seeded = sorted({name.rpartition(".")[0] for name in new} - {last})
    return [f"started from a seed, not from pretrained values: {', '.join(seeded)}"] if seeded else []


def _stops(states: Sequence[State], options: Training) -> list[str]:
    """Return notes on trainings that ended before their last epoch, and in how many folds."""
    notes = []
    limit = "" if options.limit_seconds is None else f" by the limit of {options.limit_seconds:g} s"
    for reason, why in ("patience", ""), ("limit", limit):
        epochs = [state.epochs for state in states if state.stopped == reason]
        if epochs:
            first, last = f"{min(epochs):.3g}", f"{max(epochs):.3g}"
            span = first if first == last else f"{first} to {last}"
            where = f" in {len(epochs)} of {len(states)} folds" if len(states) > 1 else ""
            notes.append(f"stopped after {span} of {options.epochs} epochs{why}{where}")
    return notes
