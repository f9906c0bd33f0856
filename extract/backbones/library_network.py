"""A network of a library: its layers by the functions that the library has for them, and by torch.fx."""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ...cache.processes import once
from ...errors import UsageError
from ..text import first_line
from .graph import TracedNetwork
from .layers import BLOCK, FEATURES, LOGITS, MAP, PENULTIMATE, POOLED, TOKENS, Layer, TokenLayer, pooled, tokens
from .tracing import imagine

ENDS = {"penultimate": PENULTIMATE, "logits": LOGITS, "map": MAP}


class LibraryNetwork:
    """A network of torchvision or timm, taken apart.

    Parameters
    ----------
    network
        In eval mode; its parameters may be without storage.
    crop
        Side of its input, in pixels.
    library
        The module of its library, with the functions ``tracer``, ``parts``, ``run``, ``blocks``, ``channels`` and
        ``prefix``.
    """

    def __init__(self, network: torch.nn.Module, crop: int, library: Any) -> None:
        self.network, self.crop, self._library = network, crop, library
        self._parts: frozenset[str] = library.parts(network)

    @property
    def traced(self) -> TracedNetwork:
        """The graph of its forward pass; raises LookupError if torch.fx cannot follow it."""
        if isinstance(self._traced, UsageError):
            raise LookupError(str(self._traced)) from self._traced
        return self._traced

    @once
    def _traced(self) -> TracedNetwork | UsageError:
        try:
            return TracedNetwork(self.network, self.crop, self._library.tracer(), self._library.run, has_classes=True)
        except UsageError as error:
            return error

    @once
    def layers(self) -> dict[str, Layer]:
        """Return the layers that have names in fc7, without those of single blocks."""
        found = {}
        for name in [*ENDS, *POOLED, *TOKENS]:
            try:
                found[name] = self._named(name)
            except LookupError:
                continue
        return found

    @once
    def blocks(self) -> tuple[int, dict[str, Layer]]:
        """Return how many blocks have layers of tokens, and those of the first by how they are pooled."""
        found = {}
        for pool in TOKENS:
            try:
                found[pool] = self._named(f"block:0:{pool}")
            except LookupError:
                continue
        return (self._library.blocks(self.network) if found else 0), found

    @property
    def gmacs(self) -> float:
        """Billions of multiply-adds for one image."""
        with FlopCounterMode(display=False) as counter:
            try:
                self._imagine(self.network)
            except Exception:  # likewise
                self._require_size()
                raise
        return float(counter.get_total_flops()) / 2e9

    def layer(self, name: str) -> Layer:
        """Return where a layer is tapped; raises LookupError, which says why if the name is known."""
        if name in (*ENDS, *POOLED) or TokenLayer.read(name):
            return self._named(name)
        return self.traced.layer(name)

    def cut(self, nodes: Iterable[str]) -> torch.nn.Module:
        """Return the network up to these nodes: from images to ``{node: tensor}``; it has the network's parameters.

        As a graph, without what is not needed for them, where torch.fx can follow it.
        """
        wanted = list(dict.fromkeys(nodes))
        try:
            return self.traced.cut(wanted)
        except LookupError:
            if not all(node.startswith(":") for node in wanted):
                raise
        return _calling(self.network, self._library.run, wanted)

    def _named(self, name: str) -> Layer:
        layer = TokenLayer.read(name)
        if layer:
            return self._of_tokens(layer)
        if PENULTIMATE not in self._parts and name != "map":  # torchvision has no functions for them
            return self._by_graph(name)
        if name in POOLED:
            return self._pooled()[name]
        shape = self._shape(ENDS[name])
        if len(shape) < 2 or (name != "logits" and math.prod(shape[2:]) != 1):
            raise LookupError(f"its {name} is a tensor of {shape[1:]}")
        return Layer(ENDS[name], math.prod(shape[1:]))

    def _by_graph(self, name: str) -> Layer:
        if name in POOLED:
            try:
                return self.traced.layer(name)
            except LookupError as error:
                raise LookupError(f"{error}{self._instead()}") from error
        ends = self.traced.ends()
        if name not in ends:
            raise LookupError
        return ends[name]

    def _pooled(self) -> dict[str, Layer]:
        """Return the pooled layers of the library's own feature map."""
        shape = self._shape(FEATURES)
        if len(shape) != 4:
            raise LookupError(
                f"its features are tokens of {shape[1:]}, not a map with a height and a width{self._instead()}"
            )
        channels, layout = self._library.channels(self.network)
        layouts = {"NCHW": shape[1], "NHWC": shape[3]}
        fitting = [name for name in layouts if layouts[name] == channels and layout in ("", name)]
        if len(fitting) != 1:
            raise LookupError(
                f"which axis of its feature map of {shape[1:]} has its {channels} channels is not certain"
            )
        return pooled(FEATURES, shape[fitting[0].index("C")], fitting[0])

    def _instead(self) -> str:
        """Return what else there is on a network of tokens."""
        try:
            self._named("avg")
        except LookupError:
            return ""
        return "; --layer avg is the mean of the patches' tokens"

    def _of_tokens(self, layer: TokenLayer) -> Layer:
        node = FEATURES
        if layer.block is not None:
            node = f"{BLOCK}{self._number(layer.block)}"
        elif FEATURES not in self._parts:
            raise LookupError("it has no tokens")
        try:
            shape = self._shape(node)
        except LookupError as error:
            raise LookupError(f"its library gives no tokens of it: {error}") from error
        if len(shape) == 4 and layer.block is None and self._pooled()["gap"].layout == "NHWC":
            found = {"avg": self._pooled()["gap"]}  # tokens in rows and columns, as of Swin
        elif len(shape) != 3:
            raise LookupError(f"its features are a map of {shape[1:]}, not tokens; --layer gap is its mean")
        else:
            if layer.block is None and shape[2] != self._library.channels(self.network)[0]:
                raise LookupError(f"which axis of its tokens of {shape[1:]} has its channels is not certain")
            prefix, has_class = self._library.prefix(self.network, node)
            found = tokens(node, shape[2], prefix, has_class=has_class)
        pool = layer.pool or next(iter(found))
        if pool not in found:
            where = "" if layer.block is None else " of a block"
            raise LookupError(f"it has no class token{where}; there is {', '.join(found)}")
        return found[pool]

    def _number(self, block: int) -> int:
        """Return the number of a block from the start."""
        if BLOCK not in self._parts:
            raise LookupError("its library has no function for the tokens of a block")
        count: int = self._library.blocks(self.network)
        if not -count <= block < count:
            raise LookupError(f"its blocks are 0 to {count - 1}, or -{count} to -1")
        return block % count

    def _shape(self, node: str) -> tuple[int, ...]:
        """Return what a part of the network is for one image."""
        shape = self._shapes.get(node)
        if shape is None:
            shape = self._shapes[node] = self._imagined(node)
        if isinstance(shape, str):
            raise LookupError(shape)
        return shape

    @once
    def _shapes(self) -> dict[str, tuple[int, ...] | str]:
        return {}

    def _imagined(self, node: str) -> tuple[int, ...] | str:
        if node not in self._parts and not node.startswith(BLOCK):
            return "its library has no function for it"
        try:
            part = self._imagine(lambda images: self._library.run(self.network, images, [node]))[node]
        except Exception as error:  # an unknown network can raise anything
            self._require_size()
            return first_line(error).rstrip(".")
        return tuple(part.shape) if isinstance(part, torch.Tensor) else "it is several tensors"

    def _imagine(self, run: Callable[[torch.Tensor], Any]) -> Any:
        """Run on one image, for shapes: without numbers, or with them if the network asks for some."""
        try:
            return imagine(self.network, run, self.crop)
        except Exception:  # likewise
            if any(tensor.is_meta for tensor in self.network.state_dict().values()):
                raise
            with torch.inference_mode():
                return run(torch.zeros(1, 3, self.crop, self.crop))

    def _require_size(self) -> None:
        try:
            self._imagine(self.network)
        except Exception as error:  # likewise
            kind, size = type(self.network).__name__, f"{self.crop} x {self.crop}"
            raise UsageError(f"{kind} cannot take images of {size} pixels: {first_line(error)}") from error


def _calling(network: torch.nn.Module, run: Any, nodes: list[str]) -> torch.nn.Module:
    """Return a network with its parameters, under their names, whose forward pass calls the library's functions."""

    def forward(self: torch.nn.Module, images: torch.Tensor) -> Any:
        return run(self, images, nodes)

    kind = type(network)
    calling = copy.copy(network)
    calling.__class__ = type(kind.__name__, (kind,), {"forward": forward})
    return calling
