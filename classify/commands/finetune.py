"""The verb ``finetune``: train from pixels under the protocol of the heads."""

import argparse
from pathlib import Path

from ...extract.commands import options
from ...extract.commands.options import Arguments
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from .arms import ARMS, ARMS_HELP, add_training, finetune_arms

TEXT = """
Train layers of the backbone from pixels, on the same split and with the same metrics as the heads. `fc7 report` then
says whether that was worth its time. The epoch is chosen on a part of the fitted images, never on val. If it is
interrupted, the same command goes on from its last checkpoint. The weights that are written are those of the record;
after cross-validation those of a network that is trained once more, on all images for the median of the folds' epochs.

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


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of finetune."""
    options.add_data(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="where record, weights and checkpoints go"
    )
    parser.add_argument("--trainable", choices=ARMS, default="head", help=f"{ARMS_HELP} (default: head)")
    options.add_evaluation(parser)
    add_training(parser)
    options.add_backbone(parser, embeddings=False)


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Train from pixels under the protocol of the heads."""
    from .tables import run_lines

    runs = finetune_arms(arguments, [arguments.trainable], progress, keep_weights=True)
    return Answer({"runs": [run.summary() for run in runs], "records": str(arguments.output)}, run_lines(runs))
