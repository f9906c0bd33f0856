"""Options that verbs share, and what is made of them."""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from ...cache.recipe import DECODES
from ...cache.urls import PRIVATE_HOSTS, REDIRECTS, allow, locate
from ...errors import UsageError

if TYPE_CHECKING:
    from ..backbones.backbone import Backbone
    from ..engines.ray_engine import RayEngine

FOLDER = (
    "a folder train|val|test/<class>/, a folder of class folders, or a csv path,label[,split][,group][,bad]; or one of "
    "these as s3://..., see docs/remote.md"
)
FOLDER_OR_FILE = f"{FOLDER}; or an .h5 that fc7 cache export wrote"
DEFAULT_BACKBONE = "alexnet"
_BACKBONE = f"of torchvision, or timm:NAME; see fc7 backbones (default: {DEFAULT_BACKBONE})"
_LAYER = "pool5, fc6, fc7, gap, gmp, gap+gmp, logits, penultimate, or a node (default: the penultimate layer)"
_SIZE = "side of the crop, and of the shorter side before it, in pixels (default: the network's own, usually 224:256)"
_DECODE = (
    "scaled: by JPEG's own reduction of large photographs; nvjpeg: by the CUDA device; both are faster and give "
    "slightly other vectors (default: exact)"
)
_BATCH = "images in one forward pass (default: 8 or 16 by network, on a CUDA device 32)"
_WORKERS = "threads that decode, compute and commit (default: one per core)"
_VIEWS = "random crops, mirror images and colours of each image to embed and fit on, too (default: 0)"
_CACHE = "of embeddings, a folder or s3://... (default: $FC7_CACHE, else fc7 in the user's cache folder)"
_ENGINE = "where the backbone runs: in this process, or on Ray, see docs/engines.md (default: local)"
_ADDRESS = "a Ray cluster, auto or HOST:6379 (default: one of its own, on this machine alone)"
_ACTORS = "workers on Ray, each with the backbone in memory (default: one per core, or per GPU)"
_MIRROR = "embed each mirror image, too, and keep the mean of the two vectors"
_SOURCE = "torchvision[:NAME], timm, file:PATH, ndf or random:SEED (default: torchvision; timm for timm:NAME)"
_TRANSFORM = (
    "published weights that images are prepared for, such as IMAGENET1K_V1, or a tag of timm's (default: the weights "
    "that are loaded)"
)
_PRIVATE = "read also from this machine and from private networks, whose addresses http(s)://... else may not lead to"
_REDIRECTS = "follow redirects of http(s)://... also to other hosts"
_EPOCHS = "of what is trained in epochs (default: chosen in the folds for torch-linear, else 12)"
_ON = "the split to evaluate on (default: val, else test; without splits every image is predicted once, in folds)"

_CROSS = (
    "predict every image once, in N folds, whatever its split; all choices are made inside each (default: by split)"
)

SETTINGS = ("precision", "dtype", "image_size", "decode", "views", "mirror")  # of load_backbone, as options

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
_LEAST_RAM = 2**24  # less than a block of long rows
_MOST_THREADS = 1024
_MOST_PIXELS = 2**13  # 64 megapixels, which is more than any image may have

Arguments = argparse.Namespace


def add_data(parser: argparse.ArgumentParser, text: str = FOLDER) -> None:
    """Add the data set."""
    parser.add_argument("data", type=locate, metavar="DATA", help=text)
    add_web(parser)


def add_web(parser: argparse.ArgumentParser) -> None:
    """Add what images at web addresses may ask for."""
    group = parser.add_argument_group("web addresses", "of images, which a csv from elsewhere may have")
    group.add_argument("--allow-private-hosts", nargs=0, action=_Allow, const=PRIVATE_HOSTS, help=_PRIVATE)
    group.add_argument("--allow-redirects", nargs=0, action=_Allow, const=REDIRECTS, help=_REDIRECTS)


class _Allow(argparse.Action):
    def __call__(self, *_: Any) -> None:
        allow(self.const)


def add_backbone(parser: argparse.ArgumentParser, *, embeddings: bool = True) -> None:
    """Add which networks, what decides their embeddings unless none are made, and the machine."""
    repeated = "name, layer, weights and transform" if embeddings else "name, weights and transform"
    group = parser.add_argument_group("backbone", f"{repeated} can be repeated where many are compared")
    group.add_argument("--backbone", action="append", metavar="NAME", help=_BACKBONE)
    group.add_argument("--weights", action="append", metavar="[NAME=]SOURCE", help=_SOURCE)
    group.add_argument("--transform", action="append", metavar="[NAME=]ENTRY", help=_TRANSFORM)
    group.add_argument("--precision", choices=("fp32", "bf16"), help="of the forward pass (default: fp32)")
    if embeddings:
        group.add_argument("--layer", action="append", metavar="[NAME=]LAYER", help=_LAYER)
        group.add_argument("--image-size", type=image_size, metavar="CROP[:RESIZE]", help=_SIZE)
        group.add_argument("--decode", choices=tuple(DECODES), help=_DECODE)
        group.add_argument("--views", type=views_number, metavar="N", help=_VIEWS)
        group.add_argument("--mirror", action="store_const", const=True, help=_MIRROR)
        group.add_argument("--dtype", choices=("float16", "float32"), help="of stored numbers (default: float16)")
    add_machine(parser, embeddings=embeddings)


def add_machine(parser: argparse.ArgumentParser, *, embeddings: bool = True) -> None:
    """Add where and how fast."""
    group = parser.add_argument_group("machine")
    group.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps or auto (default: auto)")
    if embeddings:
        group.add_argument("--batch-size", type=whole_number, metavar="N", help=_BATCH)
    group.add_argument("--workers", type=threads_number, metavar="N", help=_WORKERS)
    add_cache(group)


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add where units are computed."""
    group = parser.add_argument_group("engine", "Ray comes with the extra fc7[ray]")
    group.add_argument("--engine", choices=("local", "ray"), default="local", help=_ENGINE)
    group.add_argument("--address", metavar="ADDRESS", help=_ADDRESS)
    group.add_argument("--actors", type=threads_number, metavar="N", help=_ACTORS)


@contextmanager
def engine(arguments: Arguments) -> Iterator["RayEngine | None"]:
    """Yield the engine asked for until the end of the block; None is this process."""
    if arguments.engine == "local":
        for name in given(arguments, "address", "actors"):
            raise UsageError(f"--{name} is for --engine ray.")
        yield None
        return
    from ..engines.ray_engine import RayEngine

    # Ray writes to stdout that a worker has died; there the answer goes, and nothing else.
    with redirect_stdout(sys.stderr), RayEngine(**given(arguments, "address", "actors")) as started:
        yield started


def add_cache(parser: argparse._ActionsContainer) -> None:
    """Add the cache directory."""
    parser.add_argument("--cache", type=locate, metavar="DIR", help=_CACHE)


def add_evaluation(parser: argparse.ArgumentParser) -> None:
    """Add what is evaluated, and the seed."""
    parser.add_argument("--on", choices=("val", "test"), help=_ON)
    parser.add_argument("--cross-validate", type=folds_number, metavar="N", help=_CROSS)
    parser.add_argument("--epochs", type=whole_number, metavar="N", help=_EPOCHS)
    add_seed(parser)


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add the seed, and whether an image may be on both sides of a split."""
    parser.add_argument(
        "--random-state", type=seed_number, default=0, metavar="N", help="seed of all that is drawn (default: 0)"
    )
    parser.add_argument("--allow-leakage", action="store_true", help="go on with an image on both sides of the split")


def memory_size(text: str) -> int:
    """Read bytes, or ``512M`` and ``2G``; argparse shows this name."""
    unit = text[-1:].upper()
    size = float(text[:-1]) * _UNITS[unit] if unit in _UNITS else float(text)
    if not size >= _LEAST_RAM:  # nan is neither more nor less
        raise argparse.ArgumentTypeError(f"{text} is less than {_LEAST_RAM // 2**20}M")
    return int(min(size, 2**63))


def whole_number(text: str) -> int:
    """Read a number of 1 or more; argparse shows this name."""
    return _between(text, 1)


def folds_number(text: str) -> int:
    """Read a number of folds, 2 or more; argparse shows this name."""
    return _between(text, 2)


def views_number(text: str) -> int:
    """Read a number of views, which may be 0; argparse shows this name."""
    return _between(text, 0)


def threads_number(text: str) -> int:
    """Read a number of threads that a process can have; argparse shows this name."""
    return _between(text, 1, _MOST_THREADS)


def jobs_number(text: str) -> int:
    """Read a number of processes: -1, or 1 and more; argparse shows this name."""
    return -1 if text == "-1" else _between(text, 1, _MOST_THREADS)


def positive_number(text: str) -> float:
    """Read a number above 0; argparse shows this name."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


def _between(text: str, least: int, most: int = 2**31 - 1) -> int:
    value = int(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} is less than {least}")
    if value > most:
        raise argparse.ArgumentTypeError(f"{text} is more than {most}")
    return value


def image_size(text: str) -> tuple[int, int | None]:
    """Read ``CROP`` or ``CROP:RESIZE``; argparse shows this name."""
    crop, colon, resize = text.partition(":")
    return _between(crop, 1, _MOST_PIXELS), _between(resize, 1, _MOST_PIXELS) if colon else None


def seed_number(text: str) -> int:
    """Read a seed; argparse shows this name."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 2**32 - 1")
    return value


def given(arguments: Arguments, *names: str) -> dict[str, Any]:
    """Return the options that were given; what was not is left to the library's own default."""
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


def backbone_names(arguments: Arguments) -> list[str]:
    """Return the backbones asked for, each once."""
    return list(dict.fromkeys(arguments.backbone or [DEFAULT_BACKBONE]))


def sources(arguments: Arguments) -> dict[str, dict[str, Any]]:
    """Return weights and transform by backbone, as options; what was not given is left out."""
    names = backbone_names(arguments)
    chosen: dict[str, dict[str, Any]] = {name: {} for name in names}
    for option in ("weights", "transform"):
        for name, values in _by_name(names, getattr(arguments, option), f"--{option}").items():
            if len(values) > 1:
                raise UsageError(f"--{option} for {name} given {len(values)} times: {', '.join(values)}.")
            chosen[name] |= {option: values[0]} if values else {}
    return chosen


def backbones(arguments: Arguments, progress: Any) -> "list[Backbone]":
    """Return the backbones asked for, each tapped at its layers."""
    from ..backbones.backbone import load_backbone

    layers = _by_name(backbone_names(arguments), arguments.layer, "--layer")
    options = given(arguments, *SETTINGS, "device", "batch_size", "cache")
    return [
        load_backbone(name, layers[name] or None, progress=progress, **options, **source)
        for name, source in sources(arguments).items()
    ]


def refuse_backbone(arguments: Arguments) -> None:
    """Refuse options that an exported file has settled."""
    names = ("backbone", "layer", "weights", "transform", *SETTINGS)
    settled = [name.replace("_", "-") for name in given(arguments, *names)]
    if settled:
        raise UsageError(f"{arguments.data} has its embeddings already; leave out --{', --'.join(settled)}.")


def require_single(backbones: "Sequence[Backbone]") -> "Backbone":
    """Return the one backbone with its one layer."""
    recipes = [recipe for backbone in backbones for recipe in backbone.recipes]
    if len(recipes) != 1:
        raise UsageError(f"This takes one backbone and one layer, got {len(recipes)}; compare and extract take many.")
    return backbones[0]


def _by_name(names: Sequence[str], values: Sequence[str] | None, option: str) -> dict[str, list[str]]:
    """Sort ``VALUE`` (for all backbones) and ``NAME=VALUE`` (for one) by backbone."""
    chosen: dict[str, list[str]] = {name: [] for name in names}
    for value in values or ():
        name, sign, rest = value.partition("=")
        named = bool(sign) and name in chosen
        for backbone in [name] if named else names:
            chosen[backbone].append(rest if named else value)
    repeated = {name: values for name, values in chosen.items() if len(set(values)) < len(values)}
    if repeated:
        raise UsageError(f"{option} names the same thing twice: {repeated}.")
    return chosen
