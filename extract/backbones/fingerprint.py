"""The fingerprint of a module: a hash over all that its numbers come from, the same in every process.

Numbers come from parameters, buffers and attributes, and from code. Code is known by its bytecode and not by its
source: a file may have changed since it was imported, functions of one line share their source, a notebook has none. So
another minor version of Python makes another fingerprint.
"""

import contextlib
import functools
import types
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NoReturn

import numpy as np
import torch
from torch.fx import GraphModule
from torch.fx.node import map_arg

from ...errors import UsageError
from ..text import first_line
from ..weights.files import hash_tensors
from .python_code import codes_of, globals_of, hashed, imports_of, is_patched, named_in, origin_of, package_of

# What torch keeps in each module beside its contents.
_CONTENTS = {"_parameters", "_buffers", "_modules", "training"}
_BOOKKEEPING = {*vars(torch.nn.Module()), "_compiled_call_impl", "_is_torch_compile"} - _CONTENTS

# What a class has beside its behaviour: where it stands, and how it is made, shown, copied and stored.
_BESIDE = {
    *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate__"),
    *("__annotate_func__", "__annotations_cache__", "__firstlineno__", "__static_attributes__", "__classdict__"),
    *("__abstractmethods__", "_abc_impl", "__parameters__", "__orig_bases__", "__repr__"),
    *("__str__", "__del__", "__init_subclass__", "__getstate__", "__setstate__", "__reduce__", "__reduce_ex__"),
    *("__classdictcell__", "__dataclass_fields__", "__dataclass_params__", "__match_args__", "__signature__"),
}

# How a module was made does not matter; how other objects are made does, because a forward pass may make them.
_MAKING = {"__init__", "__new__"}


def fingerprint(module: Any) -> str:
    """Return the sha256 (hex) of a module in eval mode, on the processor; or of another object with code, a function.

    It holds parameters, buffers, persistent or not, all attributes of all submodules, and the code of their classes
    with the functions, constants and classes that this code names. Installed packages are known by the bytes of their
    files; torch, torchvision, NumPy and Python by the names of what is used of them. Not in it is what code reads from
    files or the environment while it runs, what operators of :mod:`torch.library` do, and what functions of installed
    packages find changed in other installed packages.

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
        self._named: list[set[str]] = [set()]  # what the code that is looked at names

    def of(self, value: Any, name: str = "") -> bytes:
        """Return the hash of an object; its name is for messages."""
        value = uncompiled(value)
        if value is None or type(value) in (bool, int, float, complex, str, bytes, type(...)):
            return hashed(type(value).__name__, repr(value))
        if isinstance(value, types.ModuleType):  # of which other code may name other parts
            return hashed(*self._python_module(value))
        if id(value) in self._known:
            return self._known[id(value)][1]
        if id(value) in self._open:  # a part of it leads back to it
            return hashed("back", len(self._open) - self._open.index(id(value)))
        self._open.append(id(value))
        self._path.append(name)
        try:
            found = hashed(*self._parts(value))
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
        yield from self._beside(value, torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
        try:
            yield hash_tensors({"": value.cpu()})
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            self._refuse("a tensor without numbers that can be read", error)

    def _array(self, value: "np.ndarray[Any, Any] | np.generic") -> Iterator[Any]:
        yield from self._beside(value, np.ndarray, type(value.dtype.type()))
        yield value.dtype.str
        yield value.shape
        yield self.of(value.tolist()) if value.dtype.hasobject else value.tobytes()

    def _beside(self, value: Any, *ordinary: type) -> Iterator[Any]:
        """Yield what a tensor or an array has beside its numbers: a class of its own, and attributes."""
        if type(value) not in ordinary:
            yield self.of(type(value))
        if attributes := getattr(value, "__dict__", None):
            yield self.of(attributes)

    def _module(self, module: torch.nn.Module) -> Iterator[Any]:
        yield self.of(type(module))
        for name, value in sorted(vars(module).items()):
            if name in ("_parameters", "_buffers", "_modules"):
                yield name
                for inner, item in value.items():  # code may take them in this order
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
        methods = [name for name in script._c._method_names() if name != "forward"]
        try:  # frozen, its attributes are constants of its code; torch.jit.freeze does this and warns of its own age
            frozen: Any = torch._C._freeze_module(script._c, methods, True, False)
        except RuntimeError as error:
            self._refuse("TorchScript that torch cannot freeze", error)
        for method in ("forward", *methods):
            code, constants = frozen._get_method(method).code_with_constants
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
        if origin := origin_of(kind):
            yield origin
            patched = {name: value for base in kind.__mro__ for name, value in vars(base).items() if is_patched(value)}
            for name, value in sorted(patched.items()):
                yield name
                yield self.of(value, f".{name}")
            return
        for base in kind.__bases__:
            yield self.of(base)
        if type(kind) is not type:
            yield self.of(type(kind))
        left_out = _BESIDE | _MAKING if issubclass(kind, torch.nn.Module) else _BESIDE
        attributes = {name: value for name, value in vars(kind).items() if name not in left_out}
        with self._naming(*(code for value in attributes.values() for code in codes_of(value))):
            for name, value in sorted(attributes.items()):
                yield name
                yield self.of(value, f".{name}")

    @contextlib.contextmanager
    def _naming(self, *codes: types.CodeType) -> Iterator[None]:
        """Look at what these name."""
        self._named.append(named_in(codes))
        try:
            yield
        finally:
            self._named.pop()

    def _used(self, value: Any, name: str) -> Iterator[Any]:
        """Yield what code uses by a name; of a class of modules, how they are made as well."""
        yield self.of(value, name)
        if isinstance(value, type) and issubclass(value, torch.nn.Module) and not origin_of(value):
            for making in sorted(_MAKING):
                yield self.of(getattr(value, making), name)

    def _function(self, function: types.FunctionType) -> Iterator[Any]:
        if origin := origin_of(function):
            yield origin
            return
        with self._naming(function.__code__):
            yield from self._own_function(function)

    def _own_function(self, function: types.FunctionType) -> Iterator[Any]:
        if attributes := vars(function):
            yield self.of(attributes)
        yield self.of(function.__code__)
        yield self.of(function.__defaults__)
        yield self.of(function.__kwdefaults__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # nothing is in it yet
                yield "empty"
                continue
            yield from [self.of(value)] if name == "__class__" else self._used(value, f".{name}")
        if package := package_of(str(function.__globals__.get("__name__"))):
            yield package  # it was made by installed code, which is known
            return
        for name in sorted(globals_of(function.__code__) & function.__globals__.keys()):
            yield name
            yield from self._used(function.__globals__[name], f" uses {name}")
        for name in sorted(imports_of(function.__code__, function.__globals__)):
            yield name
            module = None
            with contextlib.suppress(Exception):  # the user's code can raise anything, here as in the forward pass
                module = import_module(name)
            yield self.of(module, f" imports {name}")

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
        """Yield a module's name and package, and what code names of it: all of the user's own, what is patched else."""
        modules, named = [module], self._named[-1]
        for one in modules:  # it grows
            package = package_of(one.__name__)
            yield one.__name__
            yield package
            for name in sorted(named & vars(one).keys()):
                value = vars(one)[name]
                if isinstance(value, types.ModuleType):
                    modules.extend([value] if all(value is not other for other in modules) else [])
                elif not package or is_patched(value):
                    yield name
                    yield from self._used(value, f" uses {one.__name__}.{name}")

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
