"""The verb ``backbones``: what can run here, and where its weights are."""

import argparse
from typing import Any

from ..backbones.architectures import KNOWN, names
from ..backbones.weights import whereabouts
from ..progress import Progress
from .options import Arguments
from .terminal import Answer, table


def add_backbones(parser: argparse.ArgumentParser) -> None:
    """Add the options of backbones."""
    parser.add_argument("--all", action="store_true", help="every classification network of torchvision")


def run_backbones(arguments: Arguments, progress: Progress) -> Answer:
    """List what can run here, and where its weights are."""
    found = [whereabouts(name) for name in (names() if arguments.all else KNOWN)]
    rows = [_row(one) for one in found]
    text = table("", ["backbone", "layers", "weights here", "torchvision's file"], rows)
    if not arguments.all:
        text += "\nAll other classification networks of torchvision work, too: fc7 backbones --all; timm: timm:NAME"
    return Answer({"backbones": found}, text)


def _row(one: dict[str, Any]) -> list[str]:
    here = ", ".join(one["sources"]) or f"{one['megabytes']:.0f} MB to download"
    return [one["backbone"], " ".join(one["layers"]), here, one["file"]]
