"""Packed networks: on a processor, each convolution or linear layer is one call, its ReLU included.

oneDNN has its own order of parameters. torch reorders them in each forward pass, and writes each result before ReLU
reads it again. Here parameters are reordered once and ReLU is part of the call. Why not torch's compiler, which does
the same when it freezes a network: it needs a C++ compiler. Batch normalisation becomes part of the convolution before
it. Sums have other last digits than in the plain network.
"""

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .tracing import has_hooks, run_and_record

# By how much of a result's length packed layers may differ from plain ones. Wrong layers are off by half of it or more.
# Rounding was up to 4e-4 in float32 and up to 0.2 in bfloat16, where plain networks round before batch norm as well: in
# seeded networks of 11 to 152 layers, which enlarge what is rounded more than trained ones do.
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.4}

_OPERATORS = ("_convolution_pointwise", "_reorder_convolution_weight", "_linear_pointwise", "_reorder_linear_weight")


class _Convolution(torch.nn.Module):
    def __init__(self, plain: torch.nn.Conv2d, shape: torch.Size, after: str) -> None:
        super().__init__()
        geometry = (list(plain.padding), list(plain.stride), list(plain.dilation), plain.groups)
        self.arguments: tuple[Any, ...] = (*geometry, after, [], "")
        self.bias = plain.bias
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(plain.weight, *geometry, list(shape))

    def forward(self, input: torch.Tensor) -> Any:  # noqa: A002 - a layer may be called with its argument's name
        return torch.ops.mkldnn._convolution_pointwise(input, self.weight, self.bias, *self.arguments)


class _Linear(torch.nn.Module):
    def __init__(self, plain: torch.nn.Linear, shape: torch.Size, after: str) -> None:
        super().__init__()
        self.bias, self.after = plain.bias, after
        self.weight = torch.ops.mkldnn._reorder_linear_weight(plain.weight, shape[0])

    def forward(self, input: torch.Tensor) -> Any:  # noqa: A002 - a layer may be called with its argument's name
        return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, self.after, [], "")


def is_available() -> bool:
    """Return whether this build of torch has the operators."""
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)


def pack(network: GraphModule, images: torch.Tensor, batch: int) -> bool:
    """Replace layers of a network by packed ones, in place; return whether it computes the same.

    Parameters
    ----------
    network
        On the processor, in eval mode, in the dtype that it computes in.
    images
        One random image, on which it is run before and after.
    batch
        Images in a batch; others are computed as well, but slower.
    """
    with torch.inference_mode():
        expected, shapes = run_and_record(network, images)
        _replace(network, {node: torch.Size((shape[0] * batch, *shape[1:])) for node, shape in shapes.items() if shape})
        found = network(images)
    return all(_is_close(found[name], expected[name]) for name in expected)


def _is_close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Return whether two results differ by rounding only; False if one is not a number."""
    exact, tolerance = expected.double(), TOLERANCES.get(expected.dtype, 0.0)
    return bool(torch.linalg.vector_norm(found - exact) <= tolerance * torch.linalg.vector_norm(exact))


def _replace(network: GraphModule, sizes: Mapping[Node, torch.Size]) -> None:
    """Replace the layers that can be packed, for results of these sizes."""
    layers = _ordinary(network)
    alone = _alone(network.graph, layers)
    for node in list(alone):
        plain: Any = layers[node]
        size = sizes.get(node.all_input_nodes[0]) if node.all_input_nodes else None
        if size is None or not _can_be_packed(plain, size):
            continue
        norm = _reader(alone, node, torch.nn.BatchNorm2d)
        if norm and isinstance(plain, torch.nn.Conv2d) and layers[norm].running_mean is not None:
            plain = _folded(plain, layers[norm])
            _skip(network, norm, node)
        relu = _reader(layers, node, torch.nn.ReLU, torch.relu, torch.nn.functional.relu)
        kind = _Convolution if isinstance(plain, torch.nn.Conv2d) else _Linear
        network.set_submodule(str(node.target), kind(plain, size, "relu" if relu else "none"))
        del layers[node], alone[node]  # the plain one takes as much memory
        if relu:
            _skip(network, relu, node)
    network.recompile()


def _ordinary(network: GraphModule) -> dict[Node, Any]:
    """Return the layers that compute what their class says and nothing else."""
    called = [node for node in network.graph.nodes if node.op == "call_module"]
    layers = {node: network.get_submodule(str(node.target)) for node in called}
    return {node: layer for node, layer in layers.items() if not has_hooks(layer) and "forward" not in vars(layer)}


def _alone(graph: Graph, layers: Mapping[Node, Any]) -> dict[Node, Any]:
    """Return the layers that are called once, and are not part of another one, nor read by anything else."""
    calls = Counter(map(id, layers.values()))
    called = {str(node.target) for node in graph.nodes if node.op == "call_module"}
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    return {
        node: layer
        for node, layer in layers.items()
        if calls[id(layer)] == 1
        and node.target not in read
        and not any(str(node.target).startswith(f"{other}.") for other in called)
    }


def _can_be_packed(layer: torch.nn.Module, size: torch.Size) -> bool:
    """Return whether a layer is of torch's class itself; subclasses (timm, parametrisations) compute more."""
    if type(layer) is torch.nn.Linear:
        return len(size) == 2
    return (
        type(layer) is torch.nn.Conv2d
        and len(size) == 4
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _reader(layers: Mapping[Node, Any], node: Node, kind: type[torch.nn.Module], *functions: Any) -> Node | None:
    """Return the only reader of a node if it is a layer of that kind or one of the functions."""
    readers = list(node.users)
    if len(readers) != 1:
        return None
    (reader,) = readers
    if reader.op == "call_module":
        return reader if type(layers.get(reader)) is kind else None
    return reader if reader.op == "call_function" and reader.target in functions else None


def _folded(plain: torch.nn.Conv2d, norm: Any) -> torch.nn.Conv2d:
    """Return a convolution and its batch normalisation as one convolution, multiplied in float32."""
    if plain.weight.dtype == torch.float32:
        folded: torch.nn.Conv2d = fuse_conv_bn_eval(plain, norm)
    else:
        folded = fuse_conv_bn_eval(copy.deepcopy(plain).float(), copy.deepcopy(norm).float()).to(plain.weight.dtype)
    return folded.to(memory_format=torch.channels_last)


def _skip(network: GraphModule, node: Node, instead: Node) -> None:
    """Let the readers of a node read another one."""
    node.replace_all_uses_with(instead)
    network.graph.erase_node(node)
