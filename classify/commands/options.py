"""Options that verbs of this room share, and what is made of them."""

import argparse
from typing import Any

from ...extract.commands.options import Arguments, add_evaluation, folds_number, given, jobs_number, memory_size
from ..heads.table import HEADS

HEADS_AND_LAYERS = ", ".join(f"{head.name} (of {head.layer})" if head.layer else head.name for head in HEADS.values())
MAX_ERROR = (
    "answer `not sure` where needed, so that at most this share of the answers is wrong, out-of-fold (such as 0.02)"
)
WEIGHTS = "where the backbone's weights are, as for fc7 fit (default: where they were then)"

_CONCATENATE = "put the embeddings of all backbones and layers side by side, as one, each of unit length"
_N_JOBS = "processes that fit; -1: one per core, with --engine ray of the cluster (default: 1)"
_MAX_RAM = (
    "such as 2G: embeddings that would take more stay on disk and are streamed, heads that would take more are refused "
    "(default: all in memory)"
)
_BALANCED = "each class counts as much as the others, in heads that know weights (default: each image does)"
_PREPARATION = (
    "unit: each row before a head has unit length; scale: all are on one scale, which a plain last layer can take in, "
    "see fc7 export (default: unit)"
)


def add_protocol(parser: argparse.ArgumentParser) -> None:
    """Add how heads are fitted and evaluated."""
    add_evaluation(parser)
    parser.add_argument(
        "--folds", type=folds_number, metavar="N", help="folds to choose hyper-parameters in (default: 5)"
    )
    parser.add_argument("--concatenate", action="store_true", help=_CONCATENATE)
    parser.add_argument("--n-jobs", type=jobs_number, metavar="N", help=_N_JOBS)
    parser.add_argument("--max-ram", type=memory_size, metavar="SIZE", help=_MAX_RAM)
    parser.add_argument("--average-views", action="store_true", help="predict the mean over all --views of an image")
    parser.add_argument("--class-weight", choices=("balanced",), help=_BALANCED)
    parser.add_argument("--preparation", choices=("unit", "scale"), help=_PREPARATION)


def protocol_settings(arguments: Arguments) -> dict[str, Any]:
    """Return what :func:`add_protocol` added, as far as it was given, by the names of ``fit`` and ``compare``."""
    names = ["on", "cross_validate", "folds", "epochs", "average_views", "class_weight", "preparation"]
    return given(arguments, *names, "random_state", "allow_leakage", "n_jobs")


def share(text: str) -> float:
    """Read a share; argparse shows this name."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 0 and less than 1")
    return value
