"""A network's forward pass as a graph: its nodes by name, what its library calls its ends, and cuts."""

import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from threading import get_ident
from types import FunctionType
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph, GraphModule, Interpreter, Node, Tracer
from torch.fx.node import map_arg
from torch.utils.module_tracker import ModuleTracker
from torchvision.models.feature_extraction import NodePathTracer

from ...cache.processes import Lock
from ...errors import UsageError
from ..computing import Counted
from ..text import first_line

# From a network, images and the names of some of the network's parts to these parts.
Parts = Callable[[Any, Any, Sequence[str]], Mapping[str, Any]]

_tracing = Lock()

_NUMBERED = re.compile(r"^(.+)_([0-9]+)$")

_CONSTANT = "_tensor_constant"  # torch.fx's name for a tensor that a forward pass makes


class _PathTracer(NodePathTracer):
    """Names its nodes as torchvision's feature extractor does, and traces what its own thread calls.

    torch.fx patches modules for the whole process, and other threads compute.
    """

    def trace(self, root: Any, concrete_args: Any = None) -> Graph:
        """Trace, one thread at a time."""
        with _tracing:
            self._thread, self._next = get_ident(), dict[str, int]()
            graph: Graph = super().trace(root, concrete_args)
            return graph

    def call_module(self, m: torch.nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Record a call; in another thread, just make it."""
        if get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def _get_node_qualname(self, module_qualname: str, node: Node) -> str:
        """Return what torchvision calls a node, without looking at all others: it takes minutes for large graphs."""
        name = module_qualname
        if node.op != "call_module":
            name = f"{name}.{node}" if name else str(node)
        name = _NUMBERED.sub(r"\1", name)
        if number := self._next.get(name):
            name = f"{name}_{number}"
        self._next[name] = 1
        if numbered := _NUMBERED.match(name):
            self._next[numbered[1]] = int(numbered[2]) + 1
        return name

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Record a use of a parameter; in another thread, return it."""
        if get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


class Trace:
    """What torch.fx sees of a forward pass.

    Parameters
    ----------
    network
        In eval mode.
    options
        Of the tracer.
    parts
        Computes parts of the network that have names beginning with a colon. What the forward pass computes as well are
        its nodes; what else belongs to a part becomes further nodes.

    Attributes
    ----------
    names
        The nodes of the forward pass by the names of torchvision's feature extractor, in its order.
    returned
        The node that the network returns, if it returns one.
    """

    def __init__(
        self, network: torch.nn.Module, options: Mapping[str, Any] | None = None, parts: Parts | None = None
    ) -> None:
        self._kind = type(network).__name__
        self.network, self._options, self._parts = network, options or {}, parts or _no_parts
        tracer = _PathTracer(**self._options)
        self._root, self._graph = _trace(network, tracer, _forward)
        if any(map(_is_constant, self._graph.nodes)):
            # They may be made of buffers, which other weights change; so that they are made of them in the graph, too.
            with contextlib.suppress(Exception):  # a forward pass that asks buffers for values cannot be traced so
                again = _PathTracer(**self._options)
                again.proxy_buffer_attributes = True
                self._root, self._graph = _trace(network, again, _forward)
                tracer = again
        self._proxies_buffers = tracer.proxy_buffer_attributes
        self.names: dict[str, Node] = {name: node for node, name in tracer.node_to_qualname.items()}
        self._further: dict[str, Node] = {}
        self.returned = _returned(self._graph)

    def name(self, node: Node) -> str:
        """Return a node's name."""
        return next(name for name, other in self.names.items() if other is node)

    def whole(self) -> GraphModule:
        """Return the network with all of its nodes, the very ones of :attr:`names`."""
        return GraphModule(self._root, self._graph, self._kind).eval()

    def cut(self, names: Iterable[str] | None = None) -> GraphModule:
        """Return the network up to these nodes, or the last ones of modules: to ``{name: tensor}``; default: all of it.

        In eval mode, without what is not needed for them. Raises LookupError, which says why a part is not there.
        """
        with _tracing:  # which may add nodes
            nodes = {name: self._find(name) for name in names} if names is not None else None
            graph, copies = Graph(), dict[Node, Node]()
            returned = graph.graph_copy(self._graph, copies)
        graph.output(returned if nodes is None else {name: copies[node] for name, node in nodes.items()})
        cut = GraphModule(self._root, graph, self._kind)
        cut.graph.eliminate_dead_code()
        return GraphModule(cut, cut.graph, self._kind).eval()

    def values(self, names: Iterable[str], images: torch.Tensor) -> list[torch.Tensor]:
        """Return what nodes return when all of the network runs, with statements that no other node reads."""
        nodes = [self._find(name) for name in names]
        recorder = _Recorder(self.whole(), nodes)
        recorder.run(images)
        return [recorder.values[node] for node in nodes]

    def before_last_linear(self) -> Node | None:
        """Return what a linear layer reads, if it is this layer that the network returns."""
        last = self.returned
        return last.all_input_nodes[0] if last and self._is(last, torch.nn.Linear) else None

    def before_last_layer(self) -> Node | None:
        """Return what the last linear layer or convolution reads."""
        layers = [node for node in self.names.values() if self._is(node, torch.nn.Linear, torch.nn.Conv2d)]
        return layers[-1].all_input_nodes[0] if layers else None

    def _is(self, node: Node, *kinds: type[torch.nn.Module]) -> bool:
        if node.op == "call_module":
            return isinstance(attrgetter(str(node.target))(self._root), kinds)
        return node.target is torch.nn.functional.linear  # of a subclass (timm)

    def _find(self, name: str) -> Node:
        if name.startswith(":"):
            if name not in self._further:
                self._further[name] = self._part(name)
            return self._further[name]
        return [node for path, node in self.names.items() if f"{path}.".startswith(f"{name}.")][-1]

    def _part(self, name: str) -> Node:
        """Return the node that is a part of the network; what the graph lacks of it is added."""
        parts = self._parts
        tracer = _PathTracer(**self._options)
        tracer.proxy_buffer_attributes = self._proxies_buffers
        try:
            root, graph = _trace(self.network, tracer, lambda network, images: parts(network, images, [name])[name])
            return self._add(root, graph)
        except Exception as error:  # a network may lack a part, and an unknown function can raise anything
            raise LookupError(f"{name[1:]} cannot be traced ({first_line(error)})") from error

    def _add(self, root: torch.nn.Module, graph: Graph) -> Node:
        """Add the nodes of another function of the network except those that the graph has; return what it returns."""
        returned = _returned(graph)
        if returned is None:
            raise TypeError("it is several tensors")
        twins: dict[Node, Node] = {}
        known: dict[Any, Node] = {}
        for node in self._graph.nodes:
            twins[node] = known.setdefault(_key(node, self._root, twins), node)
        last = next(iter(reversed(self._graph.nodes)))
        for node in graph.nodes:
            if node.op == "output":
                continue
            twin = known.get(_key(node, root, twins))
            if twin is None:
                with self._graph.inserting_before(last):
                    twin = self._graph.node_copy(node, twins.__getitem__)
                if _is_constant(node):
                    twin.target = f"{node.target}_{len(self._further)}"
                    setattr(self._root, twin.target, getattr(root, str(node.target)))
            twins[node] = twin
        return twins[returned]


class _Recorder(Interpreter):
    """Runs a graph and keeps the shapes of its tensors, and what some nodes return when they return it."""

    def __init__(self, network: GraphModule, wanted: Iterable[Node] = ()) -> None:
        super().__init__(network)
        self.shapes: dict[Node, tuple[int, ...]] = {}
        self.values: dict[Node, Any] = dict.fromkeys(wanted)

    def run_node(self, node: Node) -> Any:
        """Run a node."""
        value = super().run_node(node)
        if isinstance(value, torch.Tensor):
            self.shapes[node] = tuple(value.shape)
        if node in self.values:
            self.values[node] = value.clone()  # a later node may overwrite it
        return value


def run_and_record(network: GraphModule, images: torch.Tensor) -> tuple[Any, dict[Node, tuple[int, ...]]]:
    """Return what a graph returns, and the shapes of all of its tensors."""
    recorder = _Recorder(network)
    return recorder.run(images), recorder.shapes


def imagine(network: torch.nn.Module, run: Callable[[torch.Tensor], Any], crop: int) -> Any:
    """Run on one image that has a shape and no numbers: nothing is computed."""
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    # Why not an image on the device "meta": parameters and constants may have storage, and devices do not mix.
    with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True), _in_silence():
        return run(torch.empty(1, 3, crop, crop, device=device))


def _silence() -> Callable[[], object]:
    """Let torch write no traceback of what is about to be a line."""
    log = logging.getLogger(FakeTensorMode.__module__)
    undo = partial(setattr, log, "disabled", log.disabled)
    log.disabled = True
    return undo


_in_silence = Counted(_silence)


def objection(network: torch.nn.Module, crop: int, error: Exception) -> str:
    """Return why a network cannot take images of a size: in its own words, for those in its graph have no numbers."""
    try:
        imagine(network, network, crop)
    except Exception as plain:  # an unknown network can raise anything
        return first_line(plain)
    return first_line(error)


def has_hooks(module: torch.nn.Module) -> bool:
    """Return whether code that is no part of a module runs before or after its forward pass."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def require_no_hooks_for_all() -> None:
    """Refuse hooks for all modules but those of torch's own counters, which change nothing; raises UsageError."""
    everywhere = torch.nn.modules.module
    hooks = [*everywhere._global_forward_hooks.values(), *everywhere._global_forward_pre_hooks.values()]
    if not all(isinstance(getattr(hook, "__self__", None), ModuleTracker) for hook in hooks):
        raise UsageError(
            "There are hooks for all modules (torch.nn.modules.module.register_module_forward_hook), and fc7 cannot "
            "know what they do: remove them."
        )


def _forward(network: Any, images: Any) -> Any:
    return network.forward(images)


def _no_parts(network: Any, images: Any, names: Sequence[str]) -> Mapping[str, Any]:
    return {}


def _trace(
    network: torch.nn.Module, tracer: Tracer, function: Callable[[Any, Any], Any]
) -> tuple[torch.nn.Module, Graph]:
    """Trace a function of a network; return the root of its names, and the graph."""

    def forward(self: torch.nn.Module, images: torch.Tensor) -> Any:
        return function(network, images)

    # torch.fx traces the `forward` of a class, and asks its globals which functions it must not enter.
    names = getattr(type(network).forward, "__globals__", {})
    entered = FunctionType(forward.__code__, names, closure=forward.__closure__)
    root = type("Root", (torch.nn.Module,), {"forward": entered})()
    vars(root).update(vars(network))
    return root, tracer.trace(root)


def _returned(graph: Graph) -> Node | None:
    """Return the node that a graph returns, if it is one."""
    (returned,) = next(iter(reversed(graph.nodes))).args
    return returned if isinstance(returned, Node) else None


def _key(node: Node, root: torch.nn.Module, twins: Mapping[Node, Node]) -> Any:
    """Return what is equal for nodes that compute the same."""
    target: Any = node.target
    if _is_constant(node):
        value = getattr(root, str(target))
        target = (value.dtype, value.shape, value.numpy(force=True).tobytes())
    return node.op, target, *(repr(map_arg(given, twins.__getitem__)) for given in (node.args, node.kwargs))


def _is_constant(node: Node) -> bool:
    return node.op == "get_attr" and str(node.target).startswith(_CONSTANT)
