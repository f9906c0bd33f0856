"""What is in a tar or zip, and the bytes of one member: nothing is unpacked, so no name can lead out of a folder.

An archive is listed once in each process. That takes about 150 bytes for each member.
"""

import contextlib
import errno
import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, Self

from ...cache.files import open_regular, require_fetched
from ...cache.index import stat_line
from ...cache.processes import Lock
from ...cache.system import read_bytes_at
from ...errors import DataError

TAR, ZIP = ".tar", ".zip"
MOST_MEMBERS = 5_000_000
_MOST_KEPT = 2_000_000  # members of all archives that a process remembers, or those of the last one

_MOST_HEADERS = 2**28  # bytes; of a zip all names at once, which take 15 times as much
_ZIP_HEADER = struct.Struct("<26xHH")  # lengths of the name and of what follows it, before a member's bytes
_IN_UTF_8 = 0x800  # flag of a zip's member: its name
_OVERHEAD = 2**16  # bytes by which what is stored may exceed what it holds


class Place(NamedTuple):
    """Where a member's bytes are in its archive. Of a tar, ``stored`` is ``size``, and there is no checksum."""

    start: int
    stored: int
    size: int
    method: int = zipfile.ZIP_STORED
    checksum: int = 0


_Members = Iterator[tuple[str, Place | str]]  # the name that the archive has, and where it is, or why it is not read


class Directory:
    """The members of an archive, sorted by name.

    Attributes
    ----------
    identity
        Of the file when it was listed.
    names
        Of the members that can be read: relative, without ``.`` and ``..``.
    refused
        The names of others, and why they cannot. What leads out of the archive has the name that the archive has for
        it. Of members with one name the last is read, as everywhere, and the others are here.
    """

    def __init__(self, identity: str, members: _Members) -> None:
        self.identity, self.refused = identity, list[tuple[str, str]]()
        numbers: dict[str, int] = {}
        self._places = array("Q")
        for count, (name, place) in enumerate(members, start=1):
            if count > MOST_MEMBERS:
                raise DataError(f"more than {MOST_MEMBERS} members. Write several archives")
            relative, reason = _relative(name)
            if reason or isinstance(place, str):
                self.refused.append((relative or name, reason or str(place)))
                continue
            if relative in numbers:
                self.refused.append((relative, "a later member of the archive has the same name"))
            numbers[relative] = len(self._places) // len(place)
            try:
                self._places.extend(place)
            except OverflowError as error:
                raise DataError(f"damaged: {name!a} is at {place.start}, with {place.size} bytes") from error
        self.names = sorted(numbers)
        self._numbers = array("I", map(numbers.__getitem__, self.names))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> Place:
        """Return where a member's bytes are; raises KeyError."""
        row = bisect_left(self.names, name)
        if row == len(self.names) or self.names[row] != name:
            raise KeyError(name)
        width = len(Place._fields)
        first = self._numbers[row] * width
        return Place(*self._places[first : first + width])


class Archive:
    """An open archive, until the end of the block.

    Attributes
    ----------
    path
        Of its file.
    directory
        What is in it.

    Raises
    ------
    DataError
        It is damaged, or no archive of this kind.
    OSError
        It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.path, self._zip = path, path.lower().endswith(ZIP)
        self._file = open_regular(path)
        try:
            self.directory = _directory(path, self._file, _zip_members if self._zip else _tar_members)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, member: str, most: int) -> bytes:
        """Return the bytes of a member; raises OSError if it is absent, damaged or has more than `most` bytes."""
        try:
            place = self.directory[member]
        except KeyError as error:
            raise FileNotFoundError(errno.ENOENT, "there is no such member in the archive") from error
        if place.size > most:
            raise OSError(errno.EFBIG, f"{place.size} bytes, more than {most}")
        descriptor = self._file.fileno()
        return _unzipped(descriptor, place) if self._zip else _read(descriptor, place.start, place.size)


_kept: OrderedDict[str, Directory] = OrderedDict()
_listing = Lock()


def _directory(path: str, file: BinaryIO, members: Callable[[BinaryIO], _Members]) -> Directory:
    """Return what is in an open archive, listing it if it is not known as it is now."""
    identity = stat_line(os.fstat(file.fileno()))
    with _listing:  # one thread lists, and the others wait for what it finds
        known = _kept.get(path)
        if known is None or known.identity != identity:
            require_fetched(path)
            try:
                known = Directory(identity, members(file))
            except DataError as error:
                raise DataError(f"{path} cannot be read: {error}.") from error
            _kept[path] = known
            _kept.move_to_end(path)
            while len(_kept) > 1 and sum(map(len, _kept.values())) > _MOST_KEPT:
                _kept.popitem(last=False)
        _kept.move_to_end(path)
    return known


def _relative(name: str) -> tuple[str, str]:
    """Return the plain form of a member's name, and why it has none."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        return "", "its name leads out of the archive"
    return "/".join(parts), "" if parts else "it has no name"


class _Headers(io.BufferedReader):
    """An open archive for the modules that list it: they read names and sizes at once, and no more than can be."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(open(file.fileno(), "rb", buffering=0, closefd=False))  # noqa: SIM115 - an open one

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MOST_HEADERS:
            raise DataError(f"its list of names has more than {_MOST_HEADERS >> 20} MB. Write several archives")
        return super().read(_MOST_HEADERS if size is None or size < 0 else size)


_NO_FILE = "not a regular file"


def _tar_members(file: BinaryIO) -> _Members:
    try:
        with _Headers(file) as headers, tarfile.open(fileobj=headers, mode="r:") as archive:
            while member := archive.next():
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep a kilobyte of each
                if member.isdir():
                    continue
                if member.issparse() or not member.isreg():
                    yield member.name, "a link, which is not followed" if member.islnk() or member.issym() else _NO_FILE
                else:
                    yield member.name, Place(member.offset_data, member.size, member.size)
            headers.seek(archive.offset)
            if any(headers.read(tarfile.BLOCKSIZE)):  # the module takes a damaged header for the end
                raise DataError(f"it is damaged at byte {archive.offset}")
    except (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"no tar, or damaged: {error}") from error


def _zip_members(file: BinaryIO) -> _Members:
    try:
        with _Headers(file) as headers, zipfile.ZipFile(headers) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error, EOFError) as error:
        raise DataError(f"no zip, or damaged: {error}") from error
    for member in members:
        if member.is_dir():
            continue
        name = _zip_name(member)
        kind = stat.S_IFMT(member.external_attr >> 16)  # zero where systems without kinds of files wrote it
        if kind == stat.S_IFLNK:
            yield name, "a link, which is not followed"
        elif kind not in (0, stat.S_IFREG):
            yield name, _NO_FILE
        elif member.flag_bits & 1:
            yield name, "encrypted"
        elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            yield name, f"compressed by method {member.compress_type}; zip it with deflate"
        else:
            sizes = member.compress_size, member.file_size
            yield name, Place(member.header_offset, *sizes, member.compress_type, member.CRC)


def _zip_name(member: zipfile.ZipInfo) -> str:
    """Return a member's name: macOS writes UTF-8 and does not say so, and the module takes it for the DOS code page."""
    if member.flag_bits & _IN_UTF_8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode()
    except UnicodeError:
        return member.filename


def _unzipped(descriptor: int, place: Place) -> bytes:
    """Return the bytes of a zip's member. Not zipfile: it would list the archive for each, or lock it for all."""
    if place.stored > place.size + _OVERHEAD:
        raise OSError(errno.EIO, f"damaged: {place.stored} bytes hold {place.size}")
    header = _read(descriptor, place.start, _ZIP_HEADER.size)
    stored = _read(descriptor, place.start + len(header) + sum(_ZIP_HEADER.unpack(header)), place.stored)
    data = stored
    if place.method == zipfile.ZIP_DEFLATED:
        with contextlib.suppress(zlib.error):  # the checksum says it, too
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, place.size + 1)
    if len(data) != place.size or zlib.crc32(data) != place.checksum:
        raise OSError(errno.EIO, "damaged in the archive: its checksum is another")
    return data


def _read(descriptor: int, start: int, size: int) -> bytes:
    data = read_bytes_at(descriptor, size, start) if start < 2**62 else b""
    if len(data) < size:
        raise OSError(errno.EIO, "the archive ends before it does")
    return data
