"""Packed networks: on a processor, each convolution or linear layer is one call, its ReLU or GELU included.

oneDNN has its own order of parameters. torch reorders them in each forward pass, and writes each result before the
activation reads it again. Here parameters are reordered once and the activation is part of the call. Why not torch's
compiler, which does the same when it freezes a network: it needs a C++ compiler. Batch normalisation becomes part of
the convolution before it, self-attention two linear layers and torch's fused product between them. Sums have other last
digits than in the plain network.
"""

import copy
import math
import operator
from collections import Counter
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Node
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .tracing import has_hooks, run_and_record

# By how much of a result's length packed layers may differ from plain ones. Wrong layers are off by half of it or more.
# Rounding was up to 7e-5 in float32 and up to 0.2 in bfloat16, where plain networks round before batch norm as well: in
# seeded networks of 11 to 101 layers, which enlarge what is rounded more than trained ones do.
TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 0.4}

_OPERATORS = ("_convolution_pointwise", "_reorder_convolution_weight", "_linear_pointwise", "_reorder_linear_weight")


# An activation as oneDNN's operators take it: its name, and the variant of GELU.
_After = tuple[str, str]
_NOTHING: _After = ("none", "")


class _Convolution(torch.nn.Module):
    def __init__(self, plain: torch.nn.Conv2d, shape: torch.Size, after: _After) -> None:
        super().__init__()
        geometry = (list(plain.padding), list(plain.stride), list(plain.dilation), plain.groups)
        self.arguments: tuple[Any, ...] = (*geometry, after[0], [], after[1])
        self.bias = plain.bias
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(plain.weight, *geometry, list(shape))

    def forward(self, input: torch.Tensor) -> Any:  # noqa: A002 - a layer may be called with its argument's name
        return torch.ops.mkldnn._convolution_pointwise(input, self.weight, self.bias, *self.arguments)


class _Linear(torch.nn.Module):
    """Of rows, or of tokens and pixels whose channels come last."""

    def __init__(self, plain: Any, shape: torch.Size, after: _After) -> None:
        super().__init__()
        self.bias, self.after = plain.bias, after
        self.weight = torch.ops.mkldnn._reorder_linear_weight(plain.weight, math.prod(shape[:-1]))

    def forward(self, input: torch.Tensor) -> Any:  # noqa: A002 - a layer may be called with its argument's name
        name, variant = self.after
        return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, name, [], variant)


class _Attention(torch.nn.Module):
    """Self-attention of tokens ``(B, N, C)``."""

    def __init__(self, plain: torch.nn.MultiheadAttention, shape: torch.Size, after: _After) -> None:
        super().__init__()
        inward = SimpleNamespace(weight=plain.in_proj_weight, bias=plain.in_proj_bias)
        self.heads = plain.num_heads
        self.inward, self.outward = _Linear(inward, shape, _NOTHING), _Linear(plain.out_proj, shape, after)

    def forward(self, query: torch.Tensor, *_: Any, **__: Any) -> Any:
        heads = self.inward(query).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = torch.nn.functional.scaled_dot_product_attention(*heads)
        return self.outward(mixed.transpose(1, 2).flatten(2)), None


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
        One image that is random but no white noise, on which it is run before and after.
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
        size = sizes.get(node.all_input_nodes[0], torch.Size()) if node.all_input_nodes else torch.Size()
        kind = _kind(plain, node, size)
        if kind is None:
            continue
        norm = _reader(alone, node, torch.nn.BatchNorm2d)
        if norm and kind is _Convolution and layers[norm].running_mean is not None:
            plain = _folded(plain, layers[norm])
            _skip(network, norm, node)
        reader, after = (None, _NOTHING) if kind is _Attention else _activation(layers, node)
        network.set_submodule(str(node.target), kind(plain, size, after))
        del layers[node], alone[node]  # the plain one takes as much memory
        if reader:
            _skip(network, reader, node)
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
    used = called | {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    return {
        node: layer
        for node, layer in layers.items()
        if calls[id(layer)] == 1
        and not any(name.startswith(f"{node.target}.") for name in used)
        and not any(str(node.target).startswith(f"{other}.") for other in called)
    }


def _kind(layer: Any, node: Node, size: torch.Size) -> Any:
    """Return how a layer of torch's class itself is packed, if it can be; subclasses (timm, parametrised) do more."""
    if type(layer) is torch.nn.Linear:
        return _Linear if len(size) > 1 else None
    if type(layer) is torch.nn.MultiheadAttention:
        return _Attention if len(size) == 3 and _is_self_attention(layer, node) else None
    zeros = type(layer) is torch.nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return _Convolution if zeros and len(size) == 4 else None


def _is_self_attention(layer: Any, node: Node) -> bool:
    """Return whether a call mixes the tokens of one tensor, without a mask, and only what comes of it is read."""
    same = len(node.args) == 3 and len(set(node.args)) == 1 and not any(node.kwargs.values())
    plain = layer.batch_first and layer.in_proj_weight is not None and layer.bias_k is None and not layer.add_zero_attn
    return bool(same and plain) and all(user.target is operator.getitem and user.args[1] == 0 for user in node.users)


def _activation(layers: Mapping[Node, Any], node: Node) -> tuple[Node | None, _After]:
    """Return the only reader of a node if it is an activation that a layer's call can have in it, and which."""
    functional = torch.nn.functional
    relu = _reader(layers, node, torch.nn.ReLU, torch.relu, functional.relu)
    if relu:
        return relu, ("relu", "")
    gelu = _reader(layers, node, torch.nn.GELU, functional.gelu)
    if gelu:
        given = layers[gelu].approximate if gelu in layers else gelu.kwargs.get("approximate", "none")
        return gelu, ("gelu", str(given))
    return None, _NOTHING


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
