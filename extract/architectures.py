"""Architectures: what each network is called inside. Known ones are table rows, all others of torchvision need none.

The rows let fc7 name a recipe without importing torch, so that a run with nothing to compute starts at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from ..cache.recipe import Transform
from ..errors import UsageError

if TYPE_CHECKING:
    import torch

# Layers that are pooled over height and width: mean, maximum, or both, each half of unit length.
POOLED = {"gap": "mean", "gmp": "max", "gap+gmp": "both"}
SMALLEST, LARGEST = 32, 4096  # sides of a network's input, in pixels
DOWNLOADS = "https://download.pytorch.org/models/"


@dataclass(frozen=True)
class Layer:
    """Where a vector is tapped: a node of torchvision's feature extractor, its length, and how it is pooled if so."""

    node: str
    dim: int
    pool: str = ""


@dataclass(frozen=True)
class Architecture:
    """One of torchvision's classification networks.

    Attributes
    ----------
    name
        torchvision's.
    layers
        Layers by their fc7 name; any other name is taken for a node of torchvision's feature extractor.
    default_layer
        The penultimate one; empty where the network does not end in a linear layer.
    file, megabytes
        Of torchvision's default weights.
    gmacs
        Billions of multiply-adds for one image: how much work a unit is.
    transform
        Of the default weights.
    batch
        Images in one forward pass that are fastest on a core: more where fully connected layers read many parameters
        for each batch, fewer where feature maps are large.
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
        """Return where a layer is tapped.

        Raises
        ------
        UsageError
            The network has no such layer or node.
        """
        if name in self.layers:
            return self.layers[name]
        if name in POOLED:
            return _pooled(*_last_map(self.name, self.transform.crop))[name]
        if name not in _nodes(self.name):
            raise UsageError(f"{self.name} has no layer {name!r}. Layers: {self.suggestions()}.")
        return Layer(name, _dim(self.name, name, self.transform.crop))

    def at(self, crop: int, resize: int | None = None) -> "Architecture":
        """Return the network for images of another size.

        Parameters
        ----------
        crop
            Side of the square crop, in pixels.
        resize
            Length of the shorter side before it; by default in the proportion of 256 to 224.

        Raises
        ------
        UsageError
            The crop is larger than what it is cut from, or one of the two makes no sense.
        """
        resize = round(crop * 256 / 224) if resize is None else resize
        if not SMALLEST <= crop <= resize <= LARGEST:
            raise UsageError(f"--image-size {crop}:{resize}: {SMALLEST} <= CROP <= RESIZE <= {LARGEST} is needed.")
        return replace(self, transform=replace(self.transform, crop=crop, resize=resize))

    def suggestions(self) -> str:
        """Return the named layers and the last nodes, for a message."""
        return f"{', '.join(self.layers)}, or a node such as {', '.join(_nodes(self.name)[-3:])}"

    def published(self, name: str = "") -> tuple[str, float]:
        """Return the URL and the size in MB of torchvision's weights, the default ones or those of that name."""
        if not name:
            return DOWNLOADS + self.file, self.megabytes
        enum = _enum(self.name)
        if name not in enum.__members__:
            raise UsageError(f"{self.name} has no weights {name!r} in torchvision: {', '.join(enum.__members__)}.")
        weights = enum[name]
        return weights.url, weights.meta["_file_size"]

    def skeleton(self) -> "torch.nn.Module":
        """Return the network in eval mode without storage for its parameters where its constructor allows that."""
        net: torch.nn.Module = _skeleton(self.name)
        return net

    def construct(self, seed: int) -> "torch.nn.Module":
        """Return the network in eval mode with seeded parameters; torch's global generator is left as it was."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net: torch.nn.Module = _construct(self.name)
        return net

    def initialise(self, seed: int) -> "dict[str, torch.Tensor]":
        """Return seeded parameters."""
        return self.construct(seed).state_dict()


def _pooled(node: str, channels: int) -> dict[str, Layer]:
    return {name: Layer(node, 2 * channels if pool == "both" else channels, pool) for name, pool in POOLED.items()}


def _classic(
    name: str, pool5: int, conv: int, fc6: str, fc7: str, file: str, megabytes: float, gmacs: float, batch: int
) -> Architecture:
    """Return AlexNet's or a VGG's row; fc6 and fc7 are tapped after ReLU."""
    layers = {
        "pool5": Layer("flatten", pool5),
        "fc6": Layer(fc6, 4096),
        "fc7": Layer(fc7, 4096),
        **_pooled("features", conv),
        "logits": Layer("classifier.6", 1000),
    }
    return Architecture(name, layers, "fc7", file, megabytes, gmacs, batch=batch)


KNOWN = {
    row.name: row
    for row in (
        _classic("alexnet", 9216, 256, "classifier.2", "classifier.5", "alexnet-owt-7be5be79.pth", 233.1, 0.714, 16),
        _classic("vgg16", 25088, 512, "classifier.1", "classifier.4", "vgg16-397923af.pth", 527.8, 15.47, 8),
        Architecture(
            "squeezenet1_1",
            {**_pooled("features", 512), "logits": Layer("flatten", 1000)},
            "gap",
            "squeezenet1_1-b8a52dc0.pth",
            4.7,
            0.349,
            batch=8,
        ),
    )
}


def architecture(name: str) -> Architecture:
    """Return a network by torchvision's name; imports torchvision only for one that has no row.

    Raises
    ------
    UsageError
        torchvision has no such classification network.
    """
    return KNOWN[name] if name in KNOWN else _from_torchvision(name)


def names() -> list[str]:
    """Return all names: the known ones, then torchvision's others. Imports torchvision."""
    import torchvision.models

    return [*KNOWN, *(name for name in torchvision.models.list_models(torchvision.models) if name not in KNOWN)]


def listed(name: str) -> tuple[str, float, list[str]]:
    """Return the default weights' URL and size in MB, and the named layers, without tracing the network."""
    if name in KNOWN:
        return *KNOWN[name].published(), list(KNOWN[name].layers)
    weights = _enum(name).DEFAULT
    return weights.url, weights.meta["_file_size"], ["penultimate", "logits"]


@cache
def _from_torchvision(name: str) -> Architecture:
    import torch

    if name not in names():
        raise UsageError(f"There is no backbone {name!r}. Known: {', '.join(KNOWN)}; all others: fc7 backbones --all")
    weights = _enum(name).DEFAULT
    preset = weights.transforms()
    transform = Transform(
        preset.resize_size[0], preset.crop_size[0], tuple(preset.mean), tuple(preset.std), preset.interpolation.value
    )
    linear = [path for path, module in _skeleton(name).named_modules() if isinstance(module, torch.nn.Linear)]
    nodes = _nodes(name)
    taps = {"logits": nodes[-1]}
    if linear and linear[-1] in nodes:
        taps = {"penultimate": nodes[nodes.index(linear[-1]) - 1]} | taps
    layers = {layer: Layer(node, _dim(name, node, transform.crop)) for layer, node in taps.items()}
    file = weights.url.removeprefix(DOWNLOADS)
    return Architecture(
        name,
        layers,
        "penultimate" if "penultimate" in layers else "",
        file,
        weights.meta["_file_size"],
        weights.meta["_ops"],
        transform,
    )


def _enum(name: str) -> Any:
    import torchvision.models

    return torchvision.models.get_model_weights(name)


# What torchvision sets when it is given weights; without it the pretrained parameters meet another input.
_CONSTRUCTED = {
    "googlenet": {"transform_input": True, "init_weights": False, "aux_logits": False},
    "inception_v3": {"transform_input": True, "init_weights": False, "aux_logits": False},
}


def _construct(name: str) -> Any:
    import torchvision.models

    return torchvision.models.get_model(name, weights=None, **_CONSTRUCTED.get(name, {})).eval()


def _skeleton(name: str) -> Any:
    import torch

    try:
        with torch.device("meta"):
            return _construct(name)
    except NotImplementedError:  # a constructor that computes with its parameters (RegNet)
        return _construct(name)


@cache
def _nodes(name: str) -> list[str]:
    from torchvision.models.feature_extraction import get_graph_node_names

    return list(get_graph_node_names(_skeleton(name), suppress_diff_warning=True)[1])


@cache
def _dim(name: str, node: str, crop: int) -> int:
    import torch
    from torchvision.models.feature_extraction import create_feature_extractor

    net = create_feature_extractor(_skeleton(name), [node], suppress_diff_warning=True).to("meta").eval()
    with torch.inference_mode():
        return int(net(torch.empty(1, 3, crop, crop, device="meta"))[node].numel())


@cache
def _last_map(name: str, crop: int) -> tuple[str, int]:
    """Return the last node that still has a height and a width, and its channels."""
    import torch
    from torchvision.models.feature_extraction import create_feature_extractor

    nodes = _nodes(name)
    net = create_feature_extractor(_skeleton(name), nodes, suppress_diff_warning=True).to("meta").eval()
    with torch.inference_mode():
        found = net(torch.empty(1, 3, crop, crop, device="meta"))
    maps = [node for node in nodes if found[node].dim() == 4 and min(found[node].shape[2:]) > 1]
    if not maps:
        raise UsageError(f"{name} has no layer with a height and a width to pool over; name one with --layer.")
    return maps[-1], int(found[maps[-1]].shape[1])
