"""Options that verbs share, and what is made of them."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import fields
from itertools import product
from typing import TYPE_CHECKING, Any

from ...cache.urls import PRIVATE_HOSTS, REDIRECTS, allow, locate
from ...errors import UsageError
from ..readers import image_size, is_python_function, python_function, threads_number
from ..settings import IMAGE_SIZE, BackboneSettings

if TYPE_CHECKING:
    from ..backbones.backbone import Backbone
    from ..engines.ray_engine import RayEngine
    from ..manifest.table import Columns

FOLDER = (
    "a folder train|val|test/<class>/, of class folders or of images; a tar or zip; a csv, tsv or parquet with a "
    "column of paths and perhaps label, split, group and bad; - for paths on standard input; or s3://..., see "
    "docs/data.md"
)
_MAP = "how images are placed on the map of the page; umap needs the extra fc7[map] (default: pca)"
FOLDER_OR_FILE = f"{FOLDER}; or an .h5 that fc7 cache export wrote"
DEFAULT_BACKBONE = "alexnet"
_BACKBONE = f"of torchvision, or timm:NAME; see fc7 backbones{{}} (default: {DEFAULT_BACKBONE})"
_OWN_ONE = "; or your own, FILE.py:FUNCTION"
_LAYER = (
    "pool5, fc6, fc7, gap, gmp, gap+gmp, logits, penultimate; of transformers cls, avg, cls+avg, map, "
    "block:N[:cls|avg|cls+avg]; or a node (default: the penultimate layer)"
)
_WORKERS = "threads that decode, compute and commit (default: one per core)"
_CACHE = "of embeddings, a folder or s3://... (default: $FC7_CACHE, else fc7 in the user's cache folder)"
_ENGINE = "where the backbone runs: in this process, or on Ray, see docs/engines.md (default: local)"
_ADDRESS = "a Ray cluster, auto or HOST:6379 (default: one of its own, on this machine alone)"
_ACTORS = "workers on Ray, each with the backbone in memory (default: one per core, or per GPU)"
_SOURCE = (
    "torchvision[:NAME], timm, file:PATH, efficientnet-lite, ndf or random:SEED (default: torchvision; timm for "
    "timm:NAME)"
)
_TRANSFORM = (
    "published weights that images are prepared for, such as IMAGENET1K_V1, or a tag of timm's (default: the weights "
    "that are loaded)"
)
_OWN = (
    "a function that makes your own module, which the head was fitted on; its code runs, and its contents must be "
    "those of then"
)
_COLUMNS = "what columns of a table are called: path=NAME,label=NAME,... (default: found by usual names)"
_PRIVATE = "let http(s)://... lead to this machine and to private networks, too"
_REDIRECTS = "follow redirects of http(s)://... to other hosts, too"

_OF_RECIPE = ("image_size", "resize", "decode", "views", "mirror", "dtype")  # of BackboneSettings, beside the precision

_MACHINE = ("device", "batch_size")

Arguments = argparse.Namespace


def add_settings(parser: argparse._ActionsContainer, settings: type[Any], *names: str) -> None:
    """Add the options of some fields of settings, by default of all that have any."""
    for item in fields(settings):
        if item.metadata and (not names or item.name in names):
            reading = dict(item.metadata)
            option = reading.pop("option") or item.name
            flag: dict[str, Any] = {"action": "store_const", "const": True} if isinstance(item.default, bool) else {}
            # No default here: what was not given is left to the settings, and can be told from what was.
            parser.add_argument(f"--{option.replace('_', '-')}", **reading, **flag)


def given_settings(arguments: Arguments, settings: type[Any]) -> dict[str, Any]:
    """Return the fields of settings that were given as options."""
    options = {item.name: item.metadata.get("option") or item.name for item in fields(settings)}
    values = {name: getattr(arguments, option.replace("-", "_"), None) for name, option in options.items()}
    return {name: value for name, value in values.items() if value is not None}


def given(arguments: Arguments, *names: str) -> dict[str, Any]:
    """Return the options that were given; what was not is left to the library's own default."""
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


def add_data(parser: argparse.ArgumentParser, text: str = FOLDER) -> None:
    """Add the data set."""
    parser.add_argument("data", type=locate, metavar="DATA", help=text)
    parser.add_argument("--columns", type=_columns, metavar="PAIRS", help=_COLUMNS)
    add_web(parser)


def add_map(parser: argparse.ArgumentParser, default: str | None = "pca", text: str = _MAP) -> None:
    """Add how images are placed on a map."""
    parser.add_argument("--map", choices=("pca", "tsne", "umap"), default=default, help=text)


def columns(arguments: Arguments) -> "Columns | None":
    """Return what columns of a table of images are called; those of a project file are for tables only."""
    from ..manifest.table import TABLES

    is_table = arguments.data.suffix.lower() in TABLES
    return arguments.columns if is_table or "columns" not in arguments.of_file else None


def _columns(text: str) -> "Columns":
    from ..manifest.table import Columns

    try:
        return Columns.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not like path=filename,label=class") from error


def add_web(parser: argparse.ArgumentParser) -> None:
    """Add what images at web addresses may ask for."""
    group = parser.add_argument_group("web addresses", "of images, which a csv from elsewhere may have")
    group.add_argument("--allow-private-hosts", nargs=0, action=_Allow, const=PRIVATE_HOSTS, help=_PRIVATE)
    group.add_argument("--allow-redirects", nargs=0, action=_Allow, const=REDIRECTS, help=_REDIRECTS)


class _Allow(argparse.Action):
    def __call__(self, parser: Any, arguments: Arguments, *_: Any) -> None:
        setattr(arguments, self.dest, True)
        allow(self.const)


def add_backbone(parser: argparse.ArgumentParser, *, embeddings: bool = True, many: bool = False) -> None:
    """Add which networks, what decides their embeddings unless none are made, and the machine.

    Of `many`, each has as many weights and sizes as are named, and by default they are those of this machine.
    """
    repeated = "name, layer, weights and transform" if embeddings else "name, weights and transform"
    group = parser.add_argument_group("backbone", f"{repeated} can be repeated where many are compared")
    text = _BACKBONE.format(_OWN_ONE * embeddings)
    text = text.replace(f"default: {DEFAULT_BACKBONE}", "default: all whose weights are here") if many else text
    group.add_argument("--backbone", action="append", metavar="NAME", help=text)
    group.add_argument("--weights", action="append", metavar="[NAME=]SOURCE", help=_SOURCE)
    group.add_argument("--transform", action="append", metavar="[NAME=]ENTRY", help=_TRANSFORM)
    if embeddings:
        group.add_argument("--layer", action="append", metavar="[NAME=]LAYER", help=_LAYER)
    names = list(_OF_RECIPE if embeddings else ("resize",))
    if many:
        names.remove("image_size")
        sizes: dict[str, Any] = {"type": _sized, "metavar": "[NAME=]CROP[:RESIZE]", "help": IMAGE_SIZE}
        group.add_argument("--image-size", action="append", **sizes)
    add_settings(group, BackboneSettings, "precision", *names)
    add_machine(parser, embeddings=embeddings)


def add_machine(parser: argparse.ArgumentParser, *, embeddings: bool = True) -> None:
    """Add where and how fast."""
    group = parser.add_argument_group("machine")
    add_settings(group, BackboneSettings, "device", *(["batch_size"] if embeddings else []))
    group.add_argument("--workers", type=threads_number, metavar="N", help=_WORKERS)
    add_cache(group)


def add_own_backbone(parser: argparse.ArgumentParser) -> None:
    """Add the backbone of a bundle that no name leads to."""
    parser.add_argument("--backbone", type=python_function, metavar="FILE.py:FUNCTION", help=_OWN)


def own_backbone(arguments: Arguments) -> dict[str, Any]:
    """Return the backbone made by the function that was named, or the module; as an option, if one was."""
    if arguments.backbone is None:
        return {}
    from ..backbones.backbone import Backbone
    from .python_file import make

    made = make(arguments.backbone)
    if isinstance(made, Backbone):
        made.on(**{name: value for name, value in vars(arguments).items() if name in _MACHINE and value is not None})
    return {"backbone": made}


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
                pairs = " ".join(f"--{option} {one}={value}" for one, value in zip(names, values, strict=False))
                each = f" Name the backbone of each: {pairs}" if len(names) > 1 else ""
                raise UsageError(f"--{option} for {name} given {len(values)} times: {', '.join(values)}.{each}")
            chosen[name] |= {option: values[0]} if values else {}
    return chosen


def layers(arguments: Arguments) -> dict[str, list[str]]:
    """Return the layers by backbone; none is the backbone's own."""
    return _by_name(backbone_names(arguments), arguments.layer, "--layer")


def backbones(arguments: Arguments, progress: Any) -> "list[Backbone]":
    """Return the backbones asked for, each tapped at its layers."""
    from ..backbones.published import load_backbone

    tapped = layers(arguments)
    options = given_settings(arguments, BackboneSettings) | given(arguments, "cache")
    return [
        _made(name, arguments)
        if is_python_function(name)
        else load_backbone(name, tapped[name] or None, progress=progress, **options, **source)
        for name, source in sources(arguments).items()
    ]


def candidates(arguments: Arguments, progress: Any) -> "list[Backbone]":
    """Return each backbone asked for with each of its weights at each size, tapped at its layers."""
    from ..backbones.published import load_backbone

    names = list(dict.fromkeys(arguments.backbone))
    every = {
        option: _by_name(names, getattr(arguments, option), f"--{option.replace('_', '-')}")
        for option in ("layer", "weights", "transform", "image_size")
    }
    options = given_settings(arguments, BackboneSettings) | given(arguments, "cache")
    backbones = []
    for name in names:
        if is_python_function(name):
            backbones.append(_made(name, arguments))
            continue
        layer, *others = (values[name] for values in every.values())
        for weights, transform, pixels in product(*(list[str | None](values) or [None] for values in others)):
            size = _size_of(name, pixels) if pixels else None
            one = {"weights": weights, "transform": transform, "image_size": size}
            backbones.append(load_backbone(name, layer or None, progress=progress, **options | one))
    return backbones


def _size_of(name: str, text: str) -> tuple[int, int | None]:
    if "=" in text:
        raise UsageError(f"--image-size {text} names no --backbone; {name} is one.")
    return image_size(text)


def _sized(text: str) -> str:
    """Check a size that may have the name of a backbone before it."""
    image_size(text.rpartition("=")[2])
    return text


def require_published(arguments: Arguments) -> None:
    """Refuse a network of one's own where one is trained from pixels."""
    for name in filter(is_python_function, backbone_names(arguments)):
        raise UsageError(f"Fine-tuning takes networks by name; --backbone {name} is your own.")


def _made(name: str, arguments: Arguments) -> "Backbone":
    """Return a backbone of one's own; its code has settled all that a recipe holds."""
    names, by_name = backbone_names(arguments), ("layer", "weights", "transform")
    of_others = {option for option in by_name if not _by_name(names, getattr(arguments, option), f"--{option}")[name]}
    settled = [option for option in _settled(arguments) if option not in of_others]
    if settled:
        raise UsageError(f"--backbone {name} says in its code what it computes; leave out --{', --'.join(settled)}.")
    from .python_file import make_backbone

    return make_backbone(name).on(**given(arguments, *_MACHINE))


def refuse_backbone(arguments: Arguments) -> None:
    """Refuse options that an exported file has settled; a project file has them for other verbs, too."""
    settled = _settled(arguments, "backbone")
    if settled:
        raise UsageError(f"{arguments.data} has its embeddings already; leave out --{', --'.join(settled)}.")


def _settled(arguments: Arguments, *more: str) -> list[str]:
    """Return the options of the command line that decide a recipe."""
    names = {*more, "layer", "weights", "transform", "precision", *_OF_RECIPE} - arguments.of_file
    return sorted(name.replace("_", "-") for name in given(arguments, *names))


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
