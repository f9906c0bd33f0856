"""Files: read without waiting for what is no regular file, and written to appear whole and survive a power loss.

Every write into a cache goes through here, with plain system calls that tests can make fail: temporary name, fsync,
final name, fsync of the folder. Every step is needed: without the file's fsync a name may point to nothing after a
power loss, without the folder's the name may be gone.
"""

import contextlib
import errno
import hashlib
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError
from . import system
from .processes import Process

logger = logging.getLogger(__name__)

BLOCK_BYTES = 2**18
LFS_POINTER = b"version https://git-lfs.github.com/spec/"  # what Git LFS leaves in place of a file not yet fetched

# What a file system without hard links answers to link(), and one that cannot sync folders to fsync().
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EROFS}

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.BINARY

_RANDOM = 8  # digits at the end of a temporary file's name

_synced: set[Path] = set()  # folders whose names this process has made durable


class _ThreadBuffer(threading.local):
    """Where a thread reads: new memory for each file would cost as much as reading, as the system clears it first."""

    def __init__(self) -> None:
        self.block = memoryview(bytearray(BLOCK_BYTES))


_buffer = _ThreadBuffer()


def blocks(file: BinaryIO) -> Iterator[memoryview]:
    """Yield the rest of an unbuffered file block by block; each block is valid until the next is requested."""
    block = _buffer.block
    while count := file.readinto(block):  # type: ignore[attr-defined]
        yield block[:count]


def open_regular(path: Path | str, *, streams: bool = False, buffering: int = -1) -> BinaryIO:
    """Open a file to read.

    Parameters
    ----------
    streams
        Take a FIFO, too, such as a shell's ``<(command)``; one that nobody writes to is empty.
    buffering
        As of :func:`open`.

    Raises
    ------
    OSError
        There is none, or it is no regular file: a FIFO would block, and a device never end.
    """
    try:
        # What is no regular file is not opened at all: opening alone rewinds a tape.
        _require_regular(os.stat(path).st_mode, streams)  # noqa: PTH116
        descriptor = system.open_to_wait_for_nobody(path, os.O_RDONLY)
    except ValueError as error:  # a null byte in the name
        raise OSError(errno.EINVAL, str(error)) from error
    try:
        _require_regular(os.fstat(descriptor).st_mode, streams)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb", buffering)


def read_regular(path: Path | str) -> bytes:
    """Return what is in a file; raises as :func:`open_regular`."""
    with open_regular(path) as file:
        return file.read()


def hash_file(path: Path | str) -> bytes | OSError:
    """Return a file's sha256, or why it cannot be read."""
    sha = hashlib.sha256()
    try:
        with open_regular(path, buffering=0) as file:
            for block in blocks(file):
                sha.update(block)
        return sha.digest()
    except OSError as error:
        return error


def require_fetched(path: Path | str) -> None:
    """Refuse a pointer of Git LFS in place of a file; what cannot be read is for whoever reads it.

    Raises DataError with the command that fetches the file.
    """
    with contextlib.suppress(OSError), open_regular(path) as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise DataError(f"{path} is a pointer of Git LFS, and not the file. Fetch it: git lfs pull")


def _require_regular(mode: int, streams: bool) -> None:
    if not stat.S_ISREG(mode) and not (streams and stat.S_ISFIFO(mode)):
        raise OSError(errno.EINVAL, "it is not a regular file")


def publish(data: bytes, final: Path, temporary: Path, root: Path | None = None) -> None:
    """Make ``data`` appear at ``final``, whole and durable, or not at all; a file of that name is left as it is.

    The content counts as saved only after this returns. A failed fsync is final: the temporary file is removed, not
    synced again, because the system may have dropped the pages that it could not write.

    Parameters
    ----------
    temporary
        Folder on the same file system for the file while it is being written.
    root
        A folder above both that is not created if it is gone.
    """
    make_folder(temporary, root)
    make_folder(final.parent, root)
    _put(final, data, link, temporary / f"{final.stem}.{_mark()}")


def replace(path: Path, data: bytes) -> None:
    """Replace the content of ``path``, whole and durable: a reader sees the old or the new content, never a part."""
    _put(path, data, system.replace, temporary_name(path))


def create(path: Path, data: bytes) -> None:
    """Create a file, whole and durable; one of that name is left as it is."""
    _put(path, data, link, temporary_name(path))


def _put(path: Path, data: bytes, give_name: Callable[[Path, Path], object], temporary_file: Path) -> None:
    try:
        _write(temporary_file, data)
        give_name(temporary_file, path)
    finally:
        with contextlib.suppress(OSError):  # a leftover is never read, and gc removes it
            temporary_file.unlink(missing_ok=True)
    sync_folder(path.parent)


def make_folder(folder: Path, root: Path | None = None) -> None:
    """Create a folder and its parents below `root`, so that each survives a power loss.

    The process that created a folder may have been killed before it synced the name. So an existing one is synced
    again, once per process. Its parents are safe: they were synced before it was created.
    """
    exists = folder.is_dir()
    if exists and folder in _synced:
        return
    if not exists:
        if folder.parent != root:
            make_folder(folder.parent, root)
        folder.mkdir(exist_ok=True)
    with contextlib.suppress(PermissionError) if exists else contextlib.nullcontext():  # may be another user's
        sync_folder(folder.parent)
    _synced.add(folder)


def sync_folder(folder: Path) -> bool:
    """Make the names in a folder durable; False where the file system cannot do that."""
    try:
        system.sync_names(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
        logger.debug("%s cannot be synced (%s): its names survive a crash, not a power loss", folder, error.strerror)
        return False
    return True


def temporary_name(path: Path) -> Path:
    """Return a new name beside a file, to write its content under; see :func:`writer_of`."""
    return path.with_name(f".{path.name}.{_mark()}")


def writer_of(temporary_file: Path) -> Process | None:
    """Return the process that writes, or wrote, a temporary file of this module; None if it is not one."""
    _, *mark = temporary_file.name.rsplit(".", 2)
    return Process.parse(mark[0]) if len(mark) == 2 and len(mark[1]) == _RANDOM else None


def _mark() -> str:
    return f"{Process.mine().token}.{os.urandom(_RANDOM // 2).hex()}"


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, _NEW, 0o666)  # less the umask: users may share a cache
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link(temporary_file: Path, final: Path) -> None:
    """Give a file its name; a file of that name is left as it is.

    Why not rename: it would replace a shard that others have listed, and their next read would have to list anew.
    """
    if hasattr(os, "link"):
        try:
            os.link(temporary_file, final)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno not in _NO_LINKS and system.has_links(error):
                raise
        else:
            return
    # Atomic too. On Windows it leaves a file of that name; elsewhere that of another writer, which holds the same.
    with contextlib.suppress(FileExistsError):
        if not os.path.lexists(final):
            temporary_file.rename(final)
