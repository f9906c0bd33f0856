"""A network's nodes, the shapes that they return, and cuts at them; nothing is computed."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.fx import Node

from ...cache.processes import once
from ...errors import UsageError
from ..text import first_line
from .feature_map import FeatureMap, last_feature_map
from .layers import POOLED, Layer, pooled
from .tracing import Parts, Trace, imagine, objection, run_and_record


class TracedNetwork(Trace):
    """A network taken apart by torch.fx; its nodes have the names of torchvision's feature extractor.

    Parameters
    ----------
    network
        In eval mode; its parameters may be without storage.
    crop
        Side of its input, in pixels.
    tracer
        Options of torch.fx's tracer.
    parts
        How its library computes parts of it, see :class:`Trace`.
    has_classes
        Whether its last layer is one of classes: maps behind it are no features.

    Raises
    ------
    UsageError
        torch.fx cannot follow it.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        crop: int,
        tracer: Mapping[str, Any] | None = None,
        parts: Parts | None = None,
        *,
        has_classes: bool = False,
    ) -> None:
        try:
            super().__init__(network, tracer, parts)
        except Exception as error:  # an unknown forward pass can raise anything when it is traced
            raise UsageError(
                f"torch.fx cannot follow the forward pass of {type(network).__name__} "
                f"({first_line(error)}): no layer of it can be named, only what it returns."
            ) from error
        self.crop, self._has_classes = crop, has_classes

    @property
    def nodes(self) -> list[str]:
        """Names of all nodes, in the order of the forward pass."""
        return list(self.names)

    @once
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return what each node that is a tensor returns for one image.

        Raises UsageError if it cannot take images of this size.
        """
        return {name: self._shapes[node] for name, node in self.names.items() if node in self._shapes}

    def layer(self, name: str) -> Layer:
        """Return where a pooled layer, a node or a module (at its last node) is tapped.

        Raises LookupError, which says why if the name is known.
        """
        if name in POOLED:
            last = self._last_map()
            return pooled(self.name(last.node), last.channels, last.layout)[name]
        inside = [node for node in self.shapes if f"{node}.".startswith(f"{name}.")]
        if not inside:
            raise LookupError
        return Layer(inside[-1], math.prod(self.shapes[inside[-1]][1:]))

    def ends(self) -> dict[str, Layer]:
        """Return the layers ``penultimate``, what the last linear layer reads, and ``logits``, where they are.

        A network that was made without classes has its embedding at its end.
        """
        ends = {"penultimate": self.before_last_linear(), "logits": self.returned}
        layers = {}
        for name, node in ends.items():
            shape = self._shapes.get(node, ()) if node else ()
            if node and len(shape) > 1 and (name == "logits" or math.prod(shape[2:]) == 1):
                layers[name] = Layer(self.name(node), math.prod(shape[1:]))
        return layers

    @once
    def _shapes(self) -> dict[Node, tuple[int, ...]]:
        whole = self.whole()
        shapes: dict[Node, tuple[int, ...]] = self._imagine(lambda images: run_and_record(whole, images)[1])
        return shapes

    def _imagine(self, run: Callable[[torch.Tensor], Any]) -> Any:
        try:
            return imagine(self.network, run, self.crop)
        except Exception as error:  # likewise
            kind, size = type(self.network).__name__, f"{self.crop} x {self.crop}"
            reason = objection(self.network, self.crop, error)
            raise UsageError(f"{kind} cannot take images of {size} pixels: {reason}") from error

    def _last_map(self) -> FeatureMap:
        """Return the last map that leads to what the network returns."""
        end = self.before_last_layer() if self._has_classes else self.returned
        return last_feature_map(self.whole(), end, self._shapes)
