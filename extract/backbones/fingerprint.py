"""The fingerprint of a module: a hash over all that its numbers come from, the same in every process.

Numbers come from parameters, buffers and attributes, and from code. Code is known by its bytecode and not by its
source: a file may have changed since it was imported, functions of one line share their source, a notebook has none. So
another minor version of Python makes another fingerprint.
"""

import dis
import functools
import hashlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch.fx import GraphModule
from torch.fx.node import map_arg

from ...errors import UsageError
from ..text import first_line
from .weights import hash_tensors

# What fc7 itself is made of, like published networks: known by its names, in all versions.
_BY_NAME = sys.stdlib_module_names | {"torch", "torchvision", "numpy"}

# What torch keeps in each module beside its contents.
_CONTENTS = {"_parameters", "_buffers", "_modules", "training"}
_BOOKKEEPING = {*vars(torch.nn.Module()), "_compiled_call_impl", "_is_torch_compile"} - _CONTENTS

# What a class has beside its behaviour: where it stands, and how it is made, shown, copied and stored.
_BESIDE = {
    *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate__"),
    *("__annotate_func__", "__annotations_cache__", "__firstlineno__", "__static_attributes__", "__classdict__"),
    *("__abstractmethods__", "_abc_impl", "__parameters__", "__orig_bases__", "__init__", "__new__", "__repr__"),
    *("__str__", "__del__", "__init_subclass__", "__getstate__", "__setstate__", "__reduce__", "__reduce_ex__"),
    *("__classdictcell__", "__dataclass_fields__", "__dataclass_params__", "__match_args__", "__signature__"),
}


def fingerprint(module: torch.nn.Module) -> str:
    """Return the sha256 (hex) of a module in eval mode, on the processor.

    It holds parameters, buffers, persistent or not, all attributes of all submodules, and the code of their classes
    with the functions, constants and classes that this code names. Installed packages are known by the bytes of their
    files; torch, torchvision, NumPy and Python by the names of what is used of them.

    Raises
    ------
    UsageError
        Something in it has no description that would be the same in another process.
    """
    try:
        return _Fingerprints().of(module, type(module).__name__).hex()
    except RecursionError as error:
        raise UsageError(f"{type(module).__name__} is nested too deeply to be known by its contents.") from error


def uncompiled(module: Any) -> Any:
    """Return what torch.compile made a module of, which returns the same; anything else as it is."""
    return module._orig_mod if type(module).__module__ == "torch._dynamo.eval_frame" else module


class _Fingerprints:
    """Hashes of objects by what they are made of."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, bytes]] = {}  # objects are kept: their addresses must not be used again
        self._open: list[int] = []
        self._path: list[str] = []

    def of(self, value: Any, name: str = "") -> bytes:
        """Return the hash of an object; its name is for messages."""
        value = uncompiled(value)
        if value is None or type(value) in (bool, int, float, complex, str, bytes, type(...)):
            return _hashed(type(value).__name__, repr(value))
        if id(value) in self._known:
            return self._known[id(value)][1]
        if id(value) in self._open:  # a part of it leads back to it
            return _hashed("back", len(self._open) - self._open.index(id(value)))
        self._open.append(id(value))
        self._path.append(name)
        try:
            found = _hashed(*self._parts(value))
        finally:
            self._open.pop()
            self._path.pop()
        self._known[id(value)] = (value, found)
        return found

    def _parts(self, value: Any) -> Iterator[Any]:
        """Yield the kind of an object, and its parts or their hashes."""
        describe = _EXACTLY.get(type(value)) or next(how for kind, how in _KINDS.items() if isinstance(value, kind))
        yield describe.__name__
        yield from describe(self, value)

    def _sequence(self, value: Any) -> Iterator[Any]:
        yield type(value).__name__
        for place, item in enumerate(value):
            yield self.of(item, f"[{place}]")

    def _mapping(self, value: Any) -> Iterator[Any]:
        for key, item in value.items():
            yield self.of(key)
            yield self.of(item, f"[{key!r}]")

    def _set(self, value: Any) -> Iterator[Any]:
        yield type(value).__name__
        yield from sorted(self.of(item) for item in value)

    def _tensor(self, value: torch.Tensor) -> Iterator[Any]:
        try:
            yield hash_tensors({"": value.cpu()})
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            self._refuse("a tensor without numbers that can be read", error)

    def _array(self, value: "np.ndarray[Any, Any] | np.generic") -> Iterator[Any]:
        yield value.dtype.str
        yield value.shape
        yield self.of(value.tolist()) if value.dtype.hasobject else value.tobytes()

    def _module(self, module: torch.nn.Module) -> Iterator[Any]:
        yield self.of(type(module))
        for name, value in sorted(vars(module).items()):
            if name in ("_parameters", "_buffers", "_modules"):
                yield name
                items = value.items() if name == "_modules" else sorted(value.items())  # layers may be run in order
                for inner, item in items:
                    yield inner
                    yield self.of(item, f".{inner}")
            elif name not in _BOOKKEEPING:
                yield name
                yield self.of(value, f".{name}")

    def _graph_module(self, module: GraphModule) -> Iterator[Any]:
        yield module.code
        for node in module.graph.nodes:
            yield node.op
            target: Any = node.target
            if node.op in ("call_module", "get_attr"):
                for part in str(node.target).split("."):
                    target = getattr(module if target is node.target else target, part)
            yield self.of(target, f".{node.target}")
            yield self.of(map_arg((node.args, node.kwargs), lambda read: ("node", read.name)))

    def _script_module(self, script: torch.jit.ScriptModule) -> Iterator[Any]:
        try:  # frozen, its attributes are constants of its code; torch.jit.freeze does this and warns of its own age
            forward: Any = torch._C._freeze_module(script._c, [], True, False)._get_method("forward")
        except RuntimeError as error:
            self._refuse("TorchScript that torch cannot freeze", error)
        code, constants = forward.code_with_constants
        yield code
        for name, value in sorted(constants.items()):
            yield name
            yield self.of(value)

    def _script_function(self, script: Any) -> Iterator[Any]:
        graph = script.inlined_graph  # with the functions that it calls
        yield torch._C._create_function_from_graph("function", graph).code
        for node in graph.findAllNodes("prim::Constant"):
            if node.hasAttribute("value") and node.kindOf("value") == "t":
                yield self.of(node.t("value"))

    def _class(self, kind: type) -> Iterator[Any]:
        if origin := _origin(kind):
            yield origin
            return
        for base in kind.__bases__:
            yield self.of(base)
        for name, value in sorted(vars(kind).items()):
            if name not in _BESIDE:
                yield name
                yield self.of(value, f".{name}")

    def _function(self, function: types.FunctionType) -> Iterator[Any]:
        if origin := _origin(function):
            yield origin
            return
        yield self.of(function.__code__)
        yield self.of(function.__defaults__)
        yield self.of(function.__kwdefaults__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                yield self.of(cell.cell_contents, f".{name}")
            except ValueError:  # nothing is in it yet
                yield "empty"
        if _package(str(function.__globals__.get("__name__"))):
            return  # it was made by installed code, which is known
        codes = list(_codes(function.__code__))
        attributes = {name for code in codes for name in code.co_names}
        for name in sorted({name for code in codes for name in _globals(code)} & function.__globals__.keys()):
            value = function.__globals__[name]
            yield name
            yield self.of(value, f" uses {name}")
            if isinstance(value, types.ModuleType) and not _package(value.__name__):
                for attribute in sorted(attributes & vars(value).keys()):
                    yield self.of(vars(value)[attribute], f" uses {name}.{attribute}")

    def _code(self, code: types.CodeType) -> Iterator[Any]:
        yield from (code.co_code, code.co_exceptiontable, code.co_flags, code.co_names, code.co_varnames)
        yield from (code.co_freevars, code.co_cellvars)
        yield from (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        for constant in code.co_consts:
            yield self.of(constant)

    def _method(self, method: types.MethodType) -> Iterator[Any]:
        yield self.of(method.__func__)
        yield self.of(method.__self__)

    def _wrapper(self, wrapper: Any) -> Iterator[Any]:
        for name in ("__wrapped__", "__func__", "fget", "func", "attrname"):
            if hasattr(wrapper, name):
                yield self.of(getattr(wrapper, name))

    def _python_module(self, module: types.ModuleType) -> Iterator[Any]:
        yield module.__name__
        yield _package(module.__name__)

    def _name(self, value: Any) -> Iterator[Any]:
        yield str(value)

    def _object(self, value: Any) -> Iterator[Any]:
        """Yield what pickle would write."""
        try:
            reduced = value.__reduce_ex__(4)
        except Exception as error:  # an unknown object can raise anything when it is asked
            self._refuse(f"a {type(value).__name__}", error)
        if isinstance(reduced, str):
            yield getattr(value, "__module__", None)
            yield reduced
            return
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        for part in (make, arguments, state, list(items or ()), list(pairs or ())):
            yield self.of(part)

    def _refuse(self, what: str, error: Exception) -> NoReturn:
        raise UsageError(
            f"{''.join(self._path)} is {what} ({first_line(error)}): fc7 cannot know a module with it in another "
            "process. Keep it out of the module, or keep numbers, texts, tensors or modules in its place."
        ) from error


_Parts = Callable[[_Fingerprints, Any], Iterator[Any]]

_EXACTLY: dict[type, _Parts] = {
    list: _Fingerprints._sequence,
    tuple: _Fingerprints._sequence,
    dict: _Fingerprints._mapping,
    types.MappingProxyType: _Fingerprints._mapping,
    set: _Fingerprints._set,
    frozenset: _Fingerprints._set,
}
_KINDS: dict[Any, _Parts] = {
    torch.Tensor: _Fingerprints._tensor,
    (np.ndarray, np.generic): _Fingerprints._array,
    torch.jit.ScriptModule: _Fingerprints._script_module,
    torch.jit.ScriptFunction: _Fingerprints._script_function,
    GraphModule: _Fingerprints._graph_module,
    torch.nn.Module: _Fingerprints._module,
    type: _Fingerprints._class,
    types.FunctionType: _Fingerprints._function,
    types.CodeType: _Fingerprints._code,
    types.MethodType: _Fingerprints._method,
    (staticmethod, classmethod, property, functools.cached_property): _Fingerprints._wrapper,
    functools._lru_cache_wrapper: _Fingerprints._wrapper,
    types.ModuleType: _Fingerprints._python_module,
    (torch.layout, torch.finfo, torch.iinfo): _Fingerprints._name,
    (torch._ops.OpOverload, torch._ops.OpOverloadPacket): _Fingerprints._name,
    object: _Fingerprints._object,
}


def _hashed(*parts: Any) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


def _origin(value: Any) -> str:
    """Return the name and the package of a class or a function of installed code; empty if it is the user's own."""
    package = _package(value.__module__ or "")
    found: Any = sys.modules.get(value.__module__ or "")
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return f"{value.__module__}.{value.__qualname__} {package}" if package and found is value else ""


@functools.cache
def _package(module: str) -> str:
    """Return what an installed package is known by; empty if the module is the user's own."""
    root = module.split(".")[0]
    if root in _BY_NAME and root != "__main__":
        return root
    file = Path(getattr(sys.modules.get(root), "__file__", None) or "")
    if root == "__main__" or not {"site-packages", "dist-packages"}.intersection(file.parts):
        return ""
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    return _hashed(*(part for path in files for part in (path.name, path.read_bytes()))).hex()


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a code object and those of the functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _globals(code: types.CodeType) -> set[str]:
    return {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
