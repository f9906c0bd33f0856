"""The verb ``compare``: fit many heads under one protocol."""

import argparse
import shlex
from pathlib import Path

from ...extract.commands import options
from ...extract.commands.options import Arguments
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.readers import folds_number, whole_number
from ...extract.text import plain
from ..settings import ARMS, FitSettings
from .finetune import ARMS_HELP, add_training, finetune_arms
from .options import HEADS_AND_LAYERS, add_protocol

TEXT = """
Fit many heads, on one or several backbones and layers, under one protocol: the same split, and the same folds for every
choice. The baseline, which answers the most frequent class, is always among them. It prints a table with n and 95 %
intervals, ordered by the log loss in the folds of the fitted images, and keeps a record of each run. Finished runs are
not computed again.

Exits 4 if the same image is on both sides of a split.
"""
EXAMPLES = """
# all heads on VGG16's fc7
fc7 compare my_pictures --backbone vgg16 -o my-runs

# a few heads on two backbones, every image predicted once in ten folds
fc7 compare my_pictures --heads logreg,lda,knn --backbone vgg16 \\
  --backbone resnet50 --cross-validate 10 -o my-folds

# how stable that is: other splits, and a few images of each class
fc7 compare my_pictures --backbone vgg16 --heads ridge,lda --repeat 10 \\
  --few-shot 2,5 -o my-runs

# against fine-tuning, and against the predictions of another tool
fc7 compare my_pictures --backbone vgg16 --finetune head,all -o my-runs
fc7 compare my_pictures --backbone vgg16 --add theirs=theirs.csv -o my-runs
"""

_ADD = (
    "predictions of another tool, one row per evaluated image: path and a column per class, or path,predicted; can be "
    "repeated"
)


_REPEAT = (
    "fit and evaluate every head on R random splits of the same images, too: how stable figures and choice are "
    "(default: none; ten are usual)"
)
_FEW_SHOT = (
    "fit every head on K images of each class, too, ten draws of each number; without numbers 2, 5, 10, 20, ... "
    "(default: none)"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of compare."""
    options.add_data(parser, options.FOLDER_OR_FILE)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="where records go; finished runs stay"
    )
    parser.add_argument(
        "--heads", default="all", metavar="NAMES|all", help=f"with commas between: {HEADS_AND_LAYERS} (default: all)"
    )
    parser.add_argument("--add", action="append", default=[], metavar="NAME=FILE.csv", help=_ADD)
    parser.add_argument(
        "--no-learning-curve", action="store_true", help="leave out the learning curve of the run that comes first"
    )
    parser.add_argument("--repeat", type=folds_number, metavar="R", help=_REPEAT)
    parser.add_argument("--few-shot", nargs="?", const=(), type=_sizes, metavar="K,K,...", help=_FEW_SHOT)
    parser.add_argument(
        "--finetune", type=_arms, default=[], metavar="ARMS", help=f"with commas between: {ARMS_HELP} (default: none)"
    )
    options.add_map(parser)
    add_training(parser)
    add_protocol(parser)
    options.add_backbone(parser)
    options.add_engine(parser)


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Fit many heads, and train the arms asked for, under one protocol."""
    from ...cache.output_file import require_folder
    from ..fitting.compare import compare
    from ..heads.table import find_heads
    from ..records.external import sources
    from ..records.ranking import choose
    from .inputs import fitted_embeddings, images_folder
    from .tables import data_sets, pairs, runs_table, summaries

    find_heads(arguments.heads)
    added = sources(arguments.add)
    require_folder(arguments.output, arguments.data)
    if arguments.finetune:
        options.require_published(arguments)
    with options.engine(arguments) as engine:
        tables, unlabelled = fitted_embeddings(arguments, progress, engine)
        runs = compare(
            tables,
            arguments.heads,
            folder=arguments.output,
            images=images_folder(arguments),
            add=added,
            learning_curve=not arguments.no_learning_curve,
            repeat=arguments.repeat,
            few_shot=arguments.few_shot,
            map_method=arguments.map,
            engine=engine,
            progress=progress,
            **options.given_settings(arguments, FitSettings),
        )
    runs += finetune_arms(arguments, arguments.finetune, progress)
    failures = runs.failures
    payload = {
        "runs": summaries(runs),
        "pairs": pairs(runs),
        "failed": [failure.to_dict() for failure in failures],
        "best": choose(runs).id,
        "data_sets": data_sets(runs),
        "records": str(arguments.output),
        "unlabelled": unlabelled,
    }
    folder = plain(shlex.quote(str(arguments.output)))
    after = f"All pairs, pictures and plots in one page: fc7 report {folder} -o report.html"
    return Answer(payload, "\n".join([runs_table(runs), *(plain(str(failure)) for failure in failures), after]))


def _sizes(text: str) -> list[int]:
    return [whole_number(size) for size in text.split(",") if size]


def _arms(text: str) -> list[str]:
    arms = [arm for arm in text.split(",") if arm]
    unknown = set(arms).difference(ARMS)
    if unknown:
        raise argparse.ArgumentTypeError(f"{min(unknown)!r} is not one of {', '.join(ARMS)}")
    return arms
