"""A backbone's own fully connected stack, trained on its cached pool5: the head ``classifier``."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...cache.embeddings import Embeddings
from ...cache.recipe import JointRecipe, Recipe
from ...errors import UsageError
from ...extract.backbones.architectures import architecture
from ...extract.backbones.network import with_classes
from ...extract.progress import Progress, silent
from ..heads import classifier_stack
from ..heads.calibration import Calibrated
from ..heads.table import HEADS
from ..records.runs import run_id
from .inputs import CachedRows
from .study import _Module, _started, _Study
from .training_loop import Training

if TYPE_CHECKING:
    from ..fitting.fit import Bench, Fitted


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


def _stack_module(table: Embeddings, recipe: Recipe, seed: int) -> _Module:
    from ..extract.backbones.weights import find_weights

    structure = architecture(recipe.backbone)
    weights = find_weights(table.weights_source, structure)
    module, last, new = with_classes(structure, len(table.classes), weights, recipe.weights, seed)
    part = module.get_submodule("classifier")
    inside = frozenset(name.removeprefix("classifier.") for name in new if name.startswith("classifier."))
    return _Module(part, [part], inside, _started(new, last))
