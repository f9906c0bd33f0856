"""Files that appear whole and survive a power loss: temporary name, fsync, final name, fsync of the folder.

Everything that is written into a cache goes through here with the system's own calls, each of which can fail and be
made to fail in a test. What it costs to leave a step out: without the file's fsync a name may point to nothing after a
power loss, without the folder's the name itself may be gone.
"""

import contextlib
import errno
import logging
import os
from pathlib import Path

from .owner import Process

logger = logging.getLogger(__name__)

# What a file system without hard links answers to link(), and one that cannot sync folders to fsync().
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EROFS}

_synced: set[Path] = set()  # folders whose names this process has made durable


def publish(data: bytes, final: Path, temporary: Path) -> bool:
    """Make ``data`` appear at ``final``, whole and durable, or not at all.

    Only when this returns may what is in it be called done. A failing fsync is final: the temporary file is removed,
    never synced again, because the system may have dropped the pages that it could not write.

    Parameters
    ----------
    temporary
        Folder on the same file system for the file while it is being written.

    Returns
    -------
    bool
        False if the name was already there and was left as it is.
    """
    make_folder(temporary)
    make_folder(final.parent)
    own = temporary / f"{final.stem}.{Process.mine().token}.{os.urandom(4).hex()}"
    try:
        _write(own, data)
        made = _link(own, final)
    finally:
        with contextlib.suppress(OSError):  # what is left over is never read, and gc removes it
            own.unlink(missing_ok=True)
    sync_folder(final.parent)
    return made


def replace(path: Path, data: bytes) -> None:
    """Give ``path`` this content, whole and durable: a reader sees the old or the new one, never a part."""
    own = path.with_name(f".{path.name}.{Process.mine().token}.{os.urandom(4).hex()}")
    try:
        _write(own, data)
        own.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            own.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, each of which survives a power loss.

    One that is there already may be of a process that was killed before it could sync the name, so it is synced again,
    once per process. Those above it are safe: it was made after they were.
    """
    there = folder.is_dir()
    if there and folder in _synced:
        return
    if not there:
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
    with contextlib.suppress(PermissionError) if there else contextlib.nullcontext():  # above the cache: another user's
        sync_folder(folder.parent)
    _synced.add(folder)


def sync_folder(folder: Path) -> bool:
    """Make the names in a folder durable; False where the file system cannot do that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
        logger.debug("%s cannot be synced (%s): its names survive a crash, not a power loss", folder, error.strerror)
        return False
    finally:
        os.close(descriptor)
    return True


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(own: Path, final: Path) -> bool:
    try:
        os.link(own, final)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        own.replace(final)  # atomic too; another writer's file of this name holds the same rows
    return True
