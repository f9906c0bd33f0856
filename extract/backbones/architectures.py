"""Architectures: the layers and published weights of each network.

Known networks are table rows, from which fc7 names a recipe without importing torch: a run with nothing to compute
starts at once. All others are traced.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...cache.recipe import Transform
from ...errors import UsageError
from ..weights.published import DEFAULT, Entry, entry_of
from .layers import Layer, pooled

if TYPE_CHECKING:
    import torch
    from torch.fx import GraphModule

    from .graph import TracedNetwork


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
    entries
        Published weights by name, the default ones first.
    batch
        Images in one forward pass that are fastest on a core: more if fully connected layers read many parameters for
        each batch, fewer if feature maps are large.
    size
        Side of its images, in pixels; zero is that of the default weights.
    """

    name: str
    layers: Mapping[str, Layer]
    default_layer: str
    entries: Mapping[str, Entry]
    batch: int = 16
    size: int = 0

    @property
    def default(self) -> Entry:
        """The default weights."""
        return next(iter(self.entries.values()))

    @property
    def transform(self) -> Transform:
        """The transform of the default weights."""
        return self.default.transform

    @property
    def crop(self) -> int:
        """Side of its images, in pixels."""
        return self.size or self.transform.crop

    @property
    def gmacs(self) -> float:
        """Billions of multiply-adds for one image: how much work a unit is."""
        return self.default.gmacs * (self.crop / self.transform.crop) ** 2

    def layer(self, name: str) -> Layer:
        """Return where a layer is tapped."""
        try:
            return self.layers.get(name) or self.traced().layer(name)
        except LookupError as error:
            reason = f": {error}" if str(error) else ""
            raise UsageError(f"{self.name} has no layer {name!r}{reason}. Layers: {self.suggestions()}.") from error

    def at(self, crop: int) -> "Architecture":
        """Return the network for images of another size, in pixels."""
        return replace(self, size=crop)

    def entry(self, name: str = "") -> Entry:
        """Return the published weights of that name; without a name, the default ones."""
        if name in ("", DEFAULT):
            return self.default
        if name not in self.entries:
            raise UsageError(f"{self.name} has no published weights {name!r}: {', '.join(self.entries)}.")
        return self.entries[name]

    def suggestions(self) -> str:
        """Return the named layers and the last nodes, for a message."""
        return f"{', '.join(self.layers)}, or a node such as {', '.join(self.traced().nodes[-3:])}"

    @property
    def source(self) -> str:
        """The default source of its weights: its library."""
        return "timm" if self.name.startswith("timm:") else "torchvision"

    @property
    def sized(self) -> dict[str, Any]:
        """Options of its constructor that depend on the images' size."""
        options: dict[str, Any] = _library(self.name).sized(self.name, self.crop)
        return options

    def skeleton(self, **options: Any) -> "torch.nn.Module":
        """Return the network in eval mode without storage for its parameters where its constructor allows that.

        `options` are its constructor's, such as ``num_classes``.
        """
        net: torch.nn.Module = _library(self.name).skeleton(self.name, **self.sized, **options)
        return net

    def traced(self) -> "TracedNetwork":
        """Return the traced network, for images of this size; it must not be changed."""
        return _traced(self.name, self.crop)

    def cut(self, taps: Iterable[Layer], network: "torch.nn.Module | None" = None) -> "GraphModule":
        """Return a network up to these layers: from images to ``{node: tensor}``.

        By default of the traced network, so that it must not be changed.
        """
        traced = self.traced() if network is None else _trace(self.name, network, self.crop)
        return traced.cut(tap.node for tap in taps)

    def construct(self, seed: int) -> "torch.nn.Module":
        """Return the network in eval mode with seeded parameters; torch's global generator is left as it was."""
        import torch

        from .torch_runtime import global_generator

        with global_generator():
            torch.manual_seed(seed)
            net: torch.nn.Module = _library(self.name).construct(self.name, **self.sized)
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
            entries={"IMAGENET1K_V1": entry_of("alexnet-owt-7be5be79.pth", 233.087, 0.714, Transform())},
            batch=16,
        ),
        _classic(
            "vgg16",
            pool5=25088,
            conv=512,
            fc6="classifier.1",
            fc7="classifier.4",
            entries={
                "IMAGENET1K_V1": entry_of("vgg16-397923af.pth", 527.796, 15.47, Transform()),
                "IMAGENET1K_FEATURES": entry_of(
                    "vgg16_features-amdegroot-88682ab5.pth",
                    527.802,
                    15.47,
                    Transform(mean=(0.48235, 0.45882, 0.40784), std=(1 / 255,) * 3),
                ),
            },
            batch=8,
        ),
        Architecture(
            "squeezenet1_1",
            {**pooled("features", 512), "logits": Layer("flatten", 1000)},
            "gap",
            {"IMAGENET1K_V1": entry_of("squeezenet1_1-b8a52dc0.pth", 4.729, 0.349, Transform())},
        ),
    )
}


def architecture(name: str) -> Architecture:
    """Return a network by torchvision's name or timm's; imports its library only if it has no row."""
    return KNOWN[name] if name in KNOWN else _untabled(name)


def names() -> list[str]:
    """Return torchvision's names: the known ones, then the others. Imports torchvision."""
    return list(dict.fromkeys([*KNOWN, *_library("").names()]))


def listed(name: str) -> tuple[Mapping[str, Entry], list[str]]:
    """Return the published weights, the default ones first, and the named layers, without tracing the network."""
    if name in KNOWN:
        return KNOWN[name].entries, list(KNOWN[name].layers)
    return _library(name).entries(name), ["penultimate", "logits"]


def entry_names() -> list[str]:
    """Return the names that torchvision gives to weights. Imports torchvision."""
    return [*dict.fromkeys(entry for name in names() for entry in listed(name)[0]), DEFAULT]


def _library(name: str) -> Any:
    """Return the module of a network's library; both have the same functions, but for the names of all networks."""
    library = "timm" if name.startswith("timm:") else "torchvision"
    return import_module(f".{library}_models", __package__)


@cache
def _untabled(name: str) -> Architecture:
    (first, default), *others = _library(name).entries(name).items()
    traced = _traced(name, default.transform.crop)
    layers = traced.ends()
    entries = {first: default._replace(gmacs=default.gmacs or traced.gmacs), **dict(others)}
    return Architecture(name, layers, "penultimate" if "penultimate" in layers else "", entries)


@cache
def _traced(name: str, crop: int) -> "TracedNetwork":
    library = _library(name)
    return _trace(name, library.skeleton(name, **library.sized(name, crop)), crop)


def _trace(name: str, network: "torch.nn.Module", crop: int) -> "TracedNetwork":
    from .graph import TracedNetwork

    return TracedNetwork(network, crop, **_library(name).tracing(), has_classes=True)
