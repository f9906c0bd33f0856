"""A backbone's own fully connected stack, trained on its cached pool5: the head ``classifier``."""

from collections.abc import Callable

import torch
from sklearn.pipeline import Pipeline

from ...cache.embeddings import Embeddings
from ...cache.recipe import JointRecipe, Recipe
from ...errors import UsageError
from ...extract.backbones.architectures import architecture
from ...extract.backbones.network import with_classes
from ...extract.backbones.weights import find_weights
from ...extract.progress import Progress, silent
from ..data.splits import Protocol
from ..heads import classifier_stack
from ..heads.base import ClassWeight
from ..heads.calibration import Calibrated
from ..records.runs import Run
from .inputs import CachedRows
from .study import TrainableModule, TrainingStudy, seeded_layers
from .training_loop import Training


def fit_stack(
    embeddings: Embeddings,
    plan: Protocol,
    identity: str,
    *,
    training: Training,
    class_weight: ClassWeight = None,
    progress: Progress = silent,
    on_epoch: Callable[[str], None] | None = None,
) -> tuple[Pipeline, Run]:
    """Train a backbone's own fully connected stack on its cached pool5: the head ``classifier``.

    With float32 embeddings it equals :func:`fc7.classify.finetuning.finetune.finetune` with ``trainable="classifier"``
    and no augmentation: the same order of images, dropout and losses, without computing the convolutions again.

    Parameters
    ----------
    embeddings, plan
        What is fitted and evaluated, and how.
    identity
        The id of the record.
    class_weight
        By position of the class.

    Returns
    -------
    pipeline, run
        From raw embeddings ``(n, dim)`` to calibrated probabilities, and the record.
    """
    recipe = embeddings.recipe
    if isinstance(recipe, JointRecipe) or recipe.layer != classifier_stack.LAYER:
        layer = classifier_stack.LAYER
        raise UsageError(f"The head classifier takes {layer}, not {recipe.layer}: --layer {layer}")
    source = embeddings.weights_source
    study = TrainingStudy(
        embeddings, plan, training, recipe, weights_source=source, identity=identity, class_weight=class_weight
    )
    outcome = study.run(
        lambda: _stack_module(embeddings, recipe, training.random_state),
        CachedRows((embeddings.vectors[:], *(view[:] for view in embeddings.views)), training.random_state),
        torch.device("cpu"),
        progress=progress,
        stage="fit classifier",
        on_epoch=on_epoch,
    )
    run = study.record(outcome, head="classifier", trainable="", augment=False)
    arrays = {name: value.numpy() for name, value in outcome.state_dict.items()}
    stack = classifier_stack.ClassifierStack(recipe.backbone, arrays, len(embeddings.classes))
    return Pipeline([("head", Calibrated(stack, outcome.temperature))]), run


def _stack_module(embeddings: Embeddings, recipe: Recipe, seed: int) -> TrainableModule:
    structure = architecture(recipe.backbone)
    weights = find_weights(embeddings.weights_source, structure)
    module, last, new = with_classes(structure, len(embeddings.classes), weights, recipe.weights, seed=seed)
    stack = module.get_submodule("classifier")
    new_in_stack = frozenset(name.removeprefix("classifier.") for name in new if name.startswith("classifier."))
    return TrainableModule(stack, [stack], new_in_stack, seeded_layers(new, last))
