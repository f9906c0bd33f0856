"""The reaper: a small process that ends what we started if we are killed before we can do so.

When a driver is killed, its children end, but not their children: two processes of Ray would stay for another minute.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_PROC = Path("/proc")

# It reads until the pipe ends, which is when we end; a word in the pipe means that nothing is to be done.
_PROGRAM = """
import os, shutil, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
if not sys.stdin.read():
    for process in sys.argv[2:]:
        pid, _, born = process.partition(":")
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[19] == born:
                    os.kill(int(pid), signal.SIGKILL)
        except OSError:
            pass
    shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


@contextlib.contextmanager
def reaper(folder: Path, processes: Iterable[str]) -> Iterator[None]:
    """Remove a folder and end processes if we are killed within the block.

    Without Linux's list of processes nothing is done.

    Parameters
    ----------
    processes
        Some of what :func:`descendants` returned.
    """
    if not (_PROC / "self" / "stat").exists():
        yield
        return
    words = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(folder), *sorted(processes)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # it may have been killed
                process.communicate(b"done")


def descendants() -> set[str]:
    """Return the processes that came from this one: pid and time of birth, which together name a process for good."""
    parents: dict[int, int] = {}
    born: dict[int, str] = {}
    for stat in _PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            pid = int(stat.parent.name)
            parents[pid], born[pid] = int(fields[1]), fields[19]
    family = {os.getpid()}
    while children := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= children
    return {f"{pid}:{born[pid]}" for pid in family - {os.getpid()}}
