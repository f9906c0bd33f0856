"""A backbone's own fully connected stack, trained on its cached pool5: the head ``classifier``."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scipy.special import softmax
from sklearn.pipeline import Pipeline

from ...cache.embeddings import Embeddings
from ...cache.recipe import Recipe
from ...extract.backbones.architectures import architecture
from ...extract.backbones.network import with_classes
from ...extract.progress import Progress, silent
from ...extract.weights.sources import find_weights
from ..data.splits import Fold
from ..evaluation.abstention import Abstention
from ..heads import classifier_stack
from ..heads.calibration import Calibrated
from ..records.runs import Run
from .inputs import CachedRows
from .study import TrainableModule, Trained, TrainingStudy, seeded_layers


def fit_stack(
    embeddings: Embeddings,
    study: TrainingStudy,
    device: torch.device | None = None,
    *,
    progress: Progress = silent,
    on_epoch: Callable[[str], None] | None = None,
) -> tuple[Pipeline, Run, Abstention]:
    """Train a backbone's own fully connected stack on its cached pool5: the head ``classifier``.

    With float32 embeddings it equals :func:`fc7.classify.finetuning.finetune.finetune` with ``trainable="classifier"``
    and no augmentation: the same order of images, dropout and losses, without computing the convolutions again.

    The epoch is chosen on a held-out part of the fitted images. With a split, that network is kept, with the
    temperature of the held-out part. After cross-validation the stack is trained once more, on all images for the
    median of the folds' best epochs, with the temperature of the folds' out-of-fold scores.

    It is trained on the `device`, by default the processor.

    Returns
    -------
    pipeline, run
        From raw embeddings ``(n, dim)`` to calibrated probabilities, and the record.
    abstention
        Of predictions by networks that were not trained on the images: those of the folds for all images, with a split
        those of the held-out part only, which the epoch was chosen on, too.
    """
    recipe, seed = study.recipe, study.training.random_state
    vectors, views = embeddings.vectors[:], [view[:] for view in embeddings.views]
    trained = study.run(
        lambda: _stack_module(embeddings, recipe, seed),
        CachedRows((vectors, *views), seed, device),
        device or torch.device("cpu"),
        averaged=[CachedRows([view], seed, device) for view in views] if study.settings.average_views else [],
        refit=True,
        progress=progress,
        stage="fit classifier",
        on_epoch=on_epoch,
    )
    run = trained.run
    if study.settings.preparation != "unit":
        note = f"fitted without preparation {study.settings.preparation}: it takes rows as they are"
        run = replace(run, notes=[*run.notes, note])
    arrays = {name: value.cpu().numpy() for name, value in trained.state_dict.items()}
    stack = classifier_stack.ClassifierStack.trained(recipe.backbone, arrays, len(embeddings.classes))
    pipeline = Pipeline([("head", Calibrated(stack, trained.temperature))])
    return pipeline, run, _abstention(embeddings, study, trained)


def _abstention(embeddings: Embeddings, study: TrainingStudy, trained: Trained) -> Abstention:
    """Return what out-of-fold predictions say; distances are measured between all fitted images, in folds."""
    pairs, fitted = list(study.plan.pairs), np.arange(len(embeddings))
    if len(pairs) == 1:
        fitted = pairs[0][0]
        pairs = study.held_out(fitted)
    folds = [Fold(np.searchsorted(fitted, inner), np.searchsorted(fitted, held)) for inner, held in pairs]
    probability = softmax(trained.scores[fitted] / trained.temperature, axis=1)
    abstention = Abstention.of(embeddings, fitted, folds, probability, random_state=study.training.random_state)
    known = np.isfinite(probability[:, 0])
    return abstention.only(known)


def _stack_module(embeddings: Embeddings, recipe: Recipe, seed: int) -> TrainableModule:
    structure = architecture(recipe.backbone)
    weights = find_weights(embeddings.weights_source, structure)
    module, last, new = with_classes(structure, len(embeddings.classes), weights, recipe.weights, seed=seed)
    stack = module.get_submodule("classifier")
    new_in_stack = frozenset(name.removeprefix("classifier.") for name in new if name.startswith("classifier."))
    return TrainableModule(stack, [stack], new_in_stack, seeded_layers(new, last))
