"""Files read block by block, into memory that a thread keeps.

Memory taken anew for each file would cost as much as the reading: the system clears it page by page, for one thread of
a process at a time.
"""

import threading
from collections.abc import Iterator
from io import FileIO

BLOCK_BYTES = 2**18


class _Mine(threading.local):
    def __init__(self) -> None:
        self.block = memoryview(bytearray(BLOCK_BYTES))


_mine = _Mine()


def blocks(file: FileIO) -> Iterator[memoryview]:
    """Yield an unbuffered file's bytes in turn; each block is gone when the next one is asked for.

    Raises
    ------
    OSError
        It cannot be read.
    """
    block = _mine.block
    while count := file.readinto(block):
        yield block[:count]
