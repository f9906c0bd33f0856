"""The verb ``demo``: the main job on an example, without network."""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ...extract.commands import options
from ...extract.commands.options import Arguments, given
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.text import plain

TEXT = """
Run the main job on 1,797 handwritten digits that come with scikit-learn: write them as pictures, embed them with
EfficientNet-Lite0 (or SqueezeNet, where only its weights are installed), compare six heads, save the best as a bundle,
predict a few pictures with it. Needs the extra fc7[demo] and no network. Run it twice: the second time nothing is
computed.
"""
EXAMPLES = """
# into the folder fc7-demo
fc7 demo

# elsewhere, and then its pages
fc7 demo -o digits
fc7 report digits/runs -o digits.html
"""


class Choice(NamedTuple):
    """A network with ImageNet weights that pip brings."""

    backbone: str
    layer: str
    weights: str

    def __str__(self) -> str:
        return f"--backbone {self.backbone} --weights {self.weights}"


LITE = Choice("timm:tf_efficientnet_lite0", "penultimate", "efficientnet-lite")
SMALL = Choice("squeezenet1_1", "gap", "ndf")

HEADS = ("logreg", "linear-svm", "ridge", "lda", "knn", "centroid")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of demo."""
    output = "where pictures, records and bundle go (default: fc7-demo)"
    parser.add_argument("-o", "--output", type=Path, default=Path("fc7-demo"), metavar="DIR", help=output)
    options.add_machine(parser)


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Run the main job on an example."""
    from ...cache.output_file import require_folder
    from ...extract.backbones.published import load_backbone
    from ...extract.commands.extract import describe
    from ...extract.extraction import fill, read
    from ...extract.manifest.hashing import Hashed
    from ...extract.manifest.manifest import read_manifest
    from ...extract.weights.catalogue import catalogue
    from ...extract.weights.sources import place_of
    from ..bundles.bundle import Bundle
    from ..bundles.prediction import predictions_csv
    from ..fitting.compare import compare
    from ..fitting.fit import fit
    from .digits import CLASSES, write_digits
    from .tables import runs_table

    folder, cache = arguments.output, given(arguments, "cache")
    workers, machine = given(arguments, "workers"), given(arguments, "device", "batch_size")
    require_folder(folder)
    choice = _installed()
    backbone = load_backbone(choice.backbone, choice.layer, weights=choice.weights, **cache, **machine)
    pictures = write_digits(folder / "digits")
    hashed = Hashed.of(read_manifest(pictures), arguments.cache, progress=progress)
    extraction = fill(hashed, [backbone], progress=progress, **workers)[0]
    rows = read(hashed, backbone.recipes[0], weights_source=backbone.weights_source)
    runs = compare(rows, HEADS, folder=folder / "runs", progress=progress)
    bundle = Bundle.of(fit(rows, runs[0].head, progress=progress)).save(folder / "digits.fc7")
    new = [min((pictures / "val" / name).iterdir()) for name in CLASSES[:5]]
    predictions = Bundle.load(bundle).predict(new, progress=progress, **cache, **machine)

    payload = {
        "extraction": extraction.to_dict(),
        "runs": [run.summary() for run in runs],
        "bundle": str(bundle),
        "predictions": [prediction.to_dict() for prediction in predictions],
    }
    published = [catalogue().find(name, "torchvision") for name in ("vgg16", "alexnet")]
    here = [row.backbone for row in published if row and place_of(row)]
    weights = f"That downloads VGG16's weights once (528 MB); without network: {choice}"
    parts = [
        f"1. Pictures: {extraction.seen:,} handwritten digits of scikit-learn, in {plain(str(pictures))}",
        f"2. Embeddings, kept in the cache\n{describe([extraction])}",
        f"3. Heads, fitted on the cached embeddings\n{runs_table(runs)}",
        f"4. Pictures that no head was fitted on, predicted with {plain(str(bundle))}\n{predictions_csv(predictions)}",
        "Run it again and nothing is computed twice. On your own folder of <class>/*.jpg:\n"
        f"  fc7 compare MY_PICTURES --backbone {here[0] if here else 'vgg16'} -o my-runs\n"
        + (f"The weights of {' and '.join(here)} are on this machine." if here else weights),
    ]
    return Answer(payload, "\n\n".join(parts))


def _installed() -> Choice:
    """Return the better network if its weights and library are installed, else the other one."""
    from ...errors import MissingExtra
    from ...extract.weights.packages import PACKAGED

    try:
        found = PACKAGED[LITE.weights][LITE.backbone].find().exists() and find_spec("timm") is not None
    except MissingExtra:
        found = False
    return LITE if found else SMALL
