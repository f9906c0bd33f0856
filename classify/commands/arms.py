"""Arms: which layers fine-tuning trains, the options of it, and a run for each arm and backbone."""

import argparse
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...extract.commands.options import Arguments, given, positive_number, sources, whole_number
from ...extract.progress import Progress
from ...extract.text import plain

if TYPE_CHECKING:
    from ..finetuning.training_loop import Training
    from ..records.runs import Run

logger = logging.getLogger(__name__)

ARMS = ("head", "classifier", "all")
ARMS_HELP = "head (the last layer), classifier (fc6 to fc8 with dropout), all (end to end)"

_SHARE = "of pretrained layers, as a share of that (default: 0.1)"
_PATIENCE = "stop after N epochs without progress on a part of train (default: train all)"


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add how layers are trained from pixels."""
    group = parser.add_argument_group("training from pixels")
    group.add_argument("--learning-rate", type=positive_number, metavar="X", help="of new layers (default: 0.003)")
    group.add_argument("--backbone-rate", type=positive_number, metavar="X", help=_SHARE)
    group.add_argument("--optimiser", choices=("sgd", "adam"), help="how steps are taken (default: sgd)")
    group.add_argument(
        "--schedule", choices=("cosine", "step", "constant"), help="of the learning rates (default: cosine)"
    )
    group.add_argument("--train-batch", type=whole_number, metavar="N", help="images in one step (default: 32)")
    group.add_argument("--patience", type=whole_number, metavar="N", help=_PATIENCE)
    group.add_argument(
        "--limit-seconds",
        type=positive_number,
        metavar="S",
        help="time for each arm, its folds included; what is reached by then is measured (default: no limit)",
    )
    group.add_argument("--no-augment", action="store_true", help="centre crops only, as cached embeddings see them")


def finetune_arms(
    arguments: Arguments, arms: Sequence[str], progress: Progress, *, keep_weights: bool = False
) -> "list[Run]":
    """Run the arms of all backbones from pixels."""
    if not arms:
        return []
    from ...cache.output_file import require_folder
    from ...cache.urls import is_h5
    from ...extract.manifest.manifest import read_manifest
    from ..finetuning.finetune import finetune

    if is_h5(arguments.data):
        raise UsageError(f"Fine-tuning needs the images; {arguments.data} has their embeddings only.")
    require_folder(arguments.output, arguments.data)
    manifest = read_manifest(arguments.data)
    settings = given(arguments, "on", "cross_validate", "allow_leakage", "precision", "device", "cache", "workers")
    runs = []
    for name, source in sources(arguments).items():
        for arm in arms:
            logger.info("finetune %s %s", name, arm)
            tuned = finetune(
                manifest,
                name,
                arm,
                training=_training(arguments),
                augment=not arguments.no_augment,
                refit=keep_weights,
                folder=arguments.output,
                progress=progress,
                on_epoch=logger.info,
                **settings,
                **source,
            )
            if keep_weights and tuned.state:
                folds = len(tuned.run.folds) > 1
                of = ", trained on all images; the record's figures are those of the folds" if folds else ""
                logger.info("Wrote %s%s", plain(str(tuned.save(arguments.output))), of)
            runs.append(tuned.run)
    return runs


def _training(arguments: Arguments) -> "Training":
    from ..finetuning.training_loop import Training

    names = ["epochs", "learning_rate", "backbone_rate", "optimiser", "schedule", "patience", "limit_seconds"]
    batch = {"batch_size": arguments.train_batch} if arguments.train_batch else {}
    return Training(**given(arguments, *names, "random_state"), **batch)
