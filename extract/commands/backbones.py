"""The verb ``backbones``: what can run here, and where its weights are."""

import argparse
from typing import Any

from ..progress import Progress
from .options import Arguments
from .terminal import Answer, table

TEXT = """
List the networks that fc7 knows best, with their named layers, where their weights are on this machine or how large
the download would be, and the names of all published weights, which `--weights torchvision:NAME` and `--transform NAME`
take.
"""
EXAMPLES = """
# those with named layers
fc7 backbones

# every classification network of torchvision, for a program
fc7 backbones --all --json
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of backbones."""
    parser.add_argument("--all", action="store_true", help="every classification network of torchvision")


def run(arguments: Arguments, progress: Progress) -> Answer:
    """List what can run here, and where its weights are."""
    from ..backbones.architectures import KNOWN, names
    from ..backbones.weights import whereabouts

    backbones = [whereabouts(name) for name in (names() if arguments.all else KNOWN)]
    heads = ["backbone", "layers", "weights here", "torchvision's file", "published weights"]
    text = table("", heads, list(map(_row, backbones)))
    if not arguments.all:
        text += "\nAll other classification networks of torchvision work, too: fc7 backbones --all; timm: timm:NAME"
    return Answer({"backbones": backbones}, text)


def _row(backbone: dict[str, Any]) -> list[str]:
    here = ", ".join(backbone["sources"]) or f"{backbone['megabytes']:.0f} MB to download"
    return [backbone["backbone"], " ".join(backbone["layers"]), here, backbone["file"], " ".join(backbone["entries"])]
