"""Fine-tuning from pixels, or of the classifier stack on cached pool5, under the protocol of the heads."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import log_softmax, softmax
from sklearn.utils.class_weight import compute_class_weight

from ..cache.embeddings import Embeddings, Rows
from ..cache.recipe import JointRecipe, Recipe
from ..errors import DataError, UsageError
from ..extract.backbones.architectures import architecture
from ..extract.backbones.backbone import Backbone, load_backbone
from ..extract.backbones.network import with_classes
from ..extract.backbones.torch_runtime import exact_float32
from ..extract.manifest.manifest import Manifest
from ..extract.progress import Progress, silent
from .arrays import Positions
from .data.splits import Protocol, cut, protocol
from .evaluation.metrics import measure
from .heads import classifier_stack
from .heads.base import ClassWeight
from .heads.calibration import Calibrated, find_temperature
from .heads.table import HEADS
from .pixels import CachedRows, Pixels, usable
from .records.runs import Run, fingerprint, machine, predictions, run_id, versions
from .training import State, Task, Training, logits, train

if TYPE_CHECKING:
    from .fit import Bench, Fitted

logger = logging.getLogger(__name__)

ARMS = ("head", "classifier", "all")


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned network with the record of how good it is.

    Attributes
    ----------
    run
        The record.
    state
        The network's parameters by torchvision's names, the last layer included; of the last fold if there are folds.
    """

    run: Run
    state: dict[str, torch.Tensor]

    def save(self, folder: Path | str) -> Path:
        """Write the parameters as .safetensors beside the record and return the path.

        Raises
        ------
        DataError
            The file cannot be written.
        """
        from safetensors.torch import save_file

        path = Path(folder) / f"{self.run.id[:16]}.safetensors"
        try:
            save_file({name: value.contiguous() for name, value in self.state.items()}, path)
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error}") from error
        return path


def finetune(
    manifest: Manifest,
    backbone: str,
    trainable: str = "head",
    *,
    weights: str | None = None,
    training: Training | None = None,
    augment: bool = True,
    precision: str = "fp32",
    device: str = "auto",
    on: str | None = None,
    cross_validate: int | None = None,
    allow_leakage: bool = False,
    folder: Path | str | None = None,
    cache: Path | str | None = None,
    workers: int | None = None,
    progress: Progress = silent,
    on_epoch: Callable[[str], None] | None = None,
) -> Tuned:
    """Fine-tune a backbone from pixels on the images, the split and the measures that heads are compared by.

    Parameters
    ----------
    manifest, backbone, weights, precision, device, cache, workers
        As in :func:`fc7.extract.load_backbone` and :func:`fc7.extract.extract`.
    trainable
        ``head`` (the last layer), ``classifier`` (fc6 to fc8 with their dropout, the published recipe) or ``all``.
    training
        See :class:`fc7.classify.training.Training`; the epoch is chosen on a part of train, never on what is evaluated.
    augment
        Random resized crops and mirror images while training; otherwise the centre crop, as cached embeddings see it.
    on, cross_validate, allow_leakage
        See :func:`fc7.classify.fit`.
    folder
        Where checkpoints are kept, so that a killed run goes on, and the record is written. A run whose record is there
        is not done again; its ``state`` is empty then.
    progress, on_epoch
        Called with images done, and with a line per epoch.

    Raises
    ------
    UsageError
        No such backbone, arm or option.
    WeightsError
        The weights are absent, or lack layers that are not trained.
    DataError, LeakageError
        See :func:`fc7.classify.data.splits.protocol`.
    Interrupted
        Ctrl-C; the last finished epoch is kept.
    """
    if trainable not in ARMS:
        raise UsageError(f"There is no fine-tuning arm {trainable!r}. Arms: {', '.join(ARMS)}.")
    options = training or Training()
    net = load_backbone(backbone, weights=weights, precision=precision, device=device, cache=cache, progress=progress)
    images = usable(manifest, cache, workers)
    seed = options.random_state
    plan = protocol(images, on=on, cross_validate=cross_validate, random_state=seed, allow_leakage=allow_leakage)
    recipe = replace(net.recipes[0], layer="logits", dim=len(images.classes), dtype="float32")
    decides = {"recipe": recipe.id, "trainable": trainable, "augment": augment, "evaluated": plan.evaluated}
    identity = run_id(decides | {"data": fingerprint(images), "training": options.to_dict()})
    finished = _finished(folder, identity)
    if finished:
        return Tuned(finished, {})
    pixels = Pixels(manifest.root, images, recipe, augment=augment, seed=options.random_state, workers=workers)
    study = _Study(images, plan, options, recipe, net.weights_source, identity, Path(folder) if folder else None)

    def build() -> _Module:
        return _pixel_module(net, recipe, trainable, options.random_state, len(images.classes))

    stage = f"finetune {backbone} {trainable}"
    outcome = study.run(build, pixels, net.device, progress=progress, stage=stage, on_epoch=on_epoch)
    run = study.record(outcome, head="", trainable=trainable, augment=augment)
    if folder:
        run.save(Path(folder))
        study.forget_checkpoints()
    return Tuned(run, outcome.state_dict)


def fit_stack(bench: "Bench", *, epochs: int | None = None, training: Training | None = None,
              progress: Progress = silent, on_epoch: Callable[[str], None] | None = None) -> "Fitted":  # fmt: skip
    """Train a backbone's own fully connected stack on its cached pool5: the head ``classifier``.

    With float32 embeddings it does what :func:`finetune` does with ``trainable="classifier"`` and without augmentation:
    same order of images, same dropout, same losses, without recomputing the convolutions.

    Raises
    ------
    UsageError
        The embeddings are not the pool5 of a network with such a stack.
    """
    from sklearn.pipeline import Pipeline

    from .fit import Fitted

    table, plan = bench.embeddings, bench.protocol
    recipe = table.recipe
    if isinstance(recipe, JointRecipe) or recipe.layer != classifier_stack.LAYER:
        layer = classifier_stack.LAYER
        raise UsageError(f"The head classifier takes {layer}, not {table.recipe.layer}: --layer {layer}")
    options = training or Training(random_state=plan.random_state)
    options = replace(options, epochs=epochs) if epochs else options
    identity = bench.identify(HEADS["classifier"], epochs)
    identity = run_id({"bench": identity, "training": training.to_dict()}) if training else identity
    study = _Study(table, plan, options, recipe, table.weights_source, identity, None, bench.weights)
    device = torch.device("cpu")

    def build() -> _Module:
        return _stack_module(table, recipe, options.random_state)

    outcome = study.run(
        build,
        CachedRows((table.vectors[:], *(view[:] for view in table.views)), options.random_state),
        device,
        progress=progress,
        stage="fit classifier",
        on_epoch=on_epoch,
    )
    run = study.record(outcome, head="classifier", trainable="", augment=False)
    run = replace(run, selection=run.selection | {"class_weight": bench.class_weight})
    arrays = {name: value.numpy() for name, value in outcome.state_dict.items()}
    fitted = classifier_stack.ClassifierStack(table.recipe.backbone, arrays, len(table.classes))
    return Fitted(Pipeline([("head", Calibrated(fitted, outcome.temperature))]), run, table)


def _finished(folder: Path | str | None, identity: str) -> Run | None:
    path = Path(folder) / f"{identity[:16]}.json" if folder else None
    try:
        return Run.load(path) if path and path.exists() else None
    except DataError as error:
        logger.warning("%s It is done again.", error)
        return None


@dataclass(frozen=True)
class _Module:
    """A module with what is trained of it, and what a reader must know about its start."""

    module: torch.nn.Module
    parts: list[torch.nn.Module]
    new: frozenset[str]
    notes: list[str]


@dataclass(frozen=True)
class _Outcome:
    probability: npt.NDArray[np.float64]
    curves: list[dict[str, float]]
    selection: dict[str, Any]
    seconds: dict[str, float]
    temperature: float
    state_dict: dict[str, torch.Tensor]
    notes: list[str]


@dataclass(frozen=True)
class _Study:
    """Images under a protocol, trained on and recorded; the same for pixels and for cached rows."""

    images: Rows
    plan: Protocol
    options: Training
    recipe: Recipe
    weights_source: str
    identity: str
    folder: Path | None
    class_weight: ClassWeight = None  # by position of the class

    def run(
        self,
        build: Callable[[], _Module],
        inputs: Any,
        device: torch.device,
        *,
        progress: Progress,
        stage: str,
        on_epoch: Callable[[str], None] | None,
    ) -> _Outcome:
        """Train once per pair of the protocol, and predict every evaluated row once."""
        started = time.perf_counter()
        y = self.images.y
        probability = np.full((len(y), len(self.images.classes)), np.nan)
        chosen, seconds_predict = [], 0.0
        for number, (fitted, predicted) in enumerate(self.plan.pairs):
            made = build()
            inner, held = cut(self.images, fitted, self.options.held_out, self.options.random_state)[0]
            task = Task(made.module.to(device), made.parts, made.new, inputs, y, inner, held, predicted, self.options,
                        device, bf16=self.recipe.precision == "bf16", weights=self._weights(inner))  # fmt: skip
            with exact_float32():
                state = train(
                    task,
                    checkpoint=self._checkpoint(number),
                    keep=len(self.plan.pairs) > 1,
                    progress=progress,
                    stage=stage,
                    on_epoch=on_epoch,
                )
                found = log_softmax(logits(task, held), axis=1)
                temperature, log_loss = find_temperature(found, y[held])
                start = time.perf_counter()
                probability[predicted] = softmax(logits(task, predicted) / temperature, axis=1)
                seconds_predict += time.perf_counter() - start
            right = found.argmax(axis=1) == y[held]
            chosen.append((log_loss, float(right.mean()), state))
        seconds = {"extract": 0.0, "fit": time.perf_counter() - started - seconds_predict, "predict": seconds_predict}
        last: State = chosen[-1][2]
        selection = {
            "by": "log loss of a held-out part of train",
            "held_out": len(held),
            "best_epoch": last.best_epoch,
            "log_loss": float(np.mean([one[0] for one in chosen])),
            "accuracy": float(np.mean([one[1] for one in chosen])),
        }
        stopped = (
            [f"stopped after {last.epoch} of {self.options.epochs} epochs"] if last.epoch < self.options.epochs else []
        )
        state_dict = {name: value.cpu() for name, value in _plain_names(made.module).items()}
        return _Outcome(
            probability[self.plan.rows], last.curves, selection, seconds, temperature, state_dict, made.notes + stopped
        )

    def record(self, outcome: _Outcome, *, head: str, trainable: str, augment: bool) -> Run:
        """Return the run record."""
        evaluated = self.images[self.plan.rows]
        source = self.weights_source
        random = ["random weights: a lower bound, not a result"] if source.startswith("random:") else []
        shown = {name: getattr(self.options, name) for name in ("learning_rate", "epochs", "batch_size", "optimiser")}
        spent = self.images.seconds if isinstance(self.images, Embeddings) else 0.0
        return Run(
            id=self.identity,
            head=head,
            trainable=trainable,
            recipe=self.recipe.to_dict(),
            weights_source=source,
            data={
                "name": self.images.name,
                "fingerprint": fingerprint(self.images),
                "classes": list(self.images.classes),
                "evaluated": self.plan.evaluated,
                "n_train": len(self.plan.pairs[0][0]),
                "n_eval": len(evaluated),
            },
            selection=outcome.selection,
            hyperparameters=shown | {"best_epoch": outcome.selection["best_epoch"], "augment": augment},
            metrics=measure(evaluated.y, outcome.probability).to_dict(),
            seconds=outcome.seconds | {"extract": spent},
            predictions=predictions(evaluated, outcome.probability),
            curves=outcome.curves,
            notes=random + outcome.notes,
            versions=versions("numpy", "scikit-learn", "torch", "torchvision"),
            machine=machine(),
        )

    def forget_checkpoints(self) -> None:
        """Delete what a killed run would have gone on from."""
        for number in range(len(self.plan.pairs)):
            path = self._checkpoint(number)
            if path:
                path.unlink(missing_ok=True)

    def _weights(self, fitted: Positions) -> npt.NDArray[np.float32] | None:
        if self.class_weight is None:
            return None
        classes = np.arange(len(self.images.classes))
        found = compute_class_weight(self.class_weight, classes=classes, y=self.images.y[fitted])
        return np.asarray(found, np.float32)

    def _checkpoint(self, number: int) -> Path | None:
        return self.folder / "checkpoints" / f"{self.identity[:16]}-{number}.pt" if self.folder else None


def _pixel_module(net: Backbone, recipe: Recipe, trainable: str, seed: int, classes: int) -> _Module:
    from ..extract.backbones.network import Normalised
    from ..extract.backbones.weights import find_weights

    structure = architecture(net.name)
    weights = find_weights(net.weights_source, structure)
    module, last, new = with_classes(structure, classes, weights, recipe.weights, seed)
    parts = _parts(module, last, trainable, net.name)
    trained = {id(parameter) for part in parts for parameter in part.parameters()}
    frozen = [name for name, parameter in module.named_parameters() if name in new and id(parameter) not in trained]
    if frozen:
        raise UsageError(
            f"--trainable {trainable} leaves {frozen[0]} (and {len(frozen) - 1} more) untrained, but the weights "
            f"{weights.source} lack them. Train more (--trainable all), or name complete weights."
        )
    whole = Normalised(module, recipe.transform).to(memory_format=torch.channels_last)
    return _Module(whole, parts, frozenset(f"network.{name}" for name in new), _started(new, last))


def _parts(module: torch.nn.Module, last: str, trainable: str, name: str) -> list[torch.nn.Module]:
    if trainable == "head":
        return [module.get_submodule(last)]
    if trainable == "all":
        return [module]
    if not isinstance(getattr(module, "classifier", None), torch.nn.Sequential):
        raise UsageError(f"{name} has no classifier stack; --trainable head or all.")
    return [module.get_submodule("classifier")]


def _stack_module(table: Embeddings, recipe: Recipe, seed: int) -> _Module:
    from ..extract.backbones.weights import find_weights

    structure = architecture(recipe.backbone)
    weights = find_weights(table.weights_source, structure)
    module, last, new = with_classes(structure, len(table.classes), weights, recipe.weights, seed)
    part = module.get_submodule("classifier")
    inside = frozenset(name.removeprefix("classifier.") for name in new if name.startswith("classifier."))
    return _Module(part, [part], inside, _started(new, last))


def _started(new: frozenset[str], last: str) -> list[str]:
    seeded = sorted({name.rpartition(".")[0] for name in new} - {last})
    return [f"started from a seed, not from pretrained values: {', '.join(seeded)}"] if seeded else []


def _plain_names(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name.removeprefix("network."): value.detach() for name, value in module.state_dict().items()}
