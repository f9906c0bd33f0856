"""The verb ``export``: write a bundle and its backbone as one network."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ...cache.tables import counted
from ...extract.commands import options
from ...extract.commands.options import Arguments, given
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.readers import positive_number
from ...extract.text import plain
from ..exports.defaults import TOLERANCE
from .options import WEIGHTS

if TYPE_CHECKING:
    from ..exports.export import Exported

TEXT = """
Write a bundle of a linear head, or of the head classifier, together with its backbone as one network, which needs
neither fc7 nor scikit-learn: ONNX (extra fc7[onnx]), torch.export, or a state dict of torchvision's own class. It is
compared with the bundle first, and not written if a probability differs by more than --tolerance.
"""
EXAMPLES = """
# ONNX, compared with the bundle on pictures of yours
fc7 export my.fc7 -o my.onnx --images new_pictures/

# torch.export, with the normalisation of pixels inside
fc7 export my.fc7 -o my.pt2 --with-normalise
"""

_FORMATS = "FILE.onnx, FILE.pt2 (torch.export), or FILE.safetensors (a state dict of torchvision's own class)"
_IMAGES = "files, or folders of them, to compare network and bundle on (default: made-up pictures)"
_TOLERANCE = f"largest difference of a probability from the bundle's (default: {TOLERANCE:g})"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of export."""
    parser.add_argument("bundle", type=Path, metavar="FILE.fc7", help="of a linear head, or of the head classifier")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=_FORMATS)
    parser.add_argument("--with-normalise", action="store_true", help="take uint8 pixels (batch, crop, crop, 3)")
    parser.add_argument("--images", nargs="+", type=Path, metavar="IMAGE", help=_IMAGES)
    parser.add_argument("--tolerance", type=positive_number, metavar="X", help=_TOLERANCE)
    parser.add_argument("--weights", metavar="SOURCE", help=WEIGHTS)
    options.add_own_backbone(parser)
    options.add_cache(parser)


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Write a bundle with its backbone as one network."""
    from ..bundles.bundle import Bundle
    from ..exports.export import export

    settings = given(arguments, "images", "with_normalise", "tolerance", "weights", "cache")
    settings |= options.own_backbone(arguments)
    exported = export(Bundle.load(arguments.bundle), arguments.output, progress=progress, **settings)
    return Answer(exported.to_dict(), _lines(exported))


def _lines(exported: "Exported") -> str:
    parity = exported.parity
    lines = [
        f"Wrote {exported.path} ({exported.size / 1e6:.1f} MB): {exported.format}, of {exported.input}",
        f"Largest difference from the bundle on {counted(parity.images, 'image')} ({parity.origin}): "
        f"logits {parity.logits:.1e}, probability {parity.probability:.1e}; from fc7 predict: {parity.predicted:.1e}",
        *(f"note: {note}" for note in exported.notes),
    ]
    return "\n".join(map(plain, lines))
