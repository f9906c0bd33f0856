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
    _call("mallopt", _MMAP_MAX, 0)
    _call("mallopt", _TRIM_THRESHOLD, _ALL)
    return _give_back


def _give_back() -> None:
    _call("mallopt", _MMAP_MAX, _MMAP_DEFAULT)
    _call("mallopt", _TRIM_THRESHOLD, _TRIM_DEFAULT)
    trim()


# Keeps freed memory in this process until the end of a block. Without glibc nothing changes.
keep_freed_memory = Counted(_keep)


def trim() -> None:
    """Give what is free back to the system; without glibc nothing happens.

    Each thread that ends leaves up to some tens of megabytes to the next one, which may take another heap.
    """
    _call("malloc_trim", 0)


def _call(function: str, *given: int) -> None:
    """Call a function of glibc, if this is glibc."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        getattr(ctypes.CDLL(None), function)(*given)
