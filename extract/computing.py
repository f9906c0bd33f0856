"""What holds while fc7 computes: switches of NumPy and torch are at their defaults, and no thread waits for a dead one.

Other code may have set the switches for the whole process. They must not reach a vector or a verdict, and they are put
back.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..cache.processes import Lock
from ..errors import FC7Error

logger = logging.getLogger(__name__)

# What can multiply float32 in fewer bits, as TF32 or bfloat16, by library and operation.
_PRODUCTS = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
_FULL = ("none", "ieee")
_DEVICES = ("cpu", "cuda", "mps")


class Counted:
    """A change of a process-wide setting: the first thread that wants it makes it, the last one puts it back.

    Parameters
    ----------
    change
        Makes it, and returns what undoes it.
    """

    def __init__(self, change: Callable[[], Callable[[], object]]) -> None:
        self._change, self._users, self._lock = change, 0, Lock()
        self._undo: Callable[[], object] = lambda: None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the change until the end of the block."""
        with self._lock:
            if not self._users:
                self._undo = self._change()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._undo()


class _ThreadPools:
    """The threads of torch and OpenMP, which do not survive a fork: a child that waits for them hangs for ever."""

    def __init__(self) -> None:
        self._process = 0  # the first process that used them; a forked child inherits the number
        self._users, self._lock = 0, Lock()  # blocks in which threads of this process compute now
        self._lost = ""  # why a forked child cannot compute
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._before_fork)

    @contextlib.contextmanager
    def used(self, *, threads: bool) -> Iterator[None]:
        """Compute until the end of the block, with or without such threads."""
        with self._lock:
            self._users += 1
            if threads:
                self._process = os.getpid()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1

    def require_usable(self) -> None:
        """Let a forked child compute on one thread, which waits for no other.

        Raises FC7Error if that is not possible.
        """
        with self._lock:
            parent = self._process
            if parent in (0, os.getpid()):
                return
            if self._lost:
                raise FC7Error(
                    f"Process {os.getpid()} was forked from {parent} {self._lost}; it would hang. "
                    "Compute in the workers only (gunicorn without --preload), or start them with "
                    "multiprocessing.get_context('spawn')."
                )
            self._limit()
            logger.warning(
                "Process %d was forked from %d after fc7 had computed there: it computes on one thread. "
                "To use all, start it with multiprocessing.get_context('spawn').",
                os.getpid(),
                parent,
            )
            self._process, self._users = os.getpid(), 0

    @staticmethod
    def _limit() -> None:
        from threadpoolctl import threadpool_limits

        if torch := sys.modules.get("torch"):  # what is imported later has no threads yet
            torch.set_num_threads(1)
        threadpool_limits(1, user_api="openmp")  # scikit-learn has an OpenMP of its own

    def _before_fork(self) -> None:
        torch: Any = sys.modules.get("torch")
        gpu = torch and torch.cuda.is_initialized()
        self._lost = "while fc7 was computing there" if self._users else "after it had used a GPU" if gpu else ""


@contextlib.contextmanager
def computing(*, threads: bool = True) -> Iterator[None]:
    """Compute as the libraries come, whatever the caller has set, until the end of the block.

    Of NumPy this is what floating point errors do; of scikit-learn what transformers return, and what estimators show;
    of torch the default dtype and device, autocast, and products of float32 in fewer bits: a recipe that says fp32
    means it.

    Parameters
    ----------
    threads
        Whether the block itself starts threads of these libraries.

    Raises
    ------
    FC7Error
        The process was forked from one in which fc7 was computing, or had used a GPU.
    """
    _pools.require_usable()
    numpy: Any = sys.modules.get("numpy")  # who has not imported it has set nothing
    torch: Any = sys.modules.get("torch")
    sklearn: Any = sys.modules.get("sklearn")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_pools.used(threads=threads))
        if numpy:
            stack.enter_context(numpy.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        if hasattr(sklearn, "config_context"):  # not while another thread imports it
            stack.enter_context(sklearn.config_context(transform_output="default", print_changed_only=True))
        if torch:
            stack.enter_context(_full_precision())
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            for kind in filter(torch.is_autocast_enabled, _DEVICES):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def _set_full_precision() -> Callable[[], object]:
    import torch

    dtype, benchmark = torch.get_default_dtype(), torch.backends.cudnn.benchmark
    older, precisions = _older_settings(), {name: _backend(name).fp32_precision for name in _PRODUCTS}

    def put_back() -> None:
        torch.set_default_dtype(dtype)
        torch.backends.cudnn.benchmark = benchmark
        for write, value, _ in older:
            write(value)
        for name, precision in precisions.items():
            if _backend(name).fp32_precision != precision:
                _backend(name).fp32_precision = precision

    torch.set_default_dtype(torch.float32)
    torch.backends.cudnn.benchmark = False  # it chooses among algorithms by their speed of the moment
    for write, _, full in older:
        write(full)
    for name in _PRODUCTS:
        if _backend(name).fp32_precision not in _FULL:
            _backend(name).fp32_precision = "ieee"
    return put_back


def _older_settings() -> list[tuple[Callable[[Any], object], Any, Any]]:
    """Return setter, value and the value for full precision of torch's older interface to the same settings.

    Torch's own exporters read the older one, which raises if the two contradict each other. If the caller has brought
    them to that, it stays as it is.
    """
    import torch

    cudnn = torch.backends.cudnn
    settings: list[tuple[Callable[[], Any], Callable[[Any], object], Any]] = [
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
        (lambda: cudnn.allow_tf32, partial(setattr, cudnn, "allow_tf32"), False),
    ]
    readable = []
    for read, write, full in settings:
        with contextlib.suppress(RuntimeError):
            readable.append((write, read(), full))
    return readable


def _backend(name: str) -> Any:
    import torch

    library, operation = name.split(".")
    return getattr(getattr(torch.backends, library), operation)


_full_precision = Counted(_set_full_precision)
_pools = _ThreadPools()
