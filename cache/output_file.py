"""Output files: checked before anything is computed, and never put in the place of a device, a FIFO or a link."""

import contextlib
import errno
import functools
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from ..errors import DataError, FC7Error, UsageError
from . import system
from .files import make_folder, replace, sync_folder, temporary_name, writer_of
from .processes import is_abandoned
from .urls import URL, is_url, without_secrets

_FILES = (".csv", ".fc7", ".html", ".json", ".md", ".parquet", ".pdf")  # suffixes that no folder has
_LINKS = 40  # that are followed, as the system does


class OutputFile:
    """A file that a person named for a result.

    A regular file is replaced whole or not at all, and keeps its mode; a name that is free gets a new one. A link
    stays, and what it leads to is written. Devices, FIFOs and descriptors such as ``/dev/stdout`` are written through.

    Parameters
    ----------
    path
        Its folder need not exist.
    error
        The class of the error that is raised.
    kinds
        The suffixes that tell what is written; a name with another one is refused. By default any.

    Raises
    ------
    UsageError
        The name has the suffix of something else.
    FC7Error
        Of the class `error`: it cannot be written. It is a folder, a disk, a terminal, a socket or a FIFO that nobody
        reads, or it is not permitted. Or it is a URL.
    """

    def __init__(self, path: Path | str, error: type[FC7Error] = DataError, *, kinds: Collection[str] = ()) -> None:
        self.path = Path(path)
        _require_local(self.path, error)
        self._refusing = functools.partial(_refusing, str(self.path), error)
        with self._refusing():
            self._stream = _stream(self.path)  # held from now on: a reader would take its end for the end of the file
            self._target = Path(os.path.realpath(self.path))
            if self._stream is None:
                if kinds and self.path.suffix:
                    kind_by_suffix(self.path, kinds)
                _require_replaceable(self._target)

    @property
    def written_through(self) -> bool:
        """Whether it is a device, a FIFO or a descriptor, which nothing replaces."""
        return self._stream is not None

    def write(self, data: bytes) -> Path:
        """Write the whole content, and return the path that was given.

        Raises
        ------
        FC7Error
            It cannot be written. A regular file is as it was.
        """
        with self._refusing():
            if self._stream is None:
                make_folder(self._target.parent)
                remove_leftovers(self._target)
                with _same_mode(self._target):
                    replace(self._target, data)
            else:
                with os.fdopen(self._stream, "wb") as stream:
                    stream.write(data)
        return self.path

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """Yield a name to write the content under; it becomes the file when the block ends without an error.

        Raises as :meth:`write`.
        """
        target = self._target
        if self._stream is not None:
            target = Path(tempfile.gettempdir(), self.path.name)
        with self._refusing():
            make_folder(target.parent)
            remove_leftovers(target)
            temporary_file = temporary_name(target)
        try:
            with self._refusing():
                yield temporary_file
                if self._stream is None:
                    with temporary_file.open("r+b") as written:  # Windows syncs only what may be written
                        os.fsync(written.fileno())
                    with _same_mode(target):
                        system.replace(temporary_file, target)
                    sync_folder(target.parent)
                else:
                    with temporary_file.open("rb") as content, os.fdopen(self._stream, "wb") as stream:
                        shutil.copyfileobj(content, stream)
        finally:
            with contextlib.suppress(OSError):
                temporary_file.unlink(missing_ok=True)


def require_apart(*outputs: OutputFile | None, read: Iterable[Path | str] = ()) -> None:
    """Refuse an output that is also read, or is another output: what it holds would be lost.

    Parameters
    ----------
    read
        Files that the result is computed from.

    Raises
    ------
    DataError
        Names the output.
    """
    taken = {os.path.realpath(path): "what is read" for path in read}
    for output in outputs:
        if output is None or output.written_through:
            continue
        target = os.path.realpath(output.path)
        if target in taken:
            raise DataError(f"{output.path} is {taken[target]}, and would be replaced. Name another file.")
        taken[target] = "named for two outputs"


def require_folder(path: Path | str, data: Path | str | None = None) -> None:
    """Refuse, before anything is computed, a folder for results that cannot be made or written in.

    Parameters
    ----------
    data
        The data set, in whose folder the pictures of the results would be images.

    Raises
    ------
    DataError
        It is a URL or no folder, it is not permitted, or it is in the data set.
    UsageError
        Its name is that of a file.
    """
    _require_local(path, DataError)
    if Path(path).suffix.lower() in _FILES and not Path(path).is_dir():
        raise UsageError(f"{path}: what is written is a folder, and this looks like a file. Name one without suffix.")
    with _refusing(f"The folder {path}", DataError):
        folder = Path(os.path.realpath(path))
        _require_writable_folder(folder)
    if data is not None and Path(os.path.realpath(data)) in (folder, *folder.parents):
        raise DataError(f"The folder {path} is in {data}, which would change the data set. Name one beside it.")


@contextlib.contextmanager
def _refusing(what: str, kind: type[FC7Error]) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise kind(f"{what} cannot be written: {getattr(error, 'strerror', None) or error}.") from error


def _require_local(path: Path | str, kind: type[FC7Error]) -> None:
    if is_url(str(path)):  # as a path it would be a folder `s3:`
        raise kind(f"{without_secrets(URL(str(path)))} is not on this machine. Write here, and copy it there.")


def kind_by_suffix(path: Path, kinds: Collection[str]) -> str:
    """Return the suffix of a file to write, in small letters; raises UsageError if it is none that can be written."""
    suffix = path.suffix.lower()
    if suffix not in kinds:
        raise UsageError(f"{path}: the suffix decides what is written, and is one of {', '.join(kinds)}.")
    return suffix


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed writers of `path` have left beside it."""
    with contextlib.suppress(OSError):  # who may not remove them leaves them
        for leftover in path.parent.iterdir():
            writer = writer_of(leftover) if leftover.name.rsplit(".", 2)[0] == f".{path.name}" else None
            if writer and is_abandoned(leftover, writer):
                leftover.unlink(missing_ok=True)


def _stream(path: Path) -> int | None:
    """Return a descriptor of what is written through; None for a regular file, and for a name that is free."""
    number = _own_descriptor(path)
    if number is not None:
        descriptor = os.dup(number)  # at the place where the others write, and not at the beginning
    else:
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return None
        if stat.S_ISREG(mode):
            return None
        _require_kind(mode)
        descriptor = _opened(path)
    if os.isatty(descriptor):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a terminal. Name a file")
    return descriptor


def _own_descriptor(path: Path) -> int | None:
    """Return the number of the descriptor that a name such as ``/dev/stdout`` stands for."""
    name = os.path.abspath(path)  # noqa: PTH100 - links are followed one by one
    for _ in range(_LINKS):
        folder, last = os.path.split(name)
        if last.isdecimal() and os.path.realpath(folder) == f"/proc/{os.getpid()}/fd":
            return int(last)
        if not os.path.islink(name):  # noqa: PTH114
            return None
        name = os.path.join(folder, os.readlink(name))  # noqa: PTH115, PTH118
    return None


def _require_kind(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, "it is a folder. Name a file in it")
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise OSError(errno.EINVAL, f"it is a {'disk' if stat.S_ISBLK(mode) else 'socket'}. Name a file")


def _opened(path: Path) -> int:
    try:
        return system.open_to_wait_for_nobody(path, os.O_WRONLY)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "it is a FIFO that nobody reads. Begin to read it first") from error
        raise


def _require_replaceable(path: Path) -> None:
    """Refuse a file that the system would not let this process replace."""
    if refusal := system.refusal_of_name(path.name):
        raise OSError(errno.EINVAL, refusal)
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    _require_writable_folder(path.parent)
    with contextlib.suppress(FileNotFoundError):
        temporary_name(path).lstat()  # any call says that a name is too long


def _require_writable_folder(folder: Path) -> None:
    """Refuse a folder in which, or in the first of those above it that exists, nothing can be made."""
    above = folder
    while True:
        try:
            above.lstat()
            break
        except FileNotFoundError:
            above = above.parent
    try:
        with tempfile.TemporaryFile(dir=above):  # where the system can, without a name
            pass
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} in {above}") from error


@contextlib.contextmanager
def _same_mode(path: Path) -> Iterator[None]:
    """Let the file that takes the place of another have its mode."""
    before = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    yield
    if before is not None:
        path.chmod(before)
