"""The verbs of a bundle: predict and export."""

import argparse
import logging
import os
import sys
from pathlib import Path

from ...extract.commands import options
from ...extract.commands.options import Arguments, given, whole_number
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.text import plain
from ..bundles.bundle import Bundle
from ..bundles.predict import predict
from ..bundles.prediction import predictions_csv
from ..evaluation.abstention import RARE
from ..exports.export import TOLERANCE, Exported, export

logger = logging.getLogger(__name__)

MAX_ERROR = "say `not sure` where needed to be wrong in at most this share of the answers, out-of-fold (such as 0.02)"
_IMAGES = "files, folders, patterns such as 'new/**/*.jpg', URLs, or - for a list on standard input"
_FORMATS = "FILE.onnx, FILE.pt2 (torch.export), or FILE.safetensors (a state dict of torchvision's own class)"
_RARE = f"so are {RARE:.0%} of those themselves"
_WEIGHTS = "where the backbone's weights are, as for fc7 fit (default: where they were then)"


def add_predict(parser: argparse.ArgumentParser) -> None:
    """Add the options of predict."""
    parser.add_argument("bundle", type=Path, metavar="FILE.fc7", help="what fit -o wrote")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help=_IMAGES)
    parser.add_argument("--max-error", type=share, metavar="X", help=f"{MAX_ERROR} (default: as the bundle)")
    parser.add_argument(
        "--top", type=whole_number, metavar="K", help="columns for the K most probable classes (default: none)"
    )
    parser.add_argument("--weights", metavar="SOURCE", help=_WEIGHTS)
    options.add_machine(parser)


def run_predict(arguments: Arguments, progress: Progress) -> Answer:
    """Label new images with a bundle."""
    bundle = Bundle.load(arguments.bundle)
    images = [path for word in arguments.images for path in (_listed() if word == Path("-") else [word])]
    settings = given(arguments, "max_error", "weights", "device", "batch_size", "cache", "workers")
    found = predict(bundle, images, progress=progress, **settings)
    labelled = [one for one in found if one.label]
    threshold = bundle.threshold if arguments.max_error is None else bundle.abstaining(arguments.max_error).threshold
    if threshold and labelled:
        sure = sum(one.sure for one in labelled)
        logger.info("%d of %d images answered. The head %s", sure, len(labelled), threshold)
    unlike = sum(one.unlike for one in labelled)
    if unlike:
        logger.info("%d of %d images are unlike those that the head was fitted on (%s).", unlike, len(labelled), _RARE)
    payload = {
        "predictions": [one.to_dict() for one in found],
        "threshold": threshold and threshold.to_dict(),
        "unlike_beyond": bundle.abstention and bundle.abstention.limit,
    }
    return Answer(payload, predictions_csv(found, arguments.top or 0), 0 if labelled else 1)


def add_export(parser: argparse.ArgumentParser) -> None:
    """Add the options of export."""
    tolerance = f"largest difference of a probability from the bundle's (default: {TOLERANCE:g})"
    images = "files, or folders of them, to compare network and bundle on (default: made-up pictures)"
    parser.add_argument("bundle", type=Path, metavar="FILE.fc7", help="of a linear head, or of the head classifier")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=_FORMATS)
    parser.add_argument("--with-normalise", action="store_true", help="take uint8 pixels (batch, crop, crop, 3)")
    parser.add_argument("--images", nargs="+", type=Path, metavar="IMAGE", help=images)
    parser.add_argument("--tolerance", type=float, metavar="X", help=tolerance)
    parser.add_argument("--weights", metavar="SOURCE", help=_WEIGHTS)
    options.add_cache(parser)


def run_export(arguments: Arguments, progress: Progress) -> Answer:
    """Write a bundle with its backbone as one network."""
    settings = given(arguments, "images", "with_normalise", "tolerance", "weights", "cache")
    written = export(Bundle.load(arguments.bundle), arguments.output, progress=progress, **settings)
    return Answer(written.to_dict(), _exported(written))


def share(text: str) -> float:
    """Read a share; argparse shows this name."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 0 and less than 1")
    return value


def _listed() -> list[Path]:
    """Return the paths on standard input: one in a line, or separated by null bytes as find -print0 writes them."""
    data = sys.stdin.buffer.read()
    names = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [Path(os.fsdecode(name)) for name in names if name]


def _exported(written: Exported) -> str:
    parity = written.parity
    lines = [
        f"Wrote {written.path} ({written.size / 1e6:.1f} MB): {written.format}, of {written.input}",
        f"Largest difference from the bundle on {parity.images} images ({parity.origin}): "
        f"logits {parity.logits:.1e}, probability {parity.probability:.1e}; from fc7 predict: {parity.predicted:.1e}",
        *(f"note: {note}" for note in written.notes),
    ]
    return "\n".join(map(plain, lines))
