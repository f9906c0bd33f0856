"""The verbs that look at a data set itself: audit and review."""

import argparse
import logging
import shlex
from pathlib import Path
from typing import Any

from ...cache.urls import address
from ...errors import LeakageError, UsageError
from ...extract.commands import options
from ...extract.commands.options import Arguments, given, whole_number
from ...extract.commands.terminal import Answer
from ...extract.manifest.manifest import read_manifest
from ...extract.progress import Progress
from ...extract.text import plain
from ..audits.audit import audit, check_options
from ..audits.page import write_audit
from ..audits.tables import audit_csv, audit_text, leak_line
from ..heads.table import HEADS
from ..pages.page import sizes, write
from ..reviews.labels import Labels, default_path, require_apart
from ..reviews.review import Review
from ..reviews.server import TOP, Server, require_extra
from .inputs import embeddings, images_folder, tables

logger = logging.getLogger(__name__)

_THRESHOLD = "least cosine of near-duplicates (default: half as far as the K-th nearest image usually is)"
_NEIGHBOURS = "outliers are far from their K-th nearest image (default: 5)"
_JUDGE = "what judges the labels, out-of-fold: a head of fc7 fit (default: logreg)"
_TOP = "findings of a kind on the terminal and in the page; --json and --csv have all (default: 20)"
_LABELS = "where decisions go; one that is there is gone on with (default: DATA's name and -labels.csv, in this folder)"
_PORT = "of 127.0.0.1 to serve the page at (default: any that is free)"


def add_audit(parser: argparse.ArgumentParser) -> None:
    """Add the options of audit."""
    options.add_data(parser, options.FOLDER_OR_FILE)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.html", help="one page with the pictures")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="one row per finding")
    parser.add_argument("--top", type=whole_number, default=20, metavar="N", help=_TOP)
    parser.add_argument("--head", choices=tuple(HEADS), metavar="NAME", help=_JUDGE)
    parser.add_argument("--threshold", type=float, metavar="X", help=_THRESHOLD)
    parser.add_argument("--neighbours", type=whole_number, metavar="K", help=_NEIGHBOURS)
    parser.add_argument("--folds", type=int, metavar="N", help="folds to judge labels in (default: 5)")
    options.add_seed(parser)
    options.add_backbone(parser)
    options.add_engine(parser)
    parser.set_defaults(max_ram=None, concatenate=False)  # every image is compared with all others, in memory


def run_audit(arguments: Arguments, progress: Progress) -> Answer:
    """Look for leaks, copies, outliers and wrong labels in a data set."""
    settings = given(arguments, "head", "threshold", "neighbours", "folds")
    check_options(**settings)
    with options.engine(arguments) as engine:
        rows = embeddings(arguments, progress, engine, only=True, sound=False)[0]
    found = audit(rows, random_state=arguments.random_state, progress=progress, **settings)
    images = images_folder(arguments.data)
    written = []
    if arguments.output:
        written.append(write_audit(found, arguments.output, images, top=arguments.top, progress=progress))
    if arguments.csv:
        written.append(write(arguments.csv, audit_csv(found)))
    if found.leaks:
        logger.error("fc7: %s", plain(leak_line(found.leaks, allowed=arguments.allow_leakage)))
    code = LeakageError.exit_code if found.leaks and not arguments.allow_leakage else 0
    said = [audit_text(found, arguments.top), "\n".join(map(plain, sizes(written)))]
    files = [{"file": str(file), "bytes": file.stat().st_size} for file in written]
    return Answer(found.to_dict() | {"written": files}, "\n\n".join(filter(None, said)), code)


def add_review(parser: argparse.ArgumentParser) -> None:
    """Add the options of review."""
    options.add_data(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="LABELS.csv", help=_LABELS)
    parser.add_argument("--port", type=_port, default=0, metavar="N", help=_PORT)
    parser.add_argument(
        "--top", type=whole_number, default=TOP, metavar="N", help=f"images in each list of the page (default: {TOP})"
    )
    options.add_backbone(parser)
    parser.set_defaults(max_ram=None, concatenate=False)  # every image is judged by all others, in memory


def run_review(arguments: Arguments, progress: Progress) -> Answer:
    """Serve a page to act on doubted labels, until Ctrl-C."""
    require_extra()
    data, path = arguments.data, arguments.output or default_path(arguments.data)
    if data.suffix == ".h5" and data.is_file():
        raise UsageError(f"{data} has no pictures to look at. Name the folder or csv of its images.")
    elsewhere = UsageError("fc7 review shows pictures that are files: copy them to this machine, and name those.")
    if address(data):
        raise elsewhere
    require_apart(data, path)
    manifest = read_manifest(data, with_bad=True)
    if manifest.remote:
        raise elsewhere
    labels = Labels(manifest, path)
    labels.read()  # what is wrong with it is said before anything is computed
    review = Review(tables(manifest, arguments, progress, only=True)[0], labels, progress=progress)
    server = Server(review, manifest.root, port=arguments.port, top=arguments.top)
    # With --quiet, too: nobody can guess the address.
    logger.warning("Review of %s: %s (Ctrl-C ends it)", plain(review.name), server.address)
    server.run()
    return Answer(_ended(review, server), _said(review))


def _ended(review: Review, server: Server) -> dict[str, Any]:
    path, judged = review.labels.path, review.judged.agreement
    return {
        "address": server.address,
        "labels": str(path) if path.exists() else None,
        "images": len(review),
        **review.counts,
        "agreement": {"right": judged.right, "judged": judged.judged},
    }


def _said(review: Review) -> str:
    counts, path = review.counts, review.labels.path
    if not path.exists():
        return "Nothing was decided, nothing written."
    images = "image" if counts["reviewed"] == 1 else "images"
    told = f"{counts['reviewed']} {images} reviewed, {counts['relabelled']} relabelled, {counts['bad']} bad."
    file = plain(shlex.quote(str(path)))
    return f"{told} Wrote {plain(str(path))}. Go on with: fc7 fit {file} -o FILE.fc7, or fc7 review again."


def _port(text: str) -> int:
    """Read a port; argparse shows this name."""
    value = int(text)
    if not 0 <= value < 2**16:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and {2**16 - 1}")
    return value
