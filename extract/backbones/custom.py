"""A network of the user's own: tapped like a published one, known by its parameters and its structure."""

import copy
import hashlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.fx import GraphModule
from torch.utils.flop_counter import FlopCounterMode

from ...errors import UsageError
from .graph import TracedNetwork
from .layers import Layer
from .network import Tapped
from .weights import hash_tensors

OUTPUT = "output"  # the layer that is what the module returns


class CustomNetwork(NamedTuple):
    """A frozen copy of a module, ready to be a backbone.

    Attributes
    ----------
    tapped
        From images to the vectors of the layers.
    dims
        Their lengths.
    sha256
        Hex, over parameters, buffers and structure.
    gmacs
        Billions of multiply-adds for one image.
    """

    tapped: Tapped
    dims: tuple[int, ...]
    sha256: str
    gmacs: float


def custom_network(module: torch.nn.Module, layers: Sequence[str], crop: int) -> CustomNetwork:
    """Copy a module, freeze the copy and tap it."""
    frozen = copy.deepcopy(module).to("cpu", torch.float32).eval().requires_grad_(False)
    images = torch.randn(2, 3, crop, crop, generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            returned = frozen(images)
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(f"{type(module).__name__} cannot take images of {crop} x {crop} pixels: {reason}") from error
    tapped = _tap(frozen, layers, images, returned)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        vectors = tapped(images)
    dims = tuple(math.prod(vector.shape[1:]) for vector in vectors)
    structure = f"{tapped.cut.code}\n{tapped.cut}" if isinstance(tapped.cut, GraphModule) else repr(tapped.cut)
    digest = hashlib.sha256(f"{structure}\n{hash_tensors(tapped.cut.state_dict())}".encode())
    return CustomNetwork(tapped, dims, digest.hexdigest(), counter.get_total_flops() / 2e9 / len(images))


def _tap(frozen: torch.nn.Module, layers: Sequence[str], images: torch.Tensor, returned: Any) -> Tapped:
    """Return the module cut by torch.fx; the layer ``output`` needs no torch.fx."""
    traced = TracedNetwork(frozen, images.shape[-1])
    if list(layers) != [OUTPUT]:
        taps = [_layer(traced, name) for name in layers]
        return Tapped(traced.cut(tap.node for tap in taps), taps)
    if not isinstance(returned, torch.Tensor) or returned.dim() < 2 or len(returned) != len(images):
        raise UsageError(f"{type(frozen).__name__} returns a {type(returned).__name__}; one row per image is needed.")
    try:
        end = Layer(traced.nodes[-1], 0)
        tapped = Tapped(traced.cut([end.node]), [end])
        with torch.inference_mode():
            same = torch.equal(tapped.cut(images)[end.node], returned)
    except UsageError:
        same = False
    return tapped if same else Tapped(_Untraced(frozen), [Layer(OUTPUT, 0)])


def _layer(traced: TracedNetwork, name: str) -> Layer:
    layer = traced.ends().get("logits") if name == OUTPUT else traced.layer(name)
    if layer is None:
        raise UsageError(
            f"{type(traced.network).__name__} has no layer {name!r}. Layers: {OUTPUT}, gap, gmp, gap+gmp, or a node: "
            f"{', '.join(traced.nodes[-5:])}."
        )
    return layer


class _Untraced(torch.nn.Module):
    """A module that torch.fx cannot follow, with the interface of one that it has cut."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {OUTPUT: self.module(images)}
