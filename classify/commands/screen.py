"""The verb ``screen``: which backbone, layer and size for these images."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...extract.commands import options
from ...extract.commands.options import Arguments
from ...extract.commands.terminal import Answer, table
from ...extract.progress import Progress
from ...extract.readers import whole_number
from ...extract.text import plain
from ..pages.text import points, probability, size, speed
from ..settings import FitSettings
from .options import HEADS_AND_LAYERS

if TYPE_CHECKING:
    from ...extract.backbones.backbone import Backbone
    from ..records.screened import Candidate

TEXT = """
Say which of many backbones, layers and image sizes to take for these images, without extracting all images with all of
them. A sample is extracted with every candidate, and a quick head is cross-validated on it; the better half goes on to
a sample of twice as many images, until two are left: the best, and the next best of those that are faster and not
shown to be worse. These are extracted and compared on all images, as `fc7 compare` does. Layers of one network, which
cost one pass, go on together.

The best is tested against the other candidates that are left on images that no sample has had, and against those that
were left out before on their last sample. Images per second and memory are those of this machine, while it extracted.
Embeddings and records are kept: a second run computes nothing.

Without --backbone the candidates are all published weights that are on this machine. Exits 4 if the same image is on
both sides of a split.
"""
EXAMPLES = """
# all that is on this machine, and a page with the plots
fc7 screen my_pictures -o my-screening
fc7 report my-screening -o report.html

# two networks at two sizes, two layers of each: eight candidates
fc7 screen my_pictures --backbone vgg16 --backbone resnet50 --layer gap \\
  --layer gap+gmp --image-size 224 --image-size 320 -o my-sizes
"""

_SAMPLE = "images of the first round (default: an eighth of those to sample from, 60 to 2000)"
COLUMNS = (
    "candidate", "accuracy", "95 %", "n", "on", "images/s", "memory", "beside the best", "points", "p", "log loss",
    "dimension",
)  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of screen."""
    options.add_data(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="where records go; finished runs stay"
    )
    parser.add_argument("--sample", type=whole_number, metavar="N", help=_SAMPLE)
    parser.add_argument(
        "--heads",
        default="all",
        metavar="NAMES|all",
        help=f"for what is left, with commas between: {HEADS_AND_LAYERS} (default: all)",
    )
    options.add_settings(parser, FitSettings)
    options.add_backbone(parser, many=True)


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Screen candidates, and compare what is left."""
    from ...cache.output_file import require_folder
    from ...extract.manifest.manifest import read_manifest
    from ..heads.table import find_heads
    from ..screening.screen import screen
    from .tables import data_sets, summaries

    find_heads(arguments.heads)
    require_folder(arguments.output, arguments.data)
    manifest = read_manifest(arguments.data, columns=options.columns(arguments))
    screening = screen(
        manifest,
        _candidates(arguments, progress),
        arguments.heads,
        folder=arguments.output,
        cache=arguments.cache,
        sample=arguments.sample,
        workers=arguments.workers,
        progress=progress,
        **options.given_settings(arguments, FitSettings),
    )
    runs = screening.runs
    payload = screening.screened.to_dict() | {
        "runs": summaries(runs),
        "failed": [failure.to_dict() for failure in runs.failures],
        "data_sets": data_sets(runs),
        "records": str(arguments.output),
    }
    rows = [_row(candidate) for candidate in screening.candidates]
    folder = plain(shlex.quote(str(arguments.output)))
    after = f"All runs, pictures and plots in one page: fc7 report {folder} -o report.html"
    failures = [plain(str(failure)) for failure in runs.failures]
    text = [table("", COLUMNS, rows), *map(plain, screening.answer), *failures, after]
    return Answer(payload, "\n".join(text))


def _candidates(arguments: Arguments, progress: Progress) -> "list[Backbone]":
    """Return the candidates asked for; else all published weights that are on this machine."""
    from ...extract.weights.catalogue import catalogue
    from ...extract.weights.sources import place_of

    if arguments.backbone:
        return options.candidates(arguments, progress)
    rows = [row for row in catalogue().rows() if place_of(row)]
    if not rows:
        raise UsageError("No published weights are on this machine: name candidates, as with --backbone alexnet.")
    weights = [f"{row.backbone}={row.weights}" for row in rows]
    here = {"backbone": [row.backbone for row in rows], "weights": [*weights, *(arguments.weights or [])]}
    return options.candidates(Arguments(**vars(arguments) | here), progress)


def _row(candidate: "Candidate") -> list[str]:
    low, high = candidate.interval
    return [
        candidate.name,
        f"{candidate.accuracy:.3f}",
        f"{low:.3f}-{high:.3f}",
        str(candidate.images),
        "all images" if candidate.final else "the sample",
        speed(candidate.images_per_second),
        size(candidate.memory),
        candidate.outcome,
        "" if candidate.difference is None else points(-candidate.difference),
        "" if candidate.p is None else probability(candidate.p).removeprefix("p = ").removeprefix("p "),
        f"{candidate.log_loss:.3f}",
        str(candidate.dim),
    ]
