"""The verb ``predict``: label new images with a bundle."""

import argparse
import logging
import sys
from collections import Counter
from pathlib import Path

from ...cache.tables import counted
from ...errors import DataError
from ...extract.commands import options
from ...extract.commands.options import Arguments, given
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.readers import positive_share, share, whole_number
from ...extract.text import few, plain, storable
from .options import CONFIDENCE, COSTS, MAX_ERROR, WEIGHTS

logger = logging.getLogger(__name__)

Named = tuple[list[str], list[tuple[str, str]]]  # paths, and what is rejected for which reason

TEXT = """
Label new images with a bundle that `fc7 fit` saved. It prints a csv, or with --json one object: path, label or
`not sure`, calibrated probability, whether the image is unlike those that the head was fitted on, and the reason where
there is no label. A folder stands for all files below it that are not hidden and not a system's own. With -o all this
goes into a file, with a column for the probability of each class.

Exits 1 if every file was rejected.
"""
EXAMPLES = """
# two pictures
fc7 predict my.fc7 one.jpg another.png

# a folder, to a csv file
fc7 predict my.fc7 new_pictures/ -o predictions.csv

# one page with the pictures, to look at and to search in
fc7 predict my.fc7 new_pictures/ -o predictions.html

# all pictures below a folder, with three classes each, or `not sure`
fc7 predict my.fc7 'new_pictures/**/*.png' --top 3 --max-error 0.02

# where the weights are elsewhere than on the machine that fitted
fc7 predict my.fc7 new_pictures/ --weights file:vgg16-397923af.pth
"""

_IMAGES = "files, folders, patterns such as 'new/**/*.jpg', URLs, tables of paths, or - for a list on standard input"
_FILE = "the file to write instead of stdout: .csv, .json, .parquet (extra fc7[tables]), or .html with the pictures"
_UNLABELLED = "of each data set, named as for fc7 fit, only the images that have no label"
_NEIGHBOURS = "name the K nearest fitted images, of a bundle by fit --with-neighbours (default: none)"
_COVERAGE = "a set of classes for each image, which holds the right one for this share of images (default: none)"
_CONDITIONAL = "--coverage for the images of every class, not of all together"
_UNLIKE_OPTION = "flag images unlike the fitted ones, or answer `not sure` there, too (default: flag)"
_UNLIKE = "Unlike the images that the head was fitted on: %s of %s (so are %s of those themselves)."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of predict."""
    parser.add_argument("bundle", type=Path, metavar="FILE.fc7", help="what fit -o wrote")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help=_IMAGES)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=_FILE)
    parser.add_argument("--max-error", type=share, metavar="X", help=f"{MAX_ERROR} (default: as the bundle)")
    parser.add_argument("--confidence", type=positive_share, metavar="C", help=f"{CONFIDENCE} (default: as the bundle)")
    parser.add_argument("--coverage", type=positive_share, metavar="X", help=_COVERAGE)
    parser.add_argument("--class-conditional", action="store_true", help=_CONDITIONAL)
    parser.add_argument("--costs", type=Path, metavar="FILE.csv", help=f"{COSTS} (default: as the bundle)")
    parser.add_argument("--unlike", choices=("flag", "not-sure"), default="flag", help=_UNLIKE_OPTION)
    parser.add_argument("--neighbours", type=whole_number, metavar="K", help=_NEIGHBOURS)
    parser.add_argument(
        "--top", type=whole_number, metavar="K", help="columns for the K most probable classes (default: none)"
    )
    parser.add_argument("--weights", metavar="SOURCE", help=WEIGHTS)
    options.add_own_backbone(parser)
    parser.add_argument("--unlabelled", action="store_true", help=_UNLABELLED)
    options.add_machine(parser)
    options.add_web(parser)


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Label new images with a bundle."""
    from ...cache.output_file import require_apart
    from ...extract.manifest.members import require_outside
    from ..bundles.bundle import Bundle
    from ..bundles.cost_matrix import read_costs
    from ..bundles.prediction import Prediction, counts, predictions_csv
    from ..bundles.predictions_file import PredictionsFile
    from ..evaluation.abstention import RARE
    from ..pages.page import beside

    file = PredictionsFile(arguments.output, arguments.images) if arguments.output else None
    require_apart(
        file.output if file else None, read=[arguments.bundle, *filter(None, [arguments.costs]), *arguments.images]
    )
    bundle = Bundle.load(arguments.bundle)
    named = _without_label if arguments.unlabelled else _named
    found = [named(word) for word in arguments.images]
    images = [path for paths, _ in found for path in paths]
    if file:
        require_outside(file.output, files=map(str, images))
    promises = given(arguments, "max_error", "confidence", "coverage", "neighbours")
    promises |= {"class_conditional": arguments.class_conditional, "unlike": arguments.unlike}
    if arguments.costs:
        promises["costs"] = read_costs(arguments.costs, bundle.classes)
    settings = promises | given(arguments, "weights", "device", "batch_size", "cache", "workers")
    predictions = bundle.predict(images, progress=progress, **settings, **options.own_backbone(arguments))
    predictions += [Prediction(path, rejected=reason) for _, rejects in found for path, reason in rejects]
    labelled = [prediction for prediction in predictions if prediction.label]
    numbers = counts(predictions)
    threshold = bundle.abstaining(arguments.max_error, arguments.confidence).threshold
    if threshold or arguments.unlike == "not-sure":
        said = (f"{numbers[name]:,}" for name in ("answered", "not_sure", "rejected"))
        logger.info("%s: %s answered, %s not sure, %s rejected.", counted(numbers["files"], "file"), *said)
    if threshold and labelled:
        logger.info("The head %s.", threshold)
    if arguments.coverage is not None and labelled:
        sizes = Counter(len(prediction.classes or ()) for prediction in labelled)
        sets = few([f"{size} in {counted(count, 'image')}" for size, count in sorted(sizes.items())])
        logger.info(
            "Sets that hold the right class of %g of images%s like the fitted ones; number of classes: %s.",
            arguments.coverage,
            " of every class" if arguments.class_conditional else "",
            sets,
        )
    if numbers["unlike"]:
        logger.info(_UNLIKE, f"{numbers['unlike']:,}", counted(len(labelled), "image"), f"{RARE:.0%}")
    as_json = arguments.json or (file and file.as_json)  # dicts of many classes take much memory
    payload = {
        "predictions": [prediction.to_dict() for prediction in predictions] if as_json else None,
        "counts": numbers,
        "threshold": threshold and threshold.to_dict(),
        "unlike_beyond": bundle.abstention and bundle.abstention.limit,
    }
    code = 0 if labelled else 1
    if file:
        path = str(file.write(predictions, payload, arguments.top, progress=progress))
        rejected = len(predictions) - len(labelled)
        text = f"Wrote {counted(len(labelled), 'prediction')} to {plain(path)}" + (
            f"; rejected: {rejected:,}" if rejected else ""
        )
        text = "\n".join([text, *map(plain, beside([Path(path)]))])
        return Answer(payload | {"file": path}, text, code)
    harmless = plain if sys.stdout.isatty() else storable
    shown = predictions_csv(predictions, arguments.top or 0, harmless=harmless)
    return Answer(payload, shown, code, data=shown)


def _named(word: str) -> Named:
    """Return the images, folders and patterns that a word stands for: a table for those in it, and its rejects."""
    from ...extract.manifest.given import paths_on_stdin
    from ...extract.manifest.manifest import read_manifest
    from ...extract.manifest.paths import located
    from ...extract.manifest.table import TABLES

    if word.lower().endswith(TABLES):
        manifest = read_manifest(word)
        return manifest.files, [(located(manifest.root, path), reason) for path, reason in manifest.rejects]
    return paths_on_stdin("fc7 predict FILE.fc7 -") if word == "-" else [word], []


def _without_label(data: str) -> Named:
    """Return the images of a data set that have no label."""
    from ...extract.manifest.manifest import read_manifest

    manifest = read_manifest(data)
    rows = [row for row, label in enumerate(manifest.images.labels) if not label]
    if not rows:
        raise DataError(f"{data} has no image without a label. To predict the others, leave out --unlabelled.")
    return list(manifest.each_file(rows)), []
