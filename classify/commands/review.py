"""The verb ``review``: look at doubtful labels in a browser, fix them, leave images out."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...cache.tables import counted
from ...cache.urls import URL
from ...errors import UsageError
from ...extract.commands import options
from ...extract.commands.hints import command
from ...extract.commands.options import Arguments
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.readers import port_number
from ...extract.text import plain

if TYPE_CHECKING:
    from ..reviews.review import Review
    from ..reviews.server import Server

logger = logging.getLogger(__name__)

TEXT = """
Serve a page, on this machine only. It lists labels that look wrong to a head fitted on all other images, images
without a label (those first that teach the most), the least certain images, near-duplicates and outliers. A click or a
key gives an image, or all that are selected, another label, confirms its label, or marks it as bad. All other images
are judged anew at once. Decisions go to a csv that every verb takes as DATA; the images stay as they are. Every
decision can be undone, and the same command goes on where the last one ended. Needs the extra fc7[review].

It prints the address, with a token in it, on stderr. Ctrl-C ends it, exits 0, and prints what was decided on stdout
(--json: as one object).
"""
EXAMPLES = """
# decisions go to my_pictures-labels.csv; then fit on what was decided
fc7 review my_pictures --backbone vgg16
fc7 fit my_pictures-labels.csv --backbone vgg16 -o my.fc7

# photographs without labels: type the names of classes in the page
fc7 review photos --backbone vgg16

# to another file, at a port that a tunnel knows
fc7 review my_pictures --backbone vgg16 -o labels.csv --port 8077
"""

_LABELS = "where decisions go; a file that exists is continued (default: DATA's name and -labels.csv, in this folder)"
_PORT = "of 127.0.0.1 to serve the page at (default: any that is free)"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of review."""
    options.add_data(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="LABELS.csv", help=_LABELS)
    parser.add_argument("--port", type=port_number, default=0, metavar="N", help=_PORT)
    options.add_backbone(parser)
    parser.set_defaults(max_ram=None, concatenate=False)  # every image is judged by all others, in memory


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Serve a page to act on doubtful labels, until Ctrl-C."""
    from ...cache.output_file import OutputFile
    from ...extract.manifest.hashing import Hashed
    from ...extract.manifest.manifest import read_manifest
    from ...extract.manifest.table import is_vectors
    from ..audits.audit import alike_and_outliers
    from ..pages.page import TABLES
    from ..reviews.labels import Labels, default_path, require_apart
    from ..reviews.review import Review
    from ..reviews.server import Server, require_extra
    from .inputs import tables

    require_extra()
    data = arguments.data
    if is_vectors(data, arguments.columns):
        raise UsageError(f"{data} has no pictures to look at. Name the folder or csv of its images.")
    elsewhere = UsageError("fc7 review shows pictures that are files: copy them to this machine, and name those.")
    if isinstance(data, URL):
        raise elsewhere
    path = arguments.output or default_path(data)
    require_apart(data, path)
    output = OutputFile(path, kinds=TABLES)
    manifest = read_manifest(data, with_bad=True, columns=options.columns(arguments))
    if manifest.remote:
        raise elsewhere
    hashed = Hashed.of(manifest, arguments.cache, progress=progress)
    labels = Labels(manifest, hashed.keys, output)
    labels.read()  # what is wrong with it is said before anything is computed
    rows, root = tables(hashed, arguments, progress, only=True)[0], Path(manifest.root)
    review = Review(rows, labels, progress=progress)
    server = Server(review, root, port=arguments.port, findings=lambda told: alike_and_outliers(rows, root, told))
    # With --quiet, too: nobody can guess the address.
    logger.warning("Review of %s: %s (Ctrl-C ends it)", plain(review.name), server.address)
    server.run()
    return Answer(_payload(review, server), _summary(review, arguments))


def _payload(review: "Review", server: "Server") -> dict[str, Any]:
    path, judged = review.labels.path, review.judged.agreement
    return {
        "address": server.address,
        "labels": str(path) if path.exists() else None,
        "images": len(review),
        **review.counts,
        "agreement": {"right": judged.right, "judged": judged.judged},
    }


def _summary(review: "Review", arguments: Arguments) -> str:
    counts, path = review.counts, review.labels.path
    if not path.exists():
        return "Nothing was decided, nothing written."
    decided = (
        f"{counted(counts['reviewed'], 'image')} reviewed, {counts['relabelled']:,} relabelled, {counts['bad']:,} bad."
    )
    decided += f" {counts['unlabelled']:,} have no label." if counts["unlabelled"] else ""
    bundle = path.with_name(f"{path.stem.removesuffix('-labels')}.fc7").name
    after = [command(arguments, "fit", data=path, output=bundle), command(arguments, "review")]
    lines = [f"{decided} Wrote {plain(str(path))}. Fit on it, or go on:", *map(plain, after)]
    return "\n".join(lines)
