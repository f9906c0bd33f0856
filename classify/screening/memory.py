"""The memory that a network takes while it computes."""

import gc
from collections.abc import Callable
from pathlib import Path

from ...extract.backbones.backbone import Backbone
from ...extract.engines.malloc import trim

_PROCESS = Path("/proc/self")


def watch_memory(backbone: Backbone) -> Callable[[], int | None]:
    """Begin to measure; return a function that returns the peak since then, in bytes.

    On CUDA it is what torch has allocated on the device, else what the process holds, with Python and torch. None where
    the system does not say it.
    """
    gc.collect()  # of the network before
    trim()
    if backbone.device.type == "cuda":
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(backbone.device)
        return lambda: int(torch.cuda.max_memory_allocated(backbone.device))
    try:
        (_PROCESS / "clear_refs").write_text("5")  # begins the peak anew, and does nothing else
    except OSError:
        return lambda: None
    return _peak


def _peak() -> int | None:
    try:
        status = (_PROCESS / "status").read_text()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), None)
