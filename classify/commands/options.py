"""Options that verbs of this room share."""

import argparse

from ...extract.commands.options import add_settings
from ...extract.readers import memory_size
from ..heads.table import HEADS
from ..settings import FitSettings

HEADS_AND_LAYERS = ", ".join(f"{head.name} (of {head.layer})" if head.layer else head.name for head in HEADS.values())
MAX_ERROR = "answer `not sure` where needed, so that at most this share of answers is wrong (such as 0.02)"
CONFIDENCE = "how sure the promise of --max-error is"
COSTS = (
    "answer with the class of least expected cost: a csv with the column true, and a column and a row for each class"
)
WEIGHTS = "where the backbone's weights are, as for fc7 fit (default: where they were then)"

_CONCATENATE = "put the embeddings of all backbones and layers side by side, as one, each of unit length"
_MAX_RAM = (
    "such as 2G: embeddings that would take more stay on disk and are streamed, heads that would take more are refused "
    "(default: all in memory)"
)


def add_protocol(parser: argparse.ArgumentParser) -> None:
    """Add how heads are fitted and evaluated."""
    add_settings(parser, FitSettings)
    parser.add_argument("--concatenate", action="store_true", help=_CONCATENATE)
    parser.add_argument("--max-ram", type=memory_size, metavar="SIZE", help=_MAX_RAM)
