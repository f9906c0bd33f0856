"""Architectures: the layers and published weights of each network.

Known networks are table rows, from which fc7 names a recipe without importing torch: a run with nothing to compute
starts at once. Others are taken apart once, and the index of the cache remembers what was found.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...cache.recipe import Transform
from ...errors import UsageError
from ..weights.published import DEFAULT, Entry, entry_of
from .layers import Layer, pooled

if TYPE_CHECKING:
    import torch

    from ...cache.index import Index
    from .library_network import LibraryNetwork


# Convolutions and transformers are no slower in batches of 4 than of 16, because feature maps stay in a core's cache;
# and several cores can share few images (benchmarks/networks.py).
USUAL_BATCH = 4


@dataclass(frozen=True)
class Architecture:
    """A classification network of torchvision or timm."""

    name: str  # torchvision's, or `timm:` and timm's
    # Layers by their fc7 name; any other name is taken for a node of torchvision's feature extractor.
    layers: Mapping[str, Layer]
    default_layer: str  # the penultimate one; empty where the network does not end in a linear layer
    entries: Mapping[str, Entry]  # published weights by name, the default ones first
    # Images in one forward pass that are fastest on a core: more if fully connected layers read many parameters for
    # each batch, fewer if feature maps are large.
    batch: int = USUAL_BATCH
    size: int = 0  # side of its images, in pixels; zero is that of the default weights
    index: "Index | None" = field(default=None, repr=False, compare=False)  # remembers where layers were found

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
            return self.layers.get(name) or self._remembered(name)
        except LookupError as error:
            reason = f": {error}" if str(error) else ""
            raise UsageError(f"{self.name} has no layer {name!r}{reason}. Layers: {self.suggestions()}.") from error

    def _remembered(self, name: str) -> Layer:
        def find() -> dict[str, Any]:
            return asdict(self.opened().layer(name))

        return Layer(**_recalled(self.index, self.name, f"{self.name} at {self.crop}: {name}", find))

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

    def dimensions(self) -> dict[str, int]:
        """Return the lengths of the vectors of all layers with names; ``block:0..11`` stands for 12 layers.

        Nodes of torchvision's feature extractor are layers as well.
        """
        named = {name: layer.dim for name, layer in self.layers.items()}
        number, pools = self.opened().blocks
        if not number:
            return named
        blocks, usual = f"block:0..{number - 1}", next(iter(pools.values()))
        return named | {blocks: usual.dim} | {f"{blocks}:{pool}": layer.dim for pool, layer in pools.items()}

    def suggestions(self) -> str:
        """Return the named layers and the last nodes, for a message."""
        opened, named = self.opened(), ", ".join(self.dimensions())
        try:
            return f"{named}, or a node such as {', '.join(opened.traced.nodes[-3:])}"
        except LookupError:
            return named

    @property
    def source(self) -> str:
        """The default source of its weights: its library."""
        return _library_name(self.name)

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

    def opened(self) -> "LibraryNetwork":
        """Return the network taken apart, for images of this size; it must not be changed."""
        return _opened(self.name, self.crop)

    def cut(self, taps: Iterable[Layer], network: "torch.nn.Module | None" = None) -> "torch.nn.Module":
        """Return a network up to these layers: from images to ``{node: tensor}``.

        By default of a network that others use, too, so that it must not be changed.
        """
        opened = self.opened() if network is None else _open(self.name, network, self.crop)
        try:
            return opened.cut(tap.node for tap in taps)
        except LookupError as error:
            raise UsageError(
                f"{self.name} has no such layers in one pass: {error}. Take nodes in another run."
            ) from error

    def fitted(self, state: "Mapping[str, torch.Tensor]") -> "Mapping[str, torch.Tensor]":
        """Return parameters for images of this size, as its library resamples those for images of another one."""
        fitted: Mapping[str, torch.Tensor] = _library(self.name).fitted(self.name, self.sized, state)
        return fitted

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
            batch=8,
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


def architecture(name: str, index: "Index | None" = None) -> Architecture:
    """Return a network by torchvision's name or timm's.

    Its library is imported only if it has no row, and the index does not remember it.
    """
    if name in KNOWN:
        return replace(KNOWN[name], index=index)
    row = _recalled(index, name, name, lambda: _as_values(_untabled(name)))
    layers = {layer: Layer(**values) for layer, values in row["layers"].items()}
    entries = {entry: _entry(values) for entry, values in row["entries"].items()}
    batch = 8 if name.removeprefix("timm:").startswith("vgg") else USUAL_BATCH  # as vgg16
    return Architecture(name, layers, "penultimate" if "penultimate" in layers else "", entries, batch, index=index)


def names() -> list[str]:
    """Return torchvision's names: the known ones, then the others. Imports torchvision."""
    return list(dict.fromkeys([*KNOWN, *_library("").names()]))


def entries_of(name: str) -> Mapping[str, Entry]:
    """Return the published weights, the default ones first, without tracing the network."""
    entries: Mapping[str, Entry] = KNOWN[name].entries if name in KNOWN else _library(name).entries(name)
    return entries


def entry_names() -> list[str]:
    """Return the names that torchvision gives to weights. Imports torchvision."""
    return [*dict.fromkeys(entry for name in names() for entry in entries_of(name)), DEFAULT]


def _library(name: str) -> Any:
    """Return the module of a network's library; both have the same functions, but for the names of all networks."""
    return import_module(f".{_library_name(name)}_models", __package__)


def _library_name(name: str) -> str:
    return "timm" if name.startswith("timm:") else "torchvision"


@cache
def _untabled(name: str) -> Architecture:
    (first, default), *others = _library(name).entries(name).items()
    opened = _opened(name, default.transform.crop)
    entries = {first: default._replace(gmacs=default.gmacs or opened.gmacs), **dict(others)}
    return Architecture(name, opened.layers, "", entries)


def _as_values(row: Architecture) -> dict[str, Any]:
    entries = {name: entry._asdict() | {"transform": asdict(entry.transform)} for name, entry in row.entries.items()}
    return {"layers": {name: asdict(layer) for name, layer in row.layers.items()}, "entries": entries}


def _entry(values: dict[str, Any]) -> Entry:
    transform: dict[str, Any] = values["transform"]
    transform = {name: tuple(value) if isinstance(value, list) else value for name, value in transform.items()}
    return Entry(**values | {"transform": Transform(**transform)})


def _recalled(index: "Index | None", name: str, note: str, find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what is known about a network: what the index remembers of this version of its library, or finds now."""
    if index is None:
        return find()
    from importlib.metadata import PackageNotFoundError, version

    try:
        versions = " ".join(f"{package} {version(package)}" for package in (_library_name(name), "torch"))
    except PackageNotFoundError:  # then finding it says which extra it comes with
        return find()
    known: dict[str, Any] | None = index.note(f"{note}, fc7 {__version__} {versions}")
    if known is None:
        known = find()
        if _library(name).is_published(name):  # a program can register networks of its own
            index.remember_note(f"{note}, fc7 {__version__} {versions}", known)
    return known


@cache
def _opened(name: str, crop: int) -> "LibraryNetwork":
    library = _library(name)
    network = library.skeleton(name, **library.sized(name, crop)).requires_grad_(False)
    return _open(name, network, crop)  # without gradients: what counts operations would follow them


def _open(name: str, network: "torch.nn.Module", crop: int) -> "LibraryNetwork":
    from .library_network import LibraryNetwork

    return LibraryNetwork(network, crop, _library(name))
