"""The last feature map of a network, and the layout of its axes: what is pooled, and over which axes."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.fx import GraphModule, Node

Shapes = Mapping[Node, tuple[int, ...]]

# What reads and returns channels, height and width, in this order, by definition: layers, and functions by their names.
_CHANNELS_FIRST = (
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.BatchNorm2d,
    nn.GroupNorm,
    nn.InstanceNorm2d,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Upsample,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
)
_CHANNELS_FIRST_FUNCTIONS = {
    "conv2d",
    "conv_transpose2d",
    "batch_norm",
    "group_norm",
    "instance_norm",
    "max_pool2d",
    "avg_pool2d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "interpolate",
    "pixel_shuffle",
}

# What brings maps of any size to one that linear layers need.
_FITTING = {"AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"}

# What puts the axes in another order.
_MOVING = {"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"}

# What may return a tensor of the shape that it was given with its axes mixed.
_MIXING = _MOVING | {"view", "reshape", "matmul", "bmm", "einsum", "rot90", "getattr"}


class FeatureMap(NamedTuple):
    """A node with a height and a width, the layout of its axes, such as NHWC, and the number of its channels."""

    node: Node
    layout: str
    channels: int


def last_feature_map(network: GraphModule, returned: Node | None, shapes: Shapes) -> FeatureMap:
    """Return the last map of a network that leads to what it returns.

    Raises
    ------
    LookupError
        There is none, tokens come after it, or the order of its axes is not certain; the message says which.
    """
    layouts = _layouts(network, shapes)
    for node in reversed(_path(network, returned)):
        shape = shapes.get(node, ())
        if math.prod(shape[1:]) == max((1, *shape[1:])) or _flattens_a_map(network, node, layouts):
            continue  # it is no tensor, or a vector, or is about to become one
        if _name(network, node) in _FITTING:
            continue  # at the size that a network is made for it changes nothing
        layout = layouts.get(node)
        if layout is None:
            what = (
                f"tokens of {shape[1:]}" if len(shape) == 3 else f"a tensor of {shape[1:]} with axes in unknown order"
            )
            raise LookupError(f"before it returns vectors it has {what}, not a map with a height and a width")
        if min(shape[layout.index("H")], shape[layout.index("W")]) > 1:
            return FeatureMap(node, layout, shape[layout.index("C")])
    raise LookupError("it has no layer with a height and a width")


def _path(network: GraphModule, returned: Node | None) -> list[Node]:
    """Return the nodes between the images and what the network returns, in the order of the forward pass."""
    nodes = list(network.graph.nodes)
    needed = {returned or nodes[-1]}
    for node in reversed(nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    reached = {node for node in nodes if node.op == "placeholder"}
    for node in nodes:
        if reached.intersection(node.all_input_nodes):
            reached.add(node)
    return [node for node in nodes if node in needed & reached and node.op not in ("placeholder", "output")]


def _layouts(network: GraphModule, shapes: Shapes) -> dict[Node, str]:
    """Return the layouts of nodes with four axes, where what makes a node or what reads it makes it certain."""
    layouts: dict[Node, str] = {}
    for node in network.graph.nodes:
        if len(shapes.get(node, ())) == 4:
            known = {_written(network, node, shapes, layouts), *(_read(network, reader) for reader in node.users)}
            if len(known - {""}) == 1:
                layouts[node] = max(known)
    return layouts


def _read(network: GraphModule, reader: Node) -> str:
    """Return the layout of what a node reads if it reads one layout only, else nothing."""
    if _is_channels_first(network, reader):
        return "NCHW"
    if _name(network, reader) in ("mean", "sum", "amax", "amin"):
        axes = reader.args[1] if len(reader.args) > 1 else reader.kwargs.get("dim")
        places = {axis % 4 for axis in axes if isinstance(axis, int)} if isinstance(axes, tuple | list) else set()
        return "NCHW" if places == {2, 3} else "NHWC" if places == {1, 2} else ""
    return ""


def _written(network: GraphModule, node: Node, shapes: Shapes, layouts: Mapping[Node, str]) -> str:
    """Return the layout that a node writes, by what it does and the layouts that it reads; nothing if it is unknown."""
    if node.op == "placeholder" or _is_channels_first(network, node):
        return "NCHW"
    name, read = _name(network, node), [layouts[one] for one in node.all_input_nodes if one in layouts]
    if not read:
        return ""
    if name in _MOVING and node.all_input_nodes == [node.args[0] if node.args else node.kwargs["input"]]:
        places = torch.empty(0, 1, 2, 3, device="meta")  # torch itself moves the axes; the size of each is its place
        moved = getattr(places, name)(
            *node.args[1:], **{key: node.kwargs[key] for key in node.kwargs if key != "input"}
        )
        return "".join(read[0][place] for place in moved.shape)
    if name in ("Linear", "linear"):
        return read[0] if read[0].endswith("C") else ""
    if name in ("cat", "concat"):
        return read[0] if set(read) == {read[0]} and len(read) == len(node.all_input_nodes) else ""
    same = {layouts[one] for one in node.all_input_nodes if one in layouts and shapes[one] == shapes[node]}
    return same.pop() if len(same) == 1 and name not in _MIXING and _is_of_torch(network, node) else ""


def _is_channels_first(network: GraphModule, node: Node) -> bool:
    if node.op == "call_module":
        return isinstance(network.get_submodule(str(node.target)), _CHANNELS_FIRST)
    return (
        node.op == "call_function" and _is_of_torch(network, node) and _name(network, node) in _CHANNELS_FIRST_FUNCTIONS
    )


def _name(network: GraphModule, node: Node) -> str:
    """Return the name of the layer's class, the function or the method."""
    owner = type(network.get_submodule(str(node.target))) if node.op == "call_module" else node.target
    return str(getattr(owner, "__name__", owner))


def _is_of_torch(network: GraphModule, node: Node) -> bool:
    """Return whether torch or torchvision say what a node does."""
    owner = type(network.get_submodule(str(node.target))) if node.op == "call_module" else node.target
    module = getattr(owner, "__module__", None) or "torch"
    return node.op == "call_method" or module.split(".")[0] in ("torch", "torchvision", "_operator")


def _flattens_a_map(network: GraphModule, node: Node, layouts: Mapping[Node, str]) -> bool:
    """Return whether a node only puts height and width on one axis, as a mean over both may need it."""
    source = node.all_input_nodes[0] if node.all_input_nodes else None
    return (
        _name(network, node) == "flatten"
        and node.args[1:] == (2,)
        and source is not None
        and layouts.get(source) == "NCHW"
    )
