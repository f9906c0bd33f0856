"""Fine-tuning and its cached stack, made small."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch

from fc7.classify.data.splits import protocol
from fc7.classify.finetuning import stack
from fc7.classify.finetuning.finetune import finetune
from fc7.classify.finetuning.stack import fit_stack
from fc7.classify.finetuning.study import TrainableModule, TrainingStudy
from fc7.classify.records.outcome import Evaluated
from fc7.classify.settings import FitSettings, Training
from fc7.extract import read_manifest
from fc7.extract.backbones import architectures
from fc7.extract.backbones.architectures import KNOWN

QUICK = Training(epochs=2, batch_size=6, learning_rate=0.01)


def tune(photos, trainable="head", training=QUICK, **options):
    """Fine-tune, on small images where the network takes them."""
    backbone = options.pop("backbone", "squeezenet1_1")
    options = {"weights": "random:0", "augment": False, "device": "cpu"} | options
    if backbone == "squeezenet1_1":
        options.setdefault("transform", replace(KNOWN[backbone].transform, crop=40, resize=40))
    return finetune(read_manifest(photos), backbone, trainable, training=training, **options)


def fitted_stack(table, training, class_weight=None):
    """Return the pipeline and the record of the stack on cached rows."""
    rows, settings = table.in_key_order(), FitSettings(class_weight=class_weight)
    plan = protocol(rows, settings)
    evaluated = Evaluated.of(rows, plan)
    study = TrainingStudy(
        rows, plan, evaluated, settings, training, rows.recipe, rows.weights_source, "0" * 64, head="classifier"
    )
    return fit_stack(rows, study)[:2]


def layers(inputs, classes):
    """Return a small network that has dropout."""
    torch.manual_seed(0)
    linear = torch.nn.Linear
    return torch.nn.Sequential(linear(inputs, 16), torch.nn.ReLU(), torch.nn.Dropout(0.2), linear(16, classes))


def trainable_layers(inputs, classes):
    """Return the same, to be trained with the full learning rate."""
    module = layers(inputs, classes)
    return TrainableModule(module, [module], frozenset(dict(module.named_parameters())), [])


def with_small_stack(table, monkeypatch, views=()):
    """Return a table as one of AlexNet's pool5, whose stack is a small network."""
    dim = table.vectors.shape[1]

    def skeleton(num_classes):
        return SimpleNamespace(classifier=layers(dim, num_classes))

    def small(embeddings, recipe, seed):
        return trainable_layers(dim, len(embeddings.classes))

    monkeypatch.setattr(stack, "_stack_module", small)
    monkeypatch.setattr(architectures, "architecture", lambda name: SimpleNamespace(skeleton=skeleton))
    recipe = replace(table.recipe, backbone="alexnet", layer="pool5")
    return replace(table, recipe=recipe, views=tuple(np.asarray(view, np.float32) for view in views))
