"""Images inside of files: ``photos.tar!/ants/1.jpg``, ``photos.zip!/bee.png``, ``table.parquet!/image/17``.

Such an address is text like any path: a row of a manifest, a name in the index, what another process is given.
"""

import atexit
import errno
import hashlib
import io
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ...cache.index import stat_line
from ...cache.output_file import OutputFile, require_apart
from ...errors import DataError
from ..archives.directory import TAR, ZIP, Archive
from ..archives.parquet_cells import read_cell

TABLE = ".parquet"
_MARK = "!/"
_ADDRESS = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, (TAR, ZIP, TABLE)))}))!/(.+)", re.I | re.S)
_NEVER = 2**63  # a time in the far future: what has it is read again in every run


def split(file: str) -> tuple[str, str]:
    """Return the file that an address leads into, and the member; both empty if it is a path like others.

    >>> split("/a/photos.tar!/ants/1.jpg"), split("/a/ants!/1.jpg")
    (('/a/photos.tar', 'ants/1.jpg'), ('', ''))
    """
    if _MARK not in file:
        return "", ""
    address = _ADDRESS.fullmatch(file)
    return (address[1], address[2]) if address else ("", "")


def is_member(file: str) -> bool:
    """Return whether a path is the address of an image inside of a file."""
    return _MARK in file and bool(split(file)[0])


def is_in_table(file: str) -> bool:
    """Return whether that is a cell of a table, whose name has no suffix."""
    return split(file)[0].lower().endswith(TABLE)


def require_outside(*outputs: OutputFile, files: Iterable[str]) -> None:
    """Refuse an output that is there and has some of these images in it; raises as :func:`require_apart`."""
    if any(output.path.exists() for output in outputs):
        require_apart(*outputs, read={split(file)[0] for file in files if is_member(file)})


def read_member(file: str, most: int) -> bytes:
    """Return the bytes of an image inside of a file.

    Raises
    ------
    OSError
        It cannot be read, is damaged, or has more than `most` bytes (``EFBIG``), of which none is kept.
    MissingExtra
        It is in a table, and pyarrow is not installed.
    """
    outer, member = split(file)
    if not outer.lower().endswith(TABLE):
        try:
            with Archive(outer) as archive:
                return archive.read(member, most)
        except DataError as error:  # it changed since it was listed
            raise OSError(errno.EIO, str(error)) from error
    column, _, row = member.rpartition("/")
    if not row.isdecimal():
        raise FileNotFoundError(errno.ENOENT, "an image in a table is named like table.parquet!/column/17")
    return read_cell(outer, column, int(row), most)


class Members:
    """Identities and hashes of images inside of files, which the index asks for in place of the file system.

    The file around it identifies an image: one that is as it was before is not opened.

    Parameters
    ----------
    most
        Bytes of an image.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._identities: dict[str, str | OSError] = {}

    def identity(self, file: str) -> str | OSError | None:
        """Return what stands for the content of an image inside of a file, None for other files."""
        if _MARK not in file:
            return None
        outer, _ = split(file)
        if not outer:
            return None
        if outer not in self._identities:
            self._identities[outer] = _identity(outer)
        return self._identities[outer]

    def sha256(self, file: str) -> bytes | OSError:
        """Return the hash of an image inside of a file, or why it has none."""
        try:
            return hashlib.sha256(read_member(file, self._most)).digest()
        except OSError as error:
            return error


def _identity(file: str) -> str | OSError:
    try:
        status = os.stat(file)  # noqa: PTH116 - not Path, as all of this is text
    except OSError as error:
        return error
    except ValueError as error:  # a null byte
        return OSError(errno.EINVAL, str(error))
    return f"{status.st_size} {_NEVER}" if file in _spools else stat_line(status)


_spools: set[str] = set()


def spool(images: Iterable[tuple[str, bytes]]) -> Path:
    """Write images, given as name and bytes, to a temporary tar that lives as long as this process; return its path.

    The address of each is ``<path>!/<name>``, which other processes of this machine can read.
    """
    folder, process = tempfile.mkdtemp(prefix="fc7-"), os.getpid()

    def remove() -> None:
        if os.getpid() == process:  # and not a child that was forked
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    path = Path(folder, "images.tar")
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in images:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
            archive.members.clear()  # type: ignore[attr-defined]  # as in directory.py
    _spools.add(str(path))
    return path
