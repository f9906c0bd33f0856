"""The verb ``finetune``: train from pixels under the protocol of the heads."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...extract.commands import options
from ...extract.commands.options import Arguments, add_settings, given, given_settings
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.text import plain
from ..settings import ARMS, FitSettings, Training

if TYPE_CHECKING:
    from ..records.runs import Run

logger = logging.getLogger(__name__)

TEXT = """
Train layers of the backbone from pixels, on the same split and with the same metrics as the heads. `fc7 report` then
says whether that was worth its time. The epoch is chosen on a part of the fitted images, never on val. If it is
interrupted, the same command goes on from its last checkpoint. The weights that are written are those of the record.
After cross-validation they are those of a network that is trained once more, on all images, for the median of the
folds' best epochs.

Exits 4 if the same image is on both sides of a split.
"""
EXAMPLES = """
# the last layer only, then all layers; both records in one folder
fc7 finetune my_pictures --backbone vgg16 --trainable head -o my-runs
fc7 finetune my_pictures --backbone vgg16 --trainable all -o my-runs

# no more than ten minutes, and none without progress
fc7 finetune my_pictures --backbone vgg16 --trainable all \\
  --limit-seconds 600 --patience 3 -o my-runs
"""

ARMS_HELP = "head (the last layer), classifier (fc6 to fc8 with dropout), all (end to end)"

_EVALUATION = ("on", "cross_validate", "epochs", "random_state", "allow_leakage")  # what heads and pixels share


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of finetune."""
    options.add_data(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="where record, weights and checkpoints go"
    )
    parser.add_argument("--trainable", choices=ARMS, default="head", help=f"{ARMS_HELP} (default: head)")
    add_settings(parser, FitSettings, *_EVALUATION)
    add_training(parser)
    options.add_backbone(parser, embeddings=False)


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Train from pixels under the protocol of the heads."""
    from .tables import run_lines

    runs = finetune_arms(arguments, [arguments.trainable], progress, keep_weights=True)
    return Answer({"runs": [run.summary() for run in runs], "records": str(arguments.output)}, run_lines(runs))


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add how layers are trained from pixels."""
    group = parser.add_argument_group("training from pixels")
    add_settings(group, Training)
    group.add_argument("--no-augment", action="store_true", help="centre crops only, as cached embeddings see them")


def finetune_arms(
    arguments: Arguments, arms: Sequence[str], progress: Progress, *, keep_weights: bool = False
) -> "list[Run]":
    """Run the arms of all backbones from pixels."""
    if not arms:
        return []
    from ...cache.output_file import require_folder
    from ...extract.manifest.hashing import Hashed
    from ...extract.manifest.table import is_vectors
    from ..finetuning.finetune import finetune
    from .inputs import labelled_manifest

    if is_vectors(arguments.data, arguments.columns):
        raise UsageError(f"Fine-tuning needs the images; {arguments.data} has their embeddings only.")
    options.require_published(arguments)
    require_folder(arguments.output, arguments.data)
    hashed = Hashed.of(labelled_manifest(arguments)[0], arguments.cache, progress=progress)
    names = ("on", "cross_validate", "allow_leakage", "precision", "resize", "device", "cache", "workers")
    settings = given(arguments, *names)
    training = Training(**given_settings(arguments, Training))
    runs = []
    for name, source in options.sources(arguments).items():
        for arm in arms:
            logger.info("finetune %s %s", name, arm)
            tuned = finetune(
                hashed,
                name,
                arm,
                training=training,
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
