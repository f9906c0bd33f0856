"""The verb ``similar``: find the images of a data set that are most like others."""

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError, UsageError
from ...extract.commands import options
from ...extract.commands.options import Arguments, given
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.readers import memory_size, whole_number
from ...extract.text import few, plain, storable

if TYPE_CHECKING:
    from ...cache.embeddings import Embeddings
    from ...extract.backbones.backbone import Backbone

logger = logging.getLogger(__name__)

TEXT = """
Find the images of a data set that are most like each of its own, or like new ones, by the cosine of their embeddings.
It prints a csv, or with --json one object: for each image the paths of the nearest ones, with cosine and label. The
search is exact. An image of the data set is not its own neighbour; its copies are.

Exits 1 if no new image could be read.
"""
EXAMPLES = """
# the ten nearest of each image
fc7 similar my_pictures --backbone vgg16 > neighbours.csv

# what is like these two, with pictures in one page
fc7 similar my_pictures --backbone vgg16 --to one.jpg two.png -o similar.html
"""

_TO = "new images: files, folders, patterns or URLs (default: each image of DATA)"
_TOP = "images in the page, each with its neighbours; csv and --json have all (default: 20)"
_MAX_RAM = "such as 2G: embeddings that would take more stay on disk and are streamed (default: all in memory)"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of similar."""
    options.add_data(parser, options.FOLDER_OR_FILE)
    parser.add_argument("--to", nargs="+", metavar="IMAGE", help=_TO)
    parser.add_argument("-k", type=whole_number, default=10, metavar="K", help="neighbours of each (default: 10)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.html", help="one page with the pictures")
    parser.add_argument("--top", type=whole_number, default=20, metavar="N", help=_TOP)
    parser.add_argument("--max-ram", type=memory_size, metavar="SIZE", help=_MAX_RAM)
    options.add_backbone(parser)
    options.add_engine(parser)
    parser.set_defaults(concatenate=False)


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Find the images of a data set that are most like others."""
    from ...cache.output_file import OutputFile, require_apart
    from ...extract.manifest.manifest import read_manifest
    from ...extract.manifest.table import is_vectors
    from ..pages.page import PAGES, sizes
    from ..searches.page import write_similar
    from ..searches.similar import similar
    from .inputs import embeddings, images_folder, tables
    from .tables import written_files

    page = OutputFile(arguments.output, kinds=PAGES) if arguments.output else None
    require_apart(page, read=[arguments.data, *(arguments.to or [])])
    asked: Embeddings | None = None
    rejects: list[tuple[str, str]] = []
    if is_vectors(arguments.data, arguments.columns):
        if arguments.to:
            raise UsageError(f"{arguments.data} has vectors, and no network for --to. Name the folder of its images.")
        rows = embeddings(arguments, progress)[0]
    else:
        with options.engine(arguments) as engine:
            manifest = read_manifest(arguments.data, columns=options.columns(arguments))
            backbones = options.backbones(arguments, progress)
            options.require_single(backbones)
            rows = tables(manifest, arguments, progress, engine, backbones=backbones)[0]
        if arguments.to:
            asked, rejects = _new_images(arguments, backbones, progress)
    found = similar(rows, asked, k=arguments.k, progress=progress, **given(arguments, "device"))
    found = found if asked is not None else type(found)(sorted(found, key=lambda image: image.path))
    payload = {
        "data": rows.name,
        "images": len(rows),
        "backbone": rows.recipe.backbone,
        "layer": rows.recipe.layer,
        "queries": [image.to_dict() for image in found],
        "rejected": [{"path": path, "reason": reason} for path, reason in rejects],
    }
    written = []
    if page:
        folders = {"images": images_folder(arguments)}
        folders["asked"] = folders["images"] if asked is None else Path()
        written.append(write_similar(found, page, rows, **folders, top=arguments.top, progress=progress))
    for line in map(plain, sizes(written)):
        logger.info("%s", line)
    shown = found.to_csv(harmless=plain if sys.stdout.isatty() else storable)
    return Answer(payload | {"written": written_files(written)}, shown, 0 if found else 1, data=shown)


def _new_images(
    arguments: Arguments, backbones: "list[Backbone]", progress: Progress
) -> "tuple[Embeddings | None, list[tuple[str, str]]]":
    """Return embeddings of the images asked about, in their order, and what is no image with the reason."""
    from ...extract.extraction import fill, read
    from ...extract.manifest.hashing import Hashed
    from ...extract.manifest.manifest import Manifest
    from ...extract.new_images import expand

    expanded = list(expand(arguments.to))
    if not expanded:
        raise DataError(f"There are no images in {few(arguments.to)}.")
    rejects = [(path, reason) for path, reason in expanded if reason]
    files = [path for path, reason in expanded if not reason]
    hashed = Hashed.of(Manifest.of_files(files), arguments.cache, progress=progress)
    done = fill(hashed, backbones, workers=arguments.workers, progress=progress)[0]
    rejects += [(reject.path, reject.reason) for reject in done.rejects]
    for path, reason in rejects:
        logger.warning("rejected %s: %s", plain(path), plain(reason))
    return read(hashed, backbones[0].recipes[0]), rejects
