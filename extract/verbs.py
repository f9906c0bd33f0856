"""The verbs of this room: extract and backbones. Each returns an answer; cli.py prints it."""

import argparse
import logging
from collections.abc import Sequence
from typing import Any

from . import options
from .accounting import Extraction
from .architectures import KNOWN, names
from .embed import fill
from .manifest import read_manifest
from .options import Arguments, given
from .progress import Progress
from .terminal import Answer, plain, table
from .weights import whereabouts

logger = logging.getLogger(__name__)

REJECTED = 3  # exit code of --strict where images were rejected


def add_extract(parser: argparse.ArgumentParser) -> None:
    """Add the options of extract."""
    options.add_data(parser)
    options.add_backbone(parser)
    options.add_engine(parser)
    parser.add_argument("--strict", action="store_true", help="exit 3 if an image was rejected")
    parser.add_argument("--rehash", action="store_true", help="read every file again, even those that look unchanged")


def run_extract(arguments: Arguments, progress: Progress) -> Answer:
    """Compute the embeddings that the cache lacks."""
    with options.engine(arguments) as engine:
        manifest = read_manifest(arguments.data)
        found = options.backbones(arguments, progress)
        settings = given(arguments, "cache", "workers", "rehash")
        done = fill(manifest, found, engine=engine, progress=progress, **settings)
    parts = [one.to_dict() for one in done]
    code = REJECTED if arguments.strict and any(one.rejected for one in done) else 0
    if not all(one.ok for one in done):
        logger.error(
            "fc7: no image of %s could be embedded; the reasons are in the answer.", plain(str(arguments.data))
        )
        code = 1
    return Answer(parts[0] if len(parts) == 1 else {"backbones": parts}, describe(done), code)


def describe(done: Sequence[Extraction]) -> str:
    """Return what an extraction did, for a person."""
    rejected = [f"rejected  {plain(reject.path)}: {reject.reason}" for reject in done[0].rejects]
    return "\n".join([*rejected, *(one.describe() for one in done), done[0].describe_time()])


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
