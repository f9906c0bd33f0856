"""The torch side of a backbone: a network cut after its last tapped layer, fed with pixels."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.fx import GraphModule
from torchvision.models import VisionTransformer

from ...cache.recipe import FunctionTransform, Transform
from ...errors import UsageError, WeightsError
from ..weights.files import Weights
from .architectures import Architecture
from .layers import Layer
from .state_dicts import adapt
from .torch_runtime import global_generator
from .tracing import imagine, objection


class Tapped(torch.nn.Module):
    """A network that returns the vectors of its tapped layers.

    Parameters
    ----------
    cut
        From images to ``{node: tensor}``; it computes nothing beyond those nodes. It is changed.
    taps
        Of which nodes, and how they are pooled.
    """

    def __init__(self, cut: torch.nn.Module, taps: Sequence[Layer]) -> None:
        super().__init__()
        self.cut, self.taps = cut, tuple(taps)
        if isinstance(cut, GraphModule):
            _keep_tapped(cut)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return ``(B, dim)`` for each tapped layer, from normalised ``(B, 3, H, W)``."""
        outputs = self.cut(images)
        return [pool(outputs[tap.node], tap) for tap in self.taps]


def _keep_tapped(cut: GraphModule) -> None:
    """Let no later layer overwrite what a tapped one has returned, as ReLU in place does."""
    for module in cut.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    output = next(iter(reversed(cut.graph.nodes)))
    for node in {*output.all_input_nodes}:
        if len(node.users) > 1:  # functions and methods may work in place as well
            with cut.graph.inserting_after(node):
                output.replace_input_with(node, cut.graph.call_method("clone", (node,)))
    cut.recompile()


def load(net: Architecture, layers: Sequence[str], weights: Weights, sha256: str) -> Tapped:
    """Return a published network with its weights, cut after the last of the layers.

    Parameters
    ----------
    net, layers
        What to cut, and where.
    weights, sha256
        Where the parameters come from, and the bytes they must have.
    """
    taps = [net.layer(name) for name in layers]
    _require_size(net, layers, taps)
    network = net.skeleton()
    state = _state(net, network, weights, sha256)
    cut = net.cut(taps, network)
    needed = _parameters(cut)
    absent = sorted(needed - state.keys())
    if absent:
        served = [name for name, layer in net.layers.items() if _parameters(net.cut([layer])) <= state.keys()]
        raise WeightsError(
            f"The weights {weights.source} lack {len(absent)} tensors that {net.name} {', '.join(layers)} needs, "
            f"the first is {absent[0]}. "
            + (f"They reach --layer {' or '.join(served)}." if served else f"They serve no layer of {net.name}.")
        )
    _require_positions(f"{net.name} {', '.join(layers)}", net, network, weights, state)
    with _fitting(weights, net):
        cut.load_state_dict({name: state[name] for name in needed}, strict=False, assign=True)
    return Tapped(cut, taps)


def _state(net: Architecture, network: torch.nn.Module, weights: Weights, sha256: str) -> Mapping[str, torch.Tensor]:
    """Return the parameters under the network's names, for images of its size."""
    state = adapt(network, weights.state_dict(sha256))
    with _fitting(weights, net):
        return net.fitted(state)


@contextlib.contextmanager
def _fitting(weights: Weights, net: Architecture) -> Iterator[None]:
    """Raise a WeightsError if torch finds other shapes than the network has."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise WeightsError(f"The weights {weights.source} do not fit {net.name}: {reason}") from error


def _parameters(cut: torch.nn.Module) -> set[str]:
    """Return the names of the parameters that weights must have: all but the constants found while tracing."""
    return {name for name in cut.state_dict() if not name.startswith("_tensor_constant")}


class Normalised(torch.nn.Module):
    """A network that takes pixels: ``(B, H, W, 3)`` uint8 RGB, normalised on the device as the transform says.

    What a function of the user's own has made, float32, is normalised already.

    Parameters
    ----------
    dtype
        Of the network's parameters and arithmetic; the pixels are normalised in float32. Parameters are cast here,
        once: autocast would do it again in each forward pass.
    """

    def __init__(self, network: torch.nn.Module, transform: Transform, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.network = network.to(dtype)
        self.dtype, self.crop = dtype, transform.crop
        self.own = isinstance(transform, FunctionTransform)
        mean, std = torch.tensor(transform.mean), torch.tensor(transform.std)
        # Why a row of pixels, and not three numbers: processors are fast with elements that lie side by side.
        self.register_buffer("scale", (1 / (255 * std)).repeat(self.crop), persistent=False)
        self.register_buffer("shift", (-mean / std).repeat(self.crop), persistent=False)

    scale: torch.Tensor
    shift: torch.Tensor

    def pack(self, batch: int) -> bool:
        """Make it fast on a processor, for this batch size, where that is possible; return whether it is the same."""
        from .onednn import is_available, pack

        if not (isinstance(self.network, Tapped) and isinstance(self.network.cut, GraphModule) and is_available()):
            return True
        picture = _picture(self.crop)
        pixels = (picture - 0.5) / 0.25 if self.own else (255 * picture).round().byte()
        return pack(self.network.cut, self._images(pixels), batch)

    def forward(self, pixels: torch.Tensor) -> Any:
        """Return what the network returns."""
        return self.network(self._images(pixels))

    def _images(self, pixels: torch.Tensor) -> torch.Tensor:
        rows = pixels.flatten(2)
        if not self.own:
            rows = rows.float().mul_(self.scale).add_(self.shift)
        images = rows.view(pixels.shape).permute(0, 3, 1, 2)  # NHWC seen as NCHW is channels_last: no copy
        return images.to(self.dtype)


def _picture(crop: int) -> torch.Tensor:
    """Return a random picture, ``(1, crop, crop, 3)`` in 0 to 1, with structures of all sizes as photographs have.

    White noise is so unlike photographs that deep networks may make anything of its last digits.
    """
    noise = torch.Generator().manual_seed(0)
    layers = [torch.rand(1, 3, size, size, generator=noise) for size in (2, 4, 8, 16, 64)]
    enlarged = [torch.nn.functional.interpolate(layer, size=(crop, crop), mode="bilinear") for layer in layers]
    return torch.stack(enlarged).mean(0).permute(0, 2, 3, 1).contiguous()


def with_classes(
    net: Architecture, classes: int, weights: Weights, sha256: str, seed: int
) -> tuple[torch.nn.Module, str, frozenset[str]]:
    """Return the whole network with a new last layer, ready to be trained.

    Parameters
    ----------
    classes
        Outputs of the last layer.
    weights, sha256
        Pretrained parameters; what they lack is initialised from the seed, as the last layer always is.

    Returns
    -------
    module, last, new
        The network in eval mode, the name of its last layer, and the names of all parameters without pretrained values.
    """
    module = net.construct(seed)
    last, old = last_layer(module)
    parent = module.get_submodule(last.rpartition(".")[0])
    with global_generator():
        torch.manual_seed(seed)
        setattr(parent, last.rpartition(".")[2], _like(old, classes))
    state = _state(net, module, weights, sha256)
    names = module.state_dict().keys()
    present = {name: value for name, value in state.items() if name in names and not name.startswith(f"{last}.")}
    if not present:
        raise WeightsError(f"The weights {weights.source} have none of the {len(names)} tensors of {net.name}.")
    _require_positions(net.name, net, module, weights, state)
    with _fitting(weights, net):
        restore(module, present)
    new = {name for name, _ in module.named_parameters()} - present.keys()
    return module.eval(), last, frozenset(new)


def restore(module: torch.nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Write tensors into the parameters and buffers of these names, without the rules of any class for loading.

    Raises RuntimeError for another shape.
    """
    state = module.state_dict()
    for name, value in values.items():
        if state[name].shape != value.shape:
            raise RuntimeError(f"{name} is {tuple(value.shape)}, needed is {tuple(state[name].shape)}")
        state[name].copy_(value)


def last_layer(module: torch.nn.Module) -> tuple[str, torch.nn.Linear | torch.nn.Conv2d]:
    """Return the name of a network's last layer, and the layer."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    return [(name, layer) for name, layer in module.named_modules() if isinstance(layer, kinds)][-1]


def pool(outputs: torch.Tensor, tap: Layer) -> torch.Tensor:
    """Return ``(B, dim)`` of what a tapped node returns."""
    if not tap.pool:
        return outputs.flatten(1)
    over = tuple(place for place, axis in enumerate(tap.layout) if axis in "HWL")
    places = outputs[:, tap.prefix :] if tap.prefix else outputs
    if tap.pool == "mean":
        return places.mean(dim=over)
    if tap.pool == "max":
        return places.amax(dim=over)
    if tap.pool == "first":
        return outputs[:, 0]
    if tap.pool == "first+mean":
        return torch.cat([outputs[:, 0], places.mean(dim=over)], dim=1)
    halves = (places.float().mean(dim=over), places.float().amax(dim=over))
    return torch.cat([torch.nn.functional.normalize(half) for half in halves], dim=1)


def _like(layer: torch.nn.Linear | torch.nn.Conv2d, outputs: int) -> torch.nn.Module:
    if isinstance(layer, torch.nn.Linear):
        return torch.nn.Linear(layer.in_features, outputs)
    return torch.nn.Conv2d(layer.in_channels, outputs, kernel_size=1)


def _require_size(net: Architecture, layers: Sequence[str], taps: Sequence[Layer]) -> None:
    """Try a size that no published weights are for without computing anything."""
    if net.crop in {entry.transform.crop for entry in net.entries.values()}:
        return
    try:
        cut = net.cut(taps)
        imagine(cut, cut, net.crop)
    except Exception as error:  # an unknown network can raise anything
        layer, reason = ", ".join(layers), objection(net.skeleton(), net.crop, error)
        raise UsageError(f"{net.name} {layer} cannot take --image-size {net.crop}: {reason}") from error


def _require_positions(
    name: str, net: Architecture, network: torch.nn.Module, weights: Weights, state: Mapping[str, torch.Tensor]
) -> None:
    """Refuse position embeddings for images of another size."""
    positions = state.get("encoder.pos_embedding")
    if not isinstance(network, VisionTransformer) or positions is None or positions.dim() != 3:
        return
    side = math.isqrt(positions.shape[1] - 1) * network.patch_size
    if side != net.crop:
        fitting = [entry for entry, published in net.entries.items() if published.transform.crop == side]
        raise UsageError(
            f"{name} cannot take --image-size {net.crop}: the position embeddings of the weights {weights.source} are "
            f"for {side} pixels. Take {' or '.join([f'--image-size {side}', *map('--transform {}'.format, fitting)])}."
        )
