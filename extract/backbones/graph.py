"""A network's nodes, the shapes that they return, and cuts at them; nothing is computed."""

import copy
import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch.fx import GraphModule
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from ...errors import UsageError
from .layers import POOLED, Layer, pooled


class TracedNetwork:
    """A network taken apart by torchvision's feature extractor.

    Parameters
    ----------
    network
        In eval mode; its parameters may be without storage.
    crop
        Side of its input, in pixels.
    tracer
        Options of torch.fx's tracer.
    """

    def __init__(self, network: torch.nn.Module, crop: int, tracer: Mapping[str, Any] | None = None) -> None:
        self.network, self.crop = network, crop
        self._options = {"tracer_kwargs": dict(tracer or {}), "suppress_diff_warning": True}

    @cached_property
    def nodes(self) -> list[str]:
        """Names of all nodes, in the order of the forward pass.

        Raises
        ------
        UsageError
            torch.fx cannot follow it.
        """
        try:
            return list(get_graph_node_names(self.network, **self._options)[1])
        except Exception as error:  # an unknown forward pass can raise anything when it is traced
            raise UsageError(
                f"torch.fx cannot follow the forward pass of {type(self.network).__name__} "
                f"({str(error).strip().splitlines()[0][:200]}): no layer of it can be named, only what it returns."
            ) from error

    def cut(self, nodes: Iterable[str]) -> GraphModule:
        """Return the network in eval mode up to these nodes: from images to ``{node: tensor}``."""
        graph: GraphModule = create_feature_extractor(self.network, list(dict.fromkeys(nodes)), **self._options)
        return graph.eval()

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What each node that is a tensor returns for one image."""
        outputs = _on_meta(self.cut(self.nodes), self.crop)
        return {node: tuple(value.shape) for node, value in outputs.items() if isinstance(value, torch.Tensor)}

    @property
    def gmacs(self) -> float:
        """Billions of multiply-adds for one image."""
        with FlopCounterMode(display=False) as counter:
            _on_meta(self.cut(self.nodes[-1:]), self.crop)
        return float(counter.get_total_flops()) / 2e9

    def layer(self, name: str) -> Layer | None:
        """Return where a pooled layer, a node or a module (at its last node) is tapped, None where there is no such."""
        if name in POOLED:
            return pooled(*self._last_map())[name]
        inside = [shape for node, shape in self.shapes.items() if f"{node}.".startswith(f"{name}.")]
        return Layer(name, math.prod(inside[-1][1:])) if inside else None

    def ends(self) -> dict[str, Layer]:
        """Return the layers ``penultimate``, the input of the last linear layer where there is one, and ``logits``.

        A network that was made without classes has its embedding at its end.
        """
        ends = {"logits": self.nodes[-1]}
        before = self.nodes[-1] if getattr(self.network, "num_classes", None) == 0 else self._before_last_linear()
        if before:
            ends = {"penultimate": before} | ends
        return {name: Layer(node, math.prod(self.shapes[node][1:])) for name, node in ends.items()}

    def _before_last_linear(self) -> str:
        linear = [path for path, module in self.network.named_modules() if isinstance(module, torch.nn.Linear)]
        # A subclass of Linear is not one node but those of what it does.
        inside = [place for place, node in enumerate(self.nodes) if linear and f"{node}.".startswith(f"{linear[-1]}.")]
        return self.nodes[inside[0] - 1] if inside else ""

    def _last_map(self) -> tuple[str, int]:
        """Return the last node that still has a height and a width, and its channels."""
        computed = list(self.shapes.items())[1:]  # the first is the input
        maps = [node for node, shape in computed if len(shape) == 4 and min(shape[2:]) > 1]
        if not maps:
            name = type(self.network).__name__
            raise UsageError(f"{name} has no layer with a height and a width to pool over; name one with --layer.")
        return maps[-1], self.shapes[maps[-1]][1]


def _on_meta(network: torch.nn.Module, crop: int) -> Any:
    with torch.inference_mode():
        return copy.deepcopy(network).to("meta")(torch.empty(1, 3, crop, crop, device="meta"))
