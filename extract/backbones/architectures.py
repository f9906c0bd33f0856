"""Architectures: the layers and default weights of each network.

Known networks are table rows, from which fc7 names a recipe without importing torch: a run with nothing to compute
starts at once. All others are traced.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from ...cache.recipe import Transform
from ...errors import UsageError
from .layers import Layer, pooled

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule

    from .graph import TracedNetwork

SMALLEST, LARGEST = 32, 4096  # sides of a network's input, in pixels
DOWNLOADS = "https://download.pytorch.org/models/"


class About(NamedTuple):
    """What belongs to a network's default weights: their file and its size, the work for one image, the transform.

    Zero is unknown.
    """

    file: str
    megabytes: float
    gmacs: float
    transform: Transform


@dataclass(frozen=True)
class Architecture:
    """A classification network of torchvision or timm.

    Attributes
    ----------
    name
        torchvision's, or ``timm:`` and timm's.
    layers
        Layers by their fc7 name; any other name is taken for a node of torchvision's feature extractor.
    default_layer
        The penultimate one; empty where the network does not end in a linear layer.
    file, megabytes
        Of the default weights.
    gmacs
        Billions of multiply-adds for one image: how much work a unit is.
    transform
        Of the default weights.
    batch
        Images in one forward pass that are fastest on a core: more if fully connected layers read many parameters for
        each batch, fewer if feature maps are large.
    """

    name: str
    layers: Mapping[str, Layer]
    default_layer: str
    file: str
    megabytes: float
    gmacs: float
    transform: Transform = field(default=Transform())
    batch: int = 16

    def layer(self, name: str) -> Layer:
        """Return where a layer is tapped."""
        layer = self.layers.get(name) or self.traced().layer(name)
        if layer is None:
            raise UsageError(f"{self.name} has no layer {name!r}. Layers: {self.suggestions()}.")
        return layer

    def at(self, crop: int, resize: int | None = None) -> "Architecture":
        """Return the network for images of another size.

        Parameters
        ----------
        crop
            Side of the square crop, in pixels.
        resize
            Length of the shorter side before it; by default in the proportion of 256 to 224.
        """
        resize = round(crop * 256 / 224) if resize is None else resize
        if not SMALLEST <= crop <= resize <= LARGEST:
            raise UsageError(f"--image-size {crop}:{resize}: {SMALLEST} <= CROP <= RESIZE <= {LARGEST} is needed.")
        return replace(self, transform=replace(self.transform, crop=crop, resize=resize))

    def suggestions(self) -> str:
        """Return the named layers and the last nodes, for a message."""
        return f"{', '.join(self.layers)}, or a node such as {', '.join(self.traced().nodes[-3:])}"

    @property
    def source(self) -> str:
        """The default source of its weights."""
        return str(_library(self.name).SOURCE)

    def published(self, name: str = "") -> tuple[str, float]:
        """Return the URL and the size in MB of torchvision's weights, the default ones or those of that name."""
        if not name:
            return DOWNLOADS + self.file, self.megabytes
        enum = _library(self.name).published(self.name)
        if name not in enum.__members__:
            raise UsageError(f"{self.name} has no weights {name!r} in torchvision: {', '.join(enum.__members__)}.")
        weights = enum[name]
        return weights.url, weights.meta["_file_size"]

    def skeleton(self, **options: Any) -> "torch.nn.Module":
        """Return the network in eval mode without storage for its parameters where its constructor allows that.

        `options` are its constructor's, such as ``num_classes``.
        """
        net: torch.nn.Module = _library(self.name).skeleton(self.name, **options)
        return net

    def traced(self) -> "TracedNetwork":
        """Return the traced network, for images of this size; it must not be changed."""
        return _traced(self.name, self.transform.crop)

    def cut(self, taps: Iterable[Layer]) -> "GraphModule":
        """Return a new network up to these layers: from images to ``{node: tensor}``, without storage as above."""
        from .graph import TracedNetwork

        return TracedNetwork(self.skeleton(), self.transform.crop, _library(self.name).tracer()).cut(
            tap.node for tap in taps
        )

    def construct(self, seed: int) -> "torch.nn.Module":
        """Return the network in eval mode with seeded parameters; torch's global generator is left as it was."""
        import torch

        from .torch_runtime import global_generator

        with global_generator():
            torch.manual_seed(seed)
            net: torch.nn.Module = _library(self.name).construct(self.name)
        return net

    def initialise(self, seed: int) -> "dict[str, torch.Tensor]":
        """Return seeded parameters."""
        return self.construct(seed).state_dict()


def _classic(name: str, *, pool5: int, conv: int, fc6: str, fc7: str, **row: Any) -> Architecture:
    """Return AlexNet's or a VGG's row; fc6 and fc7 are tapped after ReLU."""
    layers = {
        "pool5": Layer("flatten", pool5),
        "fc6": Layer(fc6, 4096),
        "fc7": Layer(fc7, 4096),
        **pooled("features", conv),
        "logits": Layer("classifier.6", 1000),
    }
    return Architecture(name, layers, "fc7", **row)


KNOWN = {
    row.name: row
    for row in (
        _classic(
            "alexnet",
            pool5=9216,
            conv=256,
            fc6="classifier.2",
            fc7="classifier.5",
            file="alexnet-owt-7be5be79.pth",
            megabytes=233.1,
            gmacs=0.714,
            batch=16,
        ),
        _classic(
            "vgg16",
            pool5=25088,
            conv=512,
            fc6="classifier.1",
            fc7="classifier.4",
            file="vgg16-397923af.pth",
            megabytes=527.8,
            gmacs=15.47,
            batch=8,
        ),
        Architecture(
            "squeezenet1_1",
            {**pooled("features", 512), "logits": Layer("flatten", 1000)},
            "gap",
            file="squeezenet1_1-b8a52dc0.pth",
            megabytes=4.7,
            gmacs=0.349,
        ),
    )
}


def architecture(name: str) -> Architecture:
    """Return a network by torchvision's name or timm's; imports its library only if it has no row."""
    return KNOWN[name] if name in KNOWN else _untabled(name)


def names() -> list[str]:
    """Return torchvision's names: the known ones, then the others. Imports torchvision."""
    return [*KNOWN, *(name for name in _library("").names() if name not in KNOWN)]


def listed(name: str) -> tuple[str, float, list[str]]:
    """Return the default weights' URL and size in MB, and the named layers, without tracing the network."""
    if name in KNOWN:
        return *KNOWN[name].published(), list(KNOWN[name].layers)
    about = _library(name).about(name)
    return DOWNLOADS + about.file, about.megabytes, ["penultimate", "logits"]


def _library(name: str) -> Any:
    """Return the module of a network's library; both have the same functions."""
    library = "timm" if name.startswith("timm:") else "torchvision"
    return import_module(f".{library}_models", __package__)


@cache
def _untabled(name: str) -> Architecture:
    about = _library(name).about(name)
    traced = _traced(name, about.transform.crop)
    layers = traced.ends()
    default = "penultimate" if "penultimate" in layers else ""
    return Architecture(name, layers, default, **about._asdict() | {"gmacs": about.gmacs or traced.gmacs})


@cache
def _traced(name: str, crop: int) -> "TracedNetwork":
    from .graph import TracedNetwork

    library = _library(name)
    return TracedNetwork(library.skeleton(name), crop, library.tracer())
