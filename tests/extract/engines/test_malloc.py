import ctypes
import platform
import resource

import pytest

from fc7.extract.engines.malloc import keep_freed_memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back at once")
SIZE = 64 * 2**20


def faults():
    """Return how many pages the system had to map for one large block that is written to and freed."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(SIZE)
    ctypes.memset(block, 1, SIZE)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc
def test_memory_is_kept_inside_the_block_and_given_back_after_it():
    with keep_freed_memory():
        faults()
        with keep_freed_memory():
            assert faults() < 100
        assert faults() < 100, "the inner block does not end it"
    assert faults() >= SIZE // 2**21, "pages of 2 MiB at most"
