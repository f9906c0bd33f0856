"""Read files block by block into one buffer per thread.

A new buffer for each file would cost as much as the reading: the system clears new memory page by page, for one thread
of a process at a time.
"""

import threading
from collections.abc import Iterator
from io import FileIO

BLOCK_BYTES = 2**18


class _ThreadBuffer(threading.local):
    def __init__(self) -> None:
        self.block = memoryview(bytearray(BLOCK_BYTES))


_buffer = _ThreadBuffer()


def blocks(file: FileIO) -> Iterator[memoryview]:
    """Yield an unbuffered file's bytes block by block; each block is valid until the next is requested."""
    block = _buffer.block
    while count := file.readinto(block):
        yield block[:count]
