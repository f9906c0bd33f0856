"""What operating systems differ in: calls that some lack, and what keeps the same promise there, or refuses.

Each call is looked for, and no system is asked for its name: a network mount or a small container lacks some, too.
"""

import contextlib
import errno
import operator
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Windows would change line feeds in what is written to a descriptor; other systems have no such flag.
BINARY: int = getattr(os, "O_BINARY", 0)

PATIENCE = 2.0  # seconds in which a scanner or a reader closes a file

_IN_USE = {5, 32}  # Windows' numbers: access denied, sharing violation
_NO_LINKS = {1, 50}  # Windows' numbers on a file system without hard links: no such function, not supported
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
_MAX_PATH = 260
_FORBIDDEN = frozenset('<>:"|?*')

_seeking = threading.Lock()  # where a read needs the file's position, which threads share

# Asked for each of a million paths.
is_absolute: Callable[[str], bool] = os.path.isabs if os.name == "nt" else operator.methodcaller("startswith", "/")


def read_at(descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
    """Fill buffers from a place in a file, and return the number of bytes; fewer than asked for are no error."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, buffers, offset)
    data = read_bytes_at(descriptor, len(buffers[0]), offset)
    buffers[0][: len(data)] = data
    return len(data)


def read_bytes_at(descriptor: int, size: int, offset: int) -> bytes:
    """Return bytes from a place in a file; fewer than asked for are no error. Threads may share the descriptor."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    with _seeking:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size)


def open_to_wait_for_nobody(path: Path | str, flags: int) -> int:
    """Open a file, a device or a FIFO without waiting for its other end; what is read or written later does wait."""
    nonblock = getattr(os, "O_NONBLOCK", 0)  # Windows has no FIFOs that a path can name
    descriptor = os.open(path, flags | nonblock | getattr(os, "O_NOCTTY", 0) | BINARY)
    if nonblock:
        os.set_blocking(descriptor, True)
    return descriptor


def sync_names(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises
    ------
    OSError
        The file system cannot do that; ENOTSUP where no folder can be opened, as on Windows.
    """
    if not hasattr(os, "O_DIRECTORY"):
        raise OSError(errno.ENOTSUP, "this system opens no folders", str(folder))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_lock_of(folder: Path) -> int:
    """Open what stands for a folder that is to be locked: itself, or a file in it where folders cannot be opened."""
    if hasattr(os, "O_DIRECTORY"):
        return os.open(folder, os.O_RDONLY)
    return os.open(folder / ".fc7-lock", os.O_RDWR | os.O_CREAT, 0o666)


def lock(descriptor: int) -> None:
    """Lock a file for this process; the system releases it when the file is closed, even by a crash.

    Raises
    ------
    BlockingIOError
        Another process has locked it.
    OSError
        There are no locks here.
    """
    with contextlib.suppress(ImportError):
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    try:
        import msvcrt
    except ImportError:
        raise OSError(errno.ENOTSUP, "this Python has no locks of files") from None
    windows: Any = msvcrt
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        windows.locking(descriptor, windows.LK_NBLCK, 1)
    except PermissionError as error:
        raise BlockingIOError(errno.EAGAIN, "locked by another process") from error


def has_links(error: OSError) -> bool:
    """Return whether a hard link failed for another reason than that this file system has none."""
    return getattr(error, "winerror", None) not in _NO_LINKS


def is_in_use(error: OSError) -> bool:
    """Return whether Windows renames or removes no file now because a process has it open."""
    return getattr(error, "winerror", None) in _IN_USE


def replace(source: Path, target: Path) -> None:
    """Give a file the name of another one. On Windows, readers of the other get a moment to close it.

    Raises
    ------
    OSError
        The system refuses, or they have not.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            source.replace(target)
        except PermissionError as error:
            if not is_in_use(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def node() -> str:
    """Return this machine's name."""
    if hasattr(os, "uname"):
        return os.uname().nodename
    import platform

    return platform.node()


def has_ended(pid: int) -> bool:
    """Return whether no process has this number; False where that cannot be told, or needs a permission."""
    if os.name == "nt":  # there, os.kill(pid, 0) sends Ctrl-C
        return _has_ended_on_windows(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # no process can have a number that is too large
        return True
    except (OSError, AttributeError):  # another user's, so it is alive
        return False
    return False


def _has_ended_on_windows(pid: int) -> bool:
    import ctypes

    if pid >= 2**32:
        return True
    windows: Any = ctypes
    kernel = windows.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = kernel.CloseHandle.argtypes = ctypes.c_void_p
    synchronize, invalid_parameter, timeout = 0x100000, 87, 0x102
    handle = kernel.OpenProcess(synchronize, False, pid)
    if not handle:
        return bool(windows.get_last_error() == invalid_parameter)
    try:
        return bool(kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) != timeout)
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))


def refusal_of_name(name: str, *, windows: bool = os.name == "nt") -> str:
    """Return why Windows gives no file this name; empty if it does, and on other systems."""
    if not windows:
        return ""
    if _RESERVED.fullmatch(name):
        return f"{name} is the name of a device on Windows. Name another file"
    if letters := _FORBIDDEN.intersection(name):
        return f"Windows has no {' '.join(sorted(letters))} in names. Name another file"
    return "Windows drops dots and spaces at the end. Name another file" if name.endswith((".", " ")) else ""


def refusal_of_length(folder: Path, below: int, *, windows: bool = os.name == "nt") -> str:
    """Return why Windows takes no paths that are so many characters longer than a folder's; empty if it does."""
    most = _MAX_PATH - below
    length = len(os.path.abspath(folder))  # noqa: PTH100 - as Windows counts it
    if not windows or length < most or _long_paths():
        return ""
    return (
        f"its path has {length} characters, and Windows takes {most - 1} here. Name a folder nearer to the drive with "
        "--cache, or have long paths enabled (LongPathsEnabled in the registry)."
    )


def _long_paths() -> bool:
    try:
        import ctypes

        windows: Any = ctypes
        return bool(windows.WinDLL("ntdll").RtlAreLongPathsEnabled() & 0xFF)
    except (AttributeError, OSError):
        return False
