"""Fine-tuning and its cached stack, made small."""

from fc7.classify.finetuning.finetune import finetune
from fc7.classify.finetuning.stack import fit_stack
from fc7.classify.finetuning.training_loop import Training
from fc7.classify.fitting.fit import Experiment
from fc7.extract import read_manifest

QUICK = Training(epochs=2, batch_size=6, learning_rate=0.01)


def tune(photos, trainable="head", training=QUICK, **options):
    backbone = options.pop("backbone", "squeezenet1_1")
    options = {"weights": "random:0", "augment": False, "device": "cpu"} | options
    return finetune(read_manifest(photos), backbone, trainable, training=training, **options)


def fitted_stack(table, training, class_weight=None):
    """Return the pipeline and the record of the stack on cached rows."""
    experiment = Experiment(table, class_weight=class_weight)
    return fit_stack(table, experiment.protocol, "0" * 64, training=training, class_weight=experiment.weights)
