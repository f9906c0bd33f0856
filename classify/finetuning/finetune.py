"""Fine-tuning from pixels, or of the classifier stack on cached pool5, under the protocol of the heads."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...cache.output_file import OutputFile
from ...cache.recipe import Recipe
from ...errors import DataError, UsageError
from ...extract.backbones.architectures import architecture
from ...extract.backbones.backbone import Backbone
from ...extract.backbones.network import with_classes
from ...extract.backbones.published import load_backbone
from ...extract.backbones.torch_runtime import warn_of_slow_bfloat16
from ...extract.computing import computing
from ...extract.manifest.hashing import Hashed
from ...extract.manifest.manifest import Manifest
from ...extract.progress import Progress, silent
from ..data.checks import labelled
from ..data.splits import protocol
from ..records.outcome import Evaluated
from ..records.runs import Run, finished_run, run_id
from ..settings import ARMS, FitSettings, Training
from .inputs import Pixels, usable
from .study import TrainableModule, TrainingStudy, seeded_layers


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned network with the record of how good it is."""

    run: Run
    # The network's parameters by torchvision's names, the last layer included. After cross-validation they are of a
    # network that was trained once more, on all images for the median of the folds' best epochs, while the record's
    # figures are those of the folds. Empty where that was not asked for, or the run was there already.
    state: dict[str, torch.Tensor]

    def save(self, folder: Path | str) -> Path:
        """Write the parameters as .safetensors beside the record and return the path.

        Raises DataError if it cannot be written.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        output = OutputFile(Path(folder) / f"{self.run.id[:16]}.safetensors")
        with output.temporary() as temporary_file:
            try:
                save_file({name: value.contiguous() for name, value in self.state.items()}, temporary_file)
            except SafetensorError as error:  # a disk that is full, too
                raise DataError(f"{output.path} cannot be written: {error}.") from error
        return output.path


@computing()
def finetune(
    manifest: Manifest | Hashed,
    backbone: str,
    trainable: str = "head",
    *,
    weights: str | None = None,
    transform: Any = None,
    resize: str | None = None,
    training: Training | None = None,
    augment: bool = True,
    precision: str = "fp32",
    device: str = "auto",
    on: str | None = None,
    cross_validate: int | None = None,
    allow_leakage: bool = False,
    refit: bool = True,
    folder: Path | str | None = None,
    cache: Path | str | None = None,
    workers: int | None = None,
    progress: Progress = silent,
    on_epoch: Callable[[str], None] | None = None,
) -> Tuned:
    """Fine-tune a backbone from pixels, with the images, the split and the metrics that heads are compared by.

    Parameters
    ----------
    manifest, backbone, weights, transform, resize, precision, device, cache, workers
        As in :func:`fc7.extract.load_backbone` and :func:`fc7.extract.extract`.
    trainable
        ``head`` (the last layer), ``classifier`` (fc6 to fc8 with their dropout, the published recipe) or ``all``.
    training
        See :class:`fc7.classify.settings.Training`. The epoch is chosen on a held-out part of train,
        never on the evaluated images.
    augment
        Train on random resized crops and mirror images; otherwise on the centre crop, like cached embeddings.
    on, cross_validate, allow_leakage
        See :func:`fc7.classify.fit`.
    refit
        Whether to train once more on all images after cross-validation, for ``state``.
    folder
        Where checkpoints, from which a killed run resumes, and the record are written. A run that has a record there is
        not done again; its ``state`` is empty.
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
        Ctrl-C; the epochs that the message names are kept.
    """
    if trainable not in ARMS:
        raise UsageError(f"There is no fine-tuning arm {trainable!r}. Arms: {', '.join(ARMS)}.")
    training = training or Training()
    seed = training.random_state
    settings = FitSettings(on=on, cross_validate=cross_validate, random_state=seed, allow_leakage=allow_leakage)
    machine: dict[str, Any] = {"device": device, "cache": cache, "progress": progress}
    machine |= {"resize": resize, "precision": precision}
    net = load_backbone(backbone, weights=weights, transform=transform, **machine)
    hashed = Hashed.of(manifest, cache, progress=progress)
    images = labelled(usable(hashed, workers))
    plan = protocol(images, settings)
    evaluated = Evaluated.of(images, plan)
    recipe = replace(net.recipes[0], layer="logits", dim=len(images.classes), dtype="float32")
    decides = {"recipe": recipe.id, "trainable": trainable, "augment": augment, "evaluated": plan.evaluated}
    decides |= {"data": evaluated.fingerprint, "training": vars(training), "device": net.device.type}
    target = Path(folder) if folder else None
    study = TrainingStudy(
        images, plan, evaluated, settings, training, recipe, net.weights_source, run_id(decides),
        trainable=trainable, augment=augment, folder=target,
    )  # fmt: skip
    finished = finished_run(target, study.identity, evaluated.paths) if target else None
    if finished:
        return Tuned(finished, {})
    if precision == "bf16":
        warn_of_slow_bfloat16(net.device)
    build = partial(_pixel_module, net, recipe, trainable, seed=seed, classes=len(images.classes))
    stage = f"finetune {backbone} {trainable}"
    beside = net.device.type != "cpu"
    with Pixels(
        hashed.manifest.root, images, recipe, augment=augment, seed=seed, workers=workers, processes=beside
    ) as pixels:
        trained = study.run(build, pixels, net.device, refit=refit, progress=progress, stage=stage, on_epoch=on_epoch)
    if target:
        trained.run.save(target)
        study.forget_checkpoints()
    return Tuned(trained.run, trained.state_dict)


def _pixel_module(net: Backbone, recipe: Recipe, trainable: str, seed: int, classes: int) -> TrainableModule:
    from ...extract.backbones.network import Normalised
    from ...extract.weights.sources import find_weights

    published = architecture(net.name)
    weights = find_weights(net.weights_source, published)
    structure = published.at(recipe.transform.crop)
    module, last, new = with_classes(structure, classes, weights, recipe.weights, seed=seed)
    parts = _parts(module, last, trainable, net.name)
    trained = {id(parameter) for part in parts for parameter in part.parameters()}
    frozen = [name for name, parameter in module.named_parameters() if name in new and id(parameter) not in trained]
    if frozen:
        raise UsageError(
            f"--trainable {trainable} leaves {frozen[0]} (and {len(frozen) - 1} more) untrained, but the weights "
            f"{weights.source} lack them. Train more (--trainable all), or name complete weights."
        )
    normalised = Normalised(module, recipe.transform).to(memory_format=torch.channels_last)
    return TrainableModule(normalised, parts, frozenset(f"network.{name}" for name in new), seeded_layers(new, last))


def _parts(module: torch.nn.Module, last: str, trainable: str, name: str) -> list[torch.nn.Module]:
    if trainable == "head":
        return [module.get_submodule(last)]
    if trainable == "all":
        return [module]
    if not isinstance(getattr(module, "classifier", None), torch.nn.Sequential):
        raise UsageError(f"{name} has no classifier stack; --trainable head or all.")
    return [module.get_submodule("classifier")]
