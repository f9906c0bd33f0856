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

from .tracing import Recorder, has_hooks

# By how much, of a result's length, packed layers may differ from plain ones.
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.1}

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


def packed(network: GraphModule, images: torch.Tensor, batch: int) -> GraphModule | None:
    """Return a network whose convolutions and linear layers are packed, or None if it computes something else.

    Parameters
    ----------
    network
        On the processor, in eval mode, in the dtype that it computes in. It is not changed.
    images
        One random image, which both compute.
    batch
        Images in a batch; others are computed as well, but slower.
    """
    with torch.inference_mode():
        recorder = Recorder(network)
        expected = recorder.run(images)
        fast = _pack(
            network, {node: (shape[0] * batch, *shape[1:]) for node, shape in recorder.shapes.items() if shape}
        )
        found = fast(images)
    return fast if all(_is_close(found[name], expected[name]) for name in expected) else None


def _is_close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Return whether two results differ by rounding only; False if one is not a number."""
    difference = torch.linalg.vector_norm((found - expected).double())
    tolerance = TOLERANCES.get(expected.dtype, 0.0)
    return bool(difference <= tolerance * torch.linalg.vector_norm(expected.double()))


def _pack(network: GraphModule, shapes: Mapping[Node, tuple[int, ...]]) -> GraphModule:
    """Return the network with packed layers, for results of these shapes."""
    graph, copies = Graph(), dict[Node, Node]()
    graph.output(graph.graph_copy(network.graph, copies))
    sizes = {copies[node]: torch.Size(shape) for node, shape in shapes.items() if node in copies}
    fast = GraphModule(network, graph)
    layers = {node: fast.get_submodule(str(node.target)) for node in graph.nodes if node.op == "call_module"}
    calls = Counter(map(id, layers.values()))
    alone = {node: layer for node, layer in layers.items() if calls[id(layer)] == 1 and _is_ordinary(layer)}
    for node, layer in alone.items():
        size = sizes.get(node.all_input_nodes[0]) if node.all_input_nodes else None
        if size is None or not _can_be_packed(layer, size):
            continue
        plain: Any = layer
        norm = _reader(alone, node, torch.nn.BatchNorm2d)
        if norm and isinstance(plain, torch.nn.Conv2d) and alone[norm].running_mean is not None:
            plain = _folded(plain, alone[norm])
            _skip(graph, norm, node)
        relu = _reader(alone, node, torch.nn.ReLU, torch.relu, torch.nn.functional.relu)
        kind = _Convolution if isinstance(plain, torch.nn.Conv2d) else _Linear
        fast.set_submodule(str(node.target), kind(plain, size, "relu" if relu else "none"))
        if relu:
            _skip(graph, relu, node)
    fast.recompile()
    return fast


def _is_ordinary(layer: torch.nn.Module) -> bool:
    """Return whether a layer computes what its class says and nothing else."""
    return not has_hooks(layer) and "forward" not in vars(layer)


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


def _reader(
    layers: Mapping[Node, torch.nn.Module], node: Node, kind: type[torch.nn.Module], *functions: Any
) -> Node | None:
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


def _skip(graph: Graph, node: Node, instead: Node) -> None:
    """Let the readers of a node read another one."""
    node.replace_all_uses_with(instead)
    graph.erase_node(node)
