"""Packed networks: on a processor, each convolution or linear layer is one call, its ReLU included.

oneDNN has its own order of parameters. torch reorders them in each forward pass, and writes each result before ReLU
reads it again. Here parameters are reordered once and ReLU is part of the call. Why not torch's compiler, which does
the same when it freezes a network: it needs a C++ compiler. Batch normalisation becomes part of the convolution before
it. Sums have other last digits than in the plain network.
"""

import copy
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils.fusion import fuse_conv_bn_eval

_OPERATORS = ("_convolution_pointwise", "_reorder_convolution_weight", "_linear_pointwise", "_reorder_linear_weight")


class _Convolution(torch.nn.Module):
    def __init__(self, plain: torch.nn.Conv2d, shape: torch.Size, after: str) -> None:
        super().__init__()
        geometry = (list(plain.padding), list(plain.stride), list(plain.dilation), plain.groups)
        self.arguments: tuple[Any, ...] = (*geometry, after, [], "")
        self.bias = plain.bias
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(plain.weight, *geometry, list(shape))

    def forward(self, inputs: torch.Tensor) -> Any:
        return torch.ops.mkldnn._convolution_pointwise(inputs, self.weight, self.bias, *self.arguments)


class _Linear(torch.nn.Module):
    def __init__(self, plain: torch.nn.Linear, shape: torch.Size, after: str) -> None:
        super().__init__()
        self.bias, self.after = plain.bias, after
        self.weight = torch.ops.mkldnn._reorder_linear_weight(plain.weight, shape[0])

    def forward(self, inputs: torch.Tensor) -> Any:
        return torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, self.after, [], "")


def is_available() -> bool:
    """Return whether this build of torch has the operators."""
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)


def pack(network: GraphModule, shape: tuple[int, int, int, int]) -> None:
    """Replace the convolutions and linear layers of a network by packed ones, in place.

    Parameters
    ----------
    network
        On the processor, in eval mode, in the dtype that it computes in.
    shape
        Of its input; other shapes are computed as well, but slower.
    """
    sizes = _shapes(network, shape)
    for node in list(network.graph.nodes):
        plain = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(plain, torch.nn.Conv2d | torch.nn.Linear) or not _is_ordinary(plain, sizes[node.name]):
            continue
        norm = _reader(network, node, torch.nn.BatchNorm2d)
        if norm and isinstance(plain, torch.nn.Conv2d):
            plain = _folded(plain, network.get_submodule(str(norm.target)))
            _skip(network, norm, node)
        relu = _reader(network, node, torch.nn.ReLU, torch.relu, torch.nn.functional.relu)
        after = "relu" if relu else "none"
        packed: torch.nn.Module
        if isinstance(plain, torch.nn.Conv2d):
            packed = _Convolution(plain, sizes[node.name], after)
        else:
            packed = _Linear(plain, sizes[node.name], after)
        network.set_submodule(str(node.target), packed)
        if relu:
            _skip(network, relu, node)
    network.recompile()


def _shapes(network: GraphModule, shape: tuple[int, int, int, int]) -> dict[str, torch.Size]:
    """Return the input shape of each node that is a module, without computing."""
    traced = copy.deepcopy(network).to("meta")
    with torch.inference_mode():
        ShapeProp(traced).propagate(torch.empty(shape, device="meta", dtype=next(network.parameters()).dtype))
    nodes = [node for node in traced.graph.nodes if node.op == "call_module"]
    return {node.name: node.all_input_nodes[0].meta["tensor_meta"].shape for node in nodes}


def _is_ordinary(plain: torch.nn.Conv2d | torch.nn.Linear, shape: torch.Size) -> bool:
    """Return whether a layer is of torch's class itself; subclasses (timm) compute more."""
    if type(plain) not in (torch.nn.Conv2d, torch.nn.Linear):
        return False
    if isinstance(plain, torch.nn.Linear):
        return len(shape) == 2
    return plain.padding_mode == "zeros" and not isinstance(plain.padding, str)


def _reader(network: GraphModule, node: Node, kind: type[torch.nn.Module], *functions: Any) -> Node | None:
    """Return the only reader of a node if it is of that kind."""
    readers = list(node.users)
    if len(readers) != 1:
        return None
    (reader,) = readers
    if reader.op == "call_module":
        return reader if type(network.get_submodule(str(reader.target))) is kind else None
    return reader if reader.op == "call_function" and reader.target in functions else None


def _folded(plain: torch.nn.Conv2d, norm: Any) -> torch.nn.Conv2d:
    """Return a convolution and its batch normalisation as one convolution, multiplied in float32."""
    dtype = plain.weight.dtype
    folded: torch.nn.Conv2d = fuse_conv_bn_eval(plain.float(), norm.float()).to(dtype)
    return folded.to(memory_format=torch.channels_last)


def _skip(network: GraphModule, node: Node, instead: Node) -> None:
    """Let the readers of a node read another one."""
    node.replace_all_uses_with(instead)
    network.graph.erase_node(node)
