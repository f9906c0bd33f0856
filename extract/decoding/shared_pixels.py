"""Memory that decoding processes fill and this one reads: slots, each with the pixels of one batch.

It has no name, so that nothing is left behind however the processes end. All of it is taken at the start, where too
little memory is an error; later it would be a signal that ends the program.
"""

import errno
import mmap
import os
import tempfile
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...cache.recipe import Input


class Slot(NamedTuple):
    """One batch: how far each row is, and the pixels of each input, ``(rows, crop, crop, 3)`` uint8."""

    states: npt.NDArray[np.uint8]
    pixels: dict[Input, npt.NDArray[np.uint8]]


class Layout(NamedTuple):
    """What is in the memory: so many slots, each with so many rows for every input."""

    inputs: tuple[Input, ...]
    rows: int
    slots: int

    def size(self) -> int:
        """Return the bytes of all slots."""
        return self.slots * sum(map(_whole_pages, self._sizes()))

    def of(self, memory: npt.NDArray[np.uint8]) -> list[Slot]:
        """Return the slots of memory of this size."""
        sizes, start, slots = self._sizes(), 0, []
        for _ in range(self.slots):
            arrays = []
            for size in sizes:
                arrays.append(memory[start : start + size])
                start += _whole_pages(size)
            pixels = zip(self.inputs, arrays[1:], strict=True)
            slots.append(Slot(arrays[0], {wanted: array.reshape(self._shape(wanted)) for wanted, array in pixels}))
        return slots

    def _sizes(self) -> list[int]:
        return [self.rows, *(int(np.prod(self._shape(wanted))) for wanted in self.inputs)]

    def _shape(self, wanted: Input) -> tuple[int, int, int, int]:
        crop = wanted.transform.crop
        return self.rows, crop, crop, 3


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


class SharedPixels:
    """Such memory, by a file without a name, which other processes inherit.

    Raises
    ------
    OSError
        There is not so much, or this system has no way to share it.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.file = _nameless(layout.size())
        self.memory = mapped(self.file, layout)
        self.slots = layout.of(self.memory)

    def close(self) -> None:
        """Give it back, as soon as nobody has its arrays."""
        os.close(self.file)


def mapped(file: int, layout: Layout) -> npt.NDArray[np.uint8]:
    """Return the memory of a file that has the slots of a layout."""
    return np.frombuffer(mmap.mmap(file, layout.size()), np.uint8)


def _nameless(size: int) -> int:
    if os.name == "nt":
        raise OSError(errno.ENOTSUP, "on Windows a process inherits no file without a name")
    # Not in /dev/shm, which is 64 MB in a container: this counts as memory of the process.
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("fc7-pixels", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile(prefix="fc7-") as one:
            file = os.dup(one.fileno())
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
        else:
            os.truncate(file, size)
    except OSError:
        os.close(file)
        raise
    return file
