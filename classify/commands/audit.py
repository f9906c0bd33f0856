"""The verb ``audit``: look for leaks, copies, outliers and wrong labels in a data set."""

import argparse
import logging
from pathlib import Path

from ...errors import LeakageError
from ...extract.commands import options
from ...extract.commands.options import Arguments, given
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.readers import folds_number, positive_number, whole_number
from ...extract.text import plain
from ..heads.table import HEADS
from ..settings import ProtocolSettings

logger = logging.getLogger(__name__)

TEXT = """
Look at all splits of a data set together. It reports the same bytes in two splits, copies under two labels,
near-duplicates, images that resemble no other, and labels that out-of-fold predictions contradict, the most doubtful
first. (A prediction is out-of-fold if its head was not fitted on the image.) Only what is about labels needs labels.

Exits 4 if the same image, or one group of the csv, is in two splits, unless --allow-leakage is given.
"""
EXAMPLES = """
# the first findings of each kind
fc7 audit my_pictures --backbone vgg16

# with pictures in one page, and all findings as a table
fc7 audit my_pictures --backbone vgg16 -o audit.html --csv audit.csv
"""

_TOP = "findings of a kind on the terminal; page, --json and --csv have all (default: 20)"
_JUDGE = "what judges the labels, out-of-fold: a head of fc7 fit (default: logreg; ridge where that takes minutes)"
_THRESHOLD = "least cosine of candidates for near-duplicates (default: by how near images usually are)"
_NO_PIXELS = "read no picture to find near-duplicates: there are only candidates, by cosine"
_NEIGHBOURS = "outliers are far from their K-th nearest image (default: 5)"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of audit."""
    options.add_data(parser, options.FOLDER_OR_FILE)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.html", help="one page with the pictures")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="one row per finding")
    parser.add_argument("--top", type=whole_number, default=20, metavar="N", help=_TOP)
    parser.add_argument("--head", choices=list(HEADS), metavar="NAME", help=_JUDGE)
    parser.add_argument("--threshold", type=positive_number, metavar="X", help=_THRESHOLD)
    parser.add_argument("--no-pixels", action="store_true", help=_NO_PIXELS)
    parser.add_argument("--neighbours", type=whole_number, metavar="K", help=_NEIGHBOURS)
    parser.add_argument("--folds", type=folds_number, metavar="N", help="folds to judge labels in (default: 5)")
    options.add_map(parser)
    options.add_settings(parser, ProtocolSettings, "random_state", "allow_leakage")
    options.add_backbone(parser)
    options.add_engine(parser)
    parser.set_defaults(max_ram=None, concatenate=False)  # every image is compared with all others, in memory


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Look for leaks, copies, outliers and wrong labels in a data set."""
    from ...cache.output_file import OutputFile, require_apart
    from ...extract.coordinates import require_method
    from ..audits.audit import audit, check_options
    from ..audits.page import write_audit
    from ..audits.tables import audit_csv, audit_text, leak_line
    from ..pages.page import PAGES, TABLES, sizes, write
    from .inputs import embeddings, images_folder
    from .tables import written_files

    settings = given(arguments, "head", "threshold", "neighbours", "folds")
    check_options(**settings)
    require_method(arguments.map)
    files = ((arguments.output, PAGES), (arguments.csv, TABLES))
    page, lines = (OutputFile(path, kinds=kinds) if path else None for path, kinds in files)
    require_apart(page, lines, read=[arguments.data])
    with options.engine(arguments) as engine:
        rows = embeddings(arguments, progress, engine, only=True)[0]
    images = images_folder(arguments)
    pixels = None if arguments.no_pixels else images
    findings = audit(rows, images=pixels, progress=progress, **settings, **given(arguments, "random_state"))
    written = []
    if page:
        written.append(write_audit(findings, page, images, method=arguments.map, progress=progress))
    if lines:
        written.append(write(lines, audit_csv(findings)))
    if findings.leaks:
        logger.error("fc7: %s", plain(leak_line(findings.leaks, allowed=arguments.allow_leakage)))
    code = LeakageError.exit_code if findings.leaks and not arguments.allow_leakage else 0
    parts = [audit_text(findings, arguments.top), "\n".join(map(plain, sizes(written)))]
    return Answer(findings.to_dict() | {"written": written_files(written)}, "\n\n".join(filter(None, parts)), code)
