"""Read files: without waiting for what is no regular file, and block by block into one buffer per thread.

A new buffer for each file would cost as much as the reading: the system clears new memory page by page, for one thread
of a process at a time.
"""

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError
from .system import open_to_wait_for_nobody

BLOCK_BYTES = 2**18
LFS_POINTER = b"version https://git-lfs.github.com/spec/"  # what Git LFS leaves in place of a file not yet fetched


class _ThreadBuffer(threading.local):
    def __init__(self) -> None:
        self.block = memoryview(bytearray(BLOCK_BYTES))


_buffer = _ThreadBuffer()


def blocks(file: BinaryIO) -> Iterator[memoryview]:
    """Yield the rest of an unbuffered file block by block; each block is valid until the next is requested."""
    block = _buffer.block
    while count := file.readinto(block):  # type: ignore[attr-defined]
        yield block[:count]


def open_regular(path: Path | str, *, streams: bool = False, buffering: int = -1) -> BinaryIO:
    """Open a file to read.

    Parameters
    ----------
    streams
        Take a FIFO, too, such as a shell's ``<(command)``; one that nobody writes to is empty.
    buffering
        As of :func:`open`.

    Raises
    ------
    OSError
        There is none, or it is no regular file: a FIFO would block, and a device never end.
    """
    try:
        # What is no regular file is not opened at all: opening alone rewinds a tape.
        _require_regular(os.stat(path).st_mode, streams)  # noqa: PTH116
        descriptor = open_to_wait_for_nobody(path, os.O_RDONLY)
    except ValueError as error:  # a null byte in the name
        raise OSError(errno.EINVAL, str(error)) from error
    try:
        _require_regular(os.fstat(descriptor).st_mode, streams)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb", buffering)


def read_regular(path: Path | str) -> bytes:
    """Return what is in a file; raises as :func:`open_regular`."""
    with open_regular(path) as file:
        return file.read()


def require_fetched(path: Path | str) -> None:
    """Refuse a pointer of Git LFS in place of a file; what cannot be read is for whoever reads it.

    Raises
    ------
    DataError
        Names the command that fetches the file.
    """
    with contextlib.suppress(OSError), open_regular(path) as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise DataError(f"{path} is a pointer of Git LFS, and not the file. Fetch it: git lfs pull")


def _require_regular(mode: int, streams: bool) -> None:
    if not stat.S_ISREG(mode) and not (streams and stat.S_ISFIFO(mode)):
        raise OSError(errno.EINVAL, "it is not a regular file")
