import json
import platform
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back at once")
SIZE = 64 * 2**20

# In a process of its own: a thread that was once refused memory gets it from another place from then on.
FAULTS = f"""
import ctypes, json, resource
from fc7.extract.engines.malloc import keep_freed_memory

def faults():
    "Return how many pages the system had to map for one large block that is written to and freed."
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc({SIZE})
    ctypes.memset(block, 1, {SIZE})
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with keep_freed_memory():
    faults()
    with keep_freed_memory():
        inner = faults()
    outer = faults()
print(json.dumps([inner, outer, faults()]))
"""


@glibc
def test_memory_is_kept_inside_the_block_and_given_back_after_it():
    said = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout
    inner, outer, after = json.loads(said)
    assert inner < 100
    assert outer < 100, "the inner block does not end it"
    assert after >= SIZE // 2**21, "pages of 2 MiB at most"
