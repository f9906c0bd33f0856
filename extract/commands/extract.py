"""The verbs of this room: extract and backbones. Each returns an answer; cli.py prints it."""

import argparse
import logging
from collections.abc import Sequence

from ..engines.accounting import Extraction
from ..extraction import fill
from ..manifest.manifest import read_manifest
from ..manifest.partition import AUTO, Partition
from ..progress import Progress
from ..text import plain
from . import options
from .options import Arguments, given
from .terminal import Answer

logger = logging.getLogger(__name__)

_SHARD = (
    "only part I of N, from 1 to N, by the path in DATA; auto: from SLURM_ARRAY_TASK_ID, SLURM_PROCID, or RANK and "
    "WORLD_SIZE (default: all)"
)

REJECTED = 3  # exit code of --strict where images were rejected


def add_extract(parser: argparse.ArgumentParser) -> None:
    """Add the options of extract."""
    options.add_data(parser)
    options.add_backbone(parser)
    options.add_engine(parser)
    parser.add_argument("--strict", action="store_true", help="exit 3 if an image was rejected")
    parser.add_argument("--shard", metavar="I/N", help=_SHARD)
    parser.add_argument("--rehash", action="store_true", help="read every file again, even those that look unchanged")


def run_extract(arguments: Arguments, progress: Progress) -> Answer:
    """Compute the embeddings that the cache lacks."""
    part = _part(arguments.shard)
    with options.engine(arguments) as engine:
        manifest = read_manifest(arguments.data)
        if part:
            manifest = manifest.part(part)
        found = options.backbones(arguments, progress)
        settings = given(arguments, "cache", "workers", "rehash")
        done = fill(manifest, found, engine=engine, progress=progress, **settings)
    answers = [one.to_dict() | ({"shard": str(part)} if part else {}) for one in done]
    code = REJECTED if arguments.strict and any(one.rejected for one in done) else 0
    if any(one.seen and not one.ok for one in done):
        logger.error(
            "fc7: no image of %s could be embedded; the reasons are in the answer.", plain(str(arguments.data))
        )
        code = 1
    text = "\n".join([*([f"part {part.number} of {part.of}, counting its own files:"] if part else []), describe(done)])
    return Answer(answers[0] if len(answers) == 1 else {"backbones": answers}, text, code)


def _part(shard: str | None) -> Partition | None:
    if shard is None:
        return None
    return Partition.of_environment() if shard == AUTO else Partition.parse(shard)


def describe(done: Sequence[Extraction]) -> str:
    """Return what an extraction did, for a person."""
    rejected = [f"rejected  {plain(reject.path)}: {reject.reason}" for reject in done[0].rejects]
    return "\n".join([*rejected, *(one.describe() for one in done), done[0].describe_time()])
