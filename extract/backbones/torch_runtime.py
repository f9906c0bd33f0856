"""Torch at run time: threads, one thread at a time on a device, and its memory."""

import contextlib
import logging
import threading
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import torch

from ...cache.processes import Lock
from ...cache.recipe import FunctionTransform, Recipe
from ...errors import FC7Error, UsageError
from ..computing import Counted, computing
from ..text import first_line

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

logger = logging.getLogger(__name__)

# The most that a device's vector may be off the processor's, as a share of its length, by precision.
DIFFERENCE = {"fp32": 1e-3, "bf16": 5e-2}

_on_accelerator = Lock()
_drawing = Lock()


def bfloat16_gain() -> float:
    """Return how many times as fast as float32 the processor multiplies matrices of bfloat16: measured, in a moment.

    Why not ask for its instructions: they double the speed of some processors and halve that of others, and torch
    emulates them where there are none. On one thread, in its own time on the processor: what else runs does not count.
    """
    with each_with(1) as begin, ThreadPoolExecutor(1, initializer=begin) as pool:
        single, half = (pool.submit(_seconds_of_product, dtype).result() for dtype in (torch.float32, torch.bfloat16))
    return single / half


def warn_of_slow_bfloat16(device: torch.device) -> None:
    """Say that bf16 slows this processor down, if that is what computes and it does."""
    if device.type == "cpu" and (gain := bfloat16_gain()) < 1:
        logger.warning("bf16 computes at %.1f times the speed of fp32 on this processor.", gain)


def _seconds_of_product(dtype: torch.dtype) -> float:
    matrix = torch.ones(512, 512, dtype=dtype)
    times = timeit.repeat(partial(torch.mm, matrix, matrix), number=1, repeat=8, timer=time.thread_time)
    return max(min(times), 1e-9)  # a clock may be coarse


@contextlib.contextmanager
def each_with(threads: int) -> Iterator[Callable[[], None]]:
    """Let workers compute with so many threads each; yield a function that each of them calls first."""
    with _number_of_threads():
        yield lambda: torch.set_num_threads(threads)


# The last one restores it: part of the setting belongs to all threads of the process.
_number_of_threads = Counted(lambda: partial(torch.set_num_threads, torch.get_num_threads()))


@contextlib.contextmanager
def global_generator(devices: Sequence[torch.device] = ()) -> Iterator[None]:
    """Hold torch's global generator of random numbers: one thread at a time draws from it, and it is put back."""
    with computing(), _drawing, torch.random.fork_rng(devices=devices):
        yield


@contextlib.contextmanager
def alone_on(device: torch.device) -> Iterator[None]:
    """Let one thread at a time compute on an accelerator: several take more memory and are no faster."""
    with contextlib.nullcontext() if device.type == "cpu" else _on_accelerator:
        yield


def device_names(name: str) -> list[str]:
    """Return the devices that a name stands for: ``cuda:all``, or some with commas between."""
    if name == "cuda:all":
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cuda"]
    return name.split(",")


def find_device(name: str) -> torch.device:
    """Return a device by name, with its number; raises UsageError if torch does not know or have it."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name} cannot be used here: {first_line(error)}") from error


@computing()
def agrees(build: Callable[[torch.device], torch.nn.Module], recipe: Recipe, name: str) -> bool:
    """Return whether a device makes the processor's vectors of two pictures of noise; say so if it does not.

    Apple's has computed wrong ones without a word, by network and version.

    Parameters
    ----------
    build
        Makes the network on a device: from pixels to one tensor per layer.
    """
    shape, noise = (2, recipe.transform.crop, recipe.transform.crop, 3), torch.Generator().manual_seed(0)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=noise)
    if isinstance(recipe.transform, FunctionTransform):
        pixels = torch.randn(shape, generator=noise)
    try:
        with torch.inference_mode():
            here, there = (
                [layer.float().cpu() for layer in build(torch.device(at))(pixels.to(at))] for at in ("cpu", name)
            )
    except (RuntimeError, NotImplementedError) as error:  # an operation that it does not have
        logger.warning("%s computes on the processor: %s cannot: %s", recipe.backbone, name, first_line(error))
        return False
    lengths = [layer.flatten(1).norm(dim=1).clamp(min=1e-9) for layer in here]
    errors = [(one - other).flatten(1).norm(dim=1) for one, other in zip(here, there, strict=True)]
    off = max(float((error / length).max()) for error, length in zip(errors, lengths, strict=True))
    if off <= DIFFERENCE[recipe.precision]:  # NaN is not
        return True
    logger.warning("%s computes on the processor: the vectors of %s are %.1g off.", recipe.backbone, name, off)
    return False


class _Copying(threading.local):
    """The stream of a thread, in which it copies to a device while that computes for others."""

    stream: torch.cuda.Stream | None = None


_copying = _Copying()


def to_device(batch: "npt.NDArray[np.uint8] | torch.Tensor", device: torch.device) -> torch.Tensor:
    """Return a batch on a device; CUDA copies it beside what it computes."""
    pixels = torch.as_tensor(batch)
    if device.type != "cuda" or pixels.device.type != "cpu":
        return pixels.to(device, non_blocking=True)
    if _copying.stream is None or _copying.stream.device != device:
        _copying.stream = torch.cuda.Stream(device)
    with torch.cuda.stream(_copying.stream):
        there = pixels.pin_memory().to(device, non_blocking=True)
    computing = torch.cuda.current_stream(device)
    computing.wait_stream(_copying.stream)
    there.record_stream(computing)
    return there


@contextlib.contextmanager
def pinned(memory: "npt.NDArray[np.uint8]", devices: Sequence[torch.device]) -> Iterator[None]:
    """Let CUDA devices copy from memory directly until the end of the block; where it cannot be, they copy twice."""
    there = next((device for device in devices if device.type == "cuda"), None)
    if there is None or not torch.cuda.is_available():
        yield
        return
    runtime, start = torch.cuda.cudart(), memory.ctypes.data
    done = not int(runtime.cudaHostRegister(start, memory.nbytes, 0))
    if not done:  # torch reports an error of CUDA that nobody has asked for after the next operation
        with contextlib.suppress(RuntimeError):
            torch.zeros(1, device=there)
    try:
        yield
    finally:
        if done:
            runtime.cudaHostUnregister(start)


@contextlib.contextmanager
def memory_of(device: torch.device, advice: str) -> Iterator[None]:
    """Add advice to the error if a device's memory is too small."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = ". ".join(str(error).split(". ")[:3]).strip().rstrip(".")
        raise FC7Error(f"The memory of {device} is too small: {reason}. {advice}") from error
