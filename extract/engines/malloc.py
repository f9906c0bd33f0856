"""Freed memory, kept between batches, so that the system need not clear it again for each.

glibc returns every large block to the system when it is freed, and gets it back for the next layer, page by page and
cleared. For networks with large feature maps that costs as much as the arithmetic (docs/extraction.md).
"""

import contextlib
import ctypes
from collections.abc import Callable

from ..computing import Counted

# Parameters of mallopt(3), with glibc's defaults.
_TRIM_THRESHOLD, _TRIM_DEFAULT = -1, 128 * 1024
_MMAP_MAX, _MMAP_DEFAULT = -4, 65536
_ALL = 2**31 - 1


def _keep() -> Callable[[], object]:
    _set(_ALL, 0)
    return _give_back


def _give_back() -> None:
    _set(_TRIM_DEFAULT, _MMAP_DEFAULT)
    trim()


# Keeps freed memory in this process until the end of a block. Without glibc nothing changes.
keep_freed_memory = Counted(_keep)


def _set(trim_threshold: int, mmap_max: int) -> None:
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_MAX, mmap_max)
        mallopt(_TRIM_THRESHOLD, trim_threshold)


def trim() -> None:
    """Give what is free back to the system; without glibc nothing happens.

    Each thread that ends leaves up to some tens of megabytes to the next one, which may take another heap.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
