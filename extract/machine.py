"""What this machine gives to this process: cores, memory and file systems, asked for without changing anything."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_CGROUPS = Path("/sys/fs/cgroup")


class Memory(NamedTuple):
    """Bytes of memory; None where the system does not tell. ``limit`` is that of the container or of a batch job."""

    total: int | None
    available: int | None
    limit: int | None


def cores() -> int:
    """Return how many cores this process may use: of those that the system lets it run on, as many as its quota is."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, max(math.ceil(quota() or allowed), 1))


def quota() -> float | None:
    """Return how many cores' time a container or job may take; None if that is not limited."""
    limits = []
    for folder in _groups("cpu"):
        for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
            with contextlib.suppress(OSError, ValueError):  # ValueError: no limit
                text = " ".join((folder / name).read_text(encoding="ascii") for name in names)
                time, period = map(int, text.split())
                if time > 0 < period:
                    limits.append(time / period)
    return min(limits, default=None)


def memory() -> Memory:
    """Return what memory there is."""
    total = available = None
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = {line.partition(":")[0]: 1024 * int(line.split()[1]) for line in lines if line.endswith("kB")}
        total, available = sizes.get("MemTotal"), sizes.get("MemAvailable")
    with contextlib.suppress(OSError, ValueError, AttributeError):  # of macOS, too
        total = total or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = []
    for folder in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # ValueError: no limit
                limits.append(int((folder / name).read_text(encoding="ascii")))
    limit = min(limits, default=None)
    return Memory(total, available, limit if limit and limit < (total or 2**60) else None)


def file_system(path: Path) -> str:
    """Return the kind of file system that a path is on, such as ext4 or nfs4; empty where the system does not tell."""
    whole = os.path.realpath(path)
    kind, longest = "", -1
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text(errors="surrogateescape").splitlines():
            _, place, name, *_ = line.split(" ")
            place = place.replace("\\040", " ")
            inside = whole == place or whole.startswith(place.rstrip("/") + "/")
            if inside and len(place) >= longest:  # what was mounted last hides the others
                kind, longest = name, len(place)
    return kind


def _groups(controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups that this process is in, its own first, of both versions."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            root = _CGROUPS / controllers if controllers else _CGROUPS
            inner = Path(path.lstrip("/"))
            yield from dict.fromkeys(root / part for part in (inner, *inner.parents))
