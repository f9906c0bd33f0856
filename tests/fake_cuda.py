"""A stand-in for one CUDA device: tensors that say that they are on it, with their numbers on the processor.

As on a device, an operation on tensors of both raises (but for copies, indices and scalars), and NumPy cannot see them.
Streams say whom they waited for. Nothing is asynchronous, and no kernel of Triton's can be launched on such tensors.
"""

import contextlib
import itertools
import threading
from types import SimpleNamespace

import torch
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_map_only

from fc7.extract.backbones import torch_runtime

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
MEMORY = 2**33
_OF_BOTH = ("copy_", "_to_copy", "index", "index_put_", "_index_put_impl_")
_FACTORIES = ("empty", "zeros", "ones", "full", "tensor", "as_tensor", "arange", "eye", "randn", "rand", "randint")


class There(torch.Tensor):
    """A tensor on the device."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=CUDA,
        )  # fmt: skip

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        return f"There({self.inner!r})"

    # What torch would ask the driver for.

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.where:
            args = [one if isinstance(one, torch.Tensor) else There(torch.tensor(one)) for one in args]
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs or {})

    def tolist(self):
        return self.inner.tolist()

    def nonzero(self, *, as_tuple=False):
        return tree_map_only(torch.Tensor, There, self.inner.nonzero(as_tuple=as_tuple))

    def __float__(self):
        return float(self.inner)

    def __int__(self):
        return int(self.inner)

    def copy_(self, source, non_blocking=False):
        self.inner.copy_(_inner(source))
        return self

    def __getitem__(self, index):
        return There(self.inner[_inner(index)])

    def __setitem__(self, index, value):
        if isinstance(value, torch.Tensor) and value.dim() and not isinstance(value, There):
            raise RuntimeError("Expected all tensors to be on the same device")
        self.inner[_inner(index)] = _inner(value)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        name, tensors = func._schema.name.partition("::")[2], []
        tree_map_only(torch.Tensor, tensors.append, (args, kwargs))
        if name not in _OF_BOTH and any(not isinstance(one, There) and one.dim() for one in tensors):
            raise RuntimeError(f"Expected all tensors to be on the same device, but {name} got cuda:0 and cpu")
        inner = dict(_inner(kwargs or {}))
        asked = inner.get("device")
        if asked is not None:
            inner["device"] = CPU
        inner.pop("pin_memory", None)
        result = func(*_inner(args), **inner)
        if asked is not None and torch.device(asked).type == "cpu":
            return result
        return return_and_correct_aliasing(func, args, kwargs or {}, tree_map_only(torch.Tensor, There, result))


def _inner(tree):
    return tree_map_only(There, lambda one: one.inner, tree)


class Stream:
    """A queue of work; remembers the streams that it waited for."""

    numbers = itertools.count(1)

    def __init__(self, device=None, **_):
        self.device, self.cuda_stream, self.waited_for, self.synchronized = CUDA, next(self.numbers), [], 0

    def wait_stream(self, other):
        self.waited_for.append(other)

    def synchronize(self):
        self.synchronized += 1


class Event:
    """Says when work has ended; it is recorded before it is waited for."""

    recorded = False

    def record(self, stream=None):
        self.recorded = True

    def synchronize(self):
        pass


class _Current(threading.local):
    def __init__(self):
        self.stream = DEFAULT


DEFAULT = Stream()
_current = _Current()


@contextlib.contextmanager
def _within(stream):
    before, _current.stream = _current.stream, stream or _current.stream
    try:
        yield
    finally:
        _current.stream = before


def _is_there(device):
    return device is not None and torch.device(device).type == "cuda"


def _made(ours, there):
    def make(*args, device=None, pin_memory=False, **options):
        if _is_there(device):
            return there(ours(*args, **options))
        made = ours(*args, **options) if device is None else ours(*args, device=device, **options)
        return _pinned(made) if pin_memory else made

    return make


def _pinned(tensor):
    tensor.in_pinned_memory = True
    return tensor


def _moved(ours, there):
    def to(self, *args, **options):
        copies = options.pop("copy", False)
        device, dtype, _, layout = torch._C._nn._parse_to(*args, **options)
        how = {"memory_format": layout} if layout is not None else {}
        if device is None or _is_there(device) is isinstance(self, There):
            return ours(self, dtype or self.dtype, copy=copies, **how)
        if isinstance(self, There):
            return ours(self.detach().inner, dtype or self.dtype, copy=True, **how)
        return there(ours(self.detach(), dtype or self.dtype, copy=True, **how))

    return to


def install(monkeypatch, *, marked=True):
    """Let torch have the device, until the patch ends; return what the runtime was asked for.

    Tensors that are not marked are those of the processor, and can be trained.
    """
    calls, there = [], There if marked else lambda tensor: tensor
    if not marked:
        monkeypatch.setattr(torch_runtime, "find_device", lambda name: CUDA if name.startswith("cuda") else CPU)
    runtime = SimpleNamespace(
        cudaHostRegister=lambda start, size, flags: calls.append(("register", start, size)) or 0,
        cudaHostUnregister=lambda start: calls.append(("unregister", start)) or 0,
    )
    monkeypatch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)
    for name in _FACTORIES:
        monkeypatch.setattr(torch, name, _made(getattr(torch, name), there))
    for name, method in {
        "to": _moved(torch.Tensor.to, there), "cpu": lambda self: self.to("cpu"), "cuda": lambda self: self.to("cuda"),
        "pin_memory": lambda self: self if self.is_pinned() else _pinned(self.clone()),
        "is_pinned": lambda self: getattr(self, "in_pinned_memory", False),
        "record_stream": lambda self, stream: calls.append(("record_stream", stream)),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.Tensor, name, method)
    for name, function in {
        "is_available": lambda: True, "device_count": lambda: 1, "current_device": lambda: 0,
        "_lazy_init": lambda: None, "get_device_name": lambda device=None: "a stand-in",
        "is_bf16_supported": lambda *_: True,
        "mem_get_info": lambda device=None: (MEMORY, MEMORY), "empty_cache": lambda: None,
        "synchronize": lambda device=None: None, "cudart": lambda: runtime, "Stream": Stream, "Event": Event,
        "stream": _within, "current_stream": lambda device=None: _current.stream,
        "get_rng_state": lambda device=None: CPU, "set_rng_state": lambda state, device=None: None,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, function)
    return calls
