"""The index: what fc7 remembers about files it has already read. Derived; delete it at any time.

Three tables: an image or weights file's (path, size, times, inode) -> sha256; a shard's (size, times, inode) -> what it
holds, remembered only after its bytes were checked; and notes, what took seconds to find out. Each row has a checksum,
because sqlite keeps none: a row that a flipped bit has changed is ignored, its file is read again, and the row is
written anew.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from zlib import crc32

from ..errors import CacheError
from .files import hash_file
from .format import KEY_BYTES
from .system import is_absolute
from .urls import is_url

if TYPE_CHECKING:
    from .keys import Keys

logger = logging.getLogger(__name__)

T = TypeVar("T")
FileRow = tuple[bytes, bytes, bytes]  # path, identity, sha256 and CRC of all three

# A file changed twice within one clock step can keep its mtime, so a file this young is hashed again next time.
YOUNG_NS = 2_000_000_000

QUERY = 500  # paths in one query; sqlite caps the number of parameters
THREADS = 4  # that hash files of this machine
TOGETHER = 16  # files at most that a thread takes at once
BLOCK = 16 * QUERY  # files handled at a time; their hashes are remembered before the next ones are read

_VERSION = 3  # of the tables, for versions of fc7 that ask for it; this one compares the tables, letter by letter
_TABLES = {
    "files": """CREATE TABLE files (
  path BLOB PRIMARY KEY, stat TEXT NOT NULL, sha256_and_crc BLOB NOT NULL
) WITHOUT ROWID""",
    "shards": """CREATE TABLE shards (
  recipe TEXT, name TEXT, stat TEXT NOT NULL, offset INTEGER NOT NULL, seconds REAL NOT NULL, keys BLOB NOT NULL,
  rejected TEXT NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (recipe, name)
) WITHOUT ROWID""",
    "notes": """CREATE TABLE notes (
  name TEXT PRIMARY KEY, value TEXT NOT NULL, digest BLOB NOT NULL
) WITHOUT ROWID""",
}
_PUT_FILE = "INSERT OR REPLACE INTO files VALUES (?, ?, ?)"
_RESIDUE = crc32(bytes(4))  # the CRC of any bytes that are followed by their own CRC

_unusable: set[Path] = set()  # indexes of which this process has said that it does without them


class ShardEntry(NamedTuple):
    """What the index knows about one checked shard."""

    stat: str  # identity of the checked file (size, times, inode); another stat means another file
    offset: int  # where its rows begin, in bytes
    seconds: float  # computing time of the shard
    keys: "Keys"  # one per row
    rejected: Mapping[bytes, str]  # keys of files that are not an image, with the reason


class RemoteFiles(Protocol):
    """How to identify and hash files of which some are not on this machine."""

    def identity(self, file: str) -> str | OSError | None:
        """Return what identifies a file's content: size, time in ns (0: settled), more. None: it is on this machine."""

    def sha256(self, file: str) -> bytes | OSError:
        """Return the hash of a file that has an identity."""


class Index:
    """The sqlite file of a cache; it only saves time: if it is absent, locked or damaged, all files are read again."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "index.sqlite"
        self._journal = self.path.with_name(f"{self.path.name}-journal")

    def sha256(self, paths: Iterable[str | os.PathLike[str]]) -> list[bytes | OSError]:
        """Return each file's sha256; see :meth:`hashes`, which builds no list of a million files."""
        return [sha256 for block in self.hashes(paths) for sha256 in block]

    def hashes(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        threads: int = THREADS,
        rehash: bool = False,
        looked: RemoteFiles | None = None,
    ) -> Iterator[list[bytes | OSError]]:
        """Yield the sha256 of the files, block by block, reading only files that changed since the last time.

        A file that cannot be read yields its OSError in place of the hash. Hashes are remembered after each block: a
        process that is killed after hours loses seconds.

        Parameters
        ----------
        rehash
            Read all files: something may have changed a file and restored its size and times.
        looked
            Given if some files are not on this machine.
        """
        files = (os.fspath(path) for path in paths)
        while block := list(itertools.islice(files, BLOCK)):
            yield self._hashes(block, threads, looked, rehash=rehash)

    def _hashes(
        self, files: Sequence[str], threads: int, remote: RemoteFiles | None, *, rehash: bool
    ) -> list[bytes | OSError]:
        prefix = os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118 - a Path for each of a million files is slow
        encoding, errors = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()  # as os.fsencode, but sooner
        identities = [remote.identity(file) for file in files] if remote else []
        wholes = (file if is_absolute(file) or is_url(file) else prefix + file for file in files)
        names = [whole.encode(encoding, errors) for whole in wholes]
        known: dict[bytes, FileRow] = {} if rehash else self._use(lambda db: _look_up(db, names), {})
        results = list(map(_recall, files, map(known.get, names), identities or itertools.repeat(None)))
        todo = [number for number, result in enumerate(results) if isinstance(result, str)]
        if not todo:
            return results  # type: ignore[return-value]

        def hash_of(number: int) -> bytes | OSError:
            far = remote and identities[number] is not None
            return remote.sha256(files[number]) if far else hash_file(files[number])  # type: ignore[union-attr]

        # Many at once: to hand a file to a thread takes as long as to hash a small one.
        size = max(min(len(todo) // (8 * threads), TOGETHER), 1)
        parts = [todo[start : start + size] for start in range(0, len(todo), size)]
        with ThreadPoolExecutor(threads) as pool:
            hashes = [one for part in pool.map(lambda part: [*map(hash_of, part)], parts) for one in part]
        settled = time.time_ns() - YOUNG_NS
        new = [
            (names[number], str(results[number]), sha256)
            for number, sha256 in zip(todo, hashes, strict=True)
            if isinstance(sha256, bytes) and int(str(results[number]).split()[1]) < settled
        ]
        self.remember_files(new, beside=known)
        for number, sha256 in zip(todo, hashes, strict=True):
            results[number] = sha256
        return results  # type: ignore[return-value]

    def remember_files(self, files: Iterable[tuple[bytes, str, bytes]], beside: Iterable[bytes] = ()) -> None:
        """Remember path, identity and sha256 of files that were just read.

        All of them must be found then, and the known ones `beside`: what is hidden is read again in every run.
        """
        rows = [
            (path, stat, sha256 + crc32(path + stat.encode() + sha256).to_bytes(4, "little"))
            for path, stat, sha256 in files
        ]

        def write(db: sqlite3.Connection) -> None:
            db.executemany(_PUT_FILE, rows)
            paths = {path for path, *_ in rows}.union(beside)
            if not _look_up(db, list(paths)).keys() >= paths:
                _sort(db)

        if rows:
            self._use(write, None)

    def forget_files(self, gone: Callable[[str], bool]) -> int:
        """Forget the files of this machine for which ``gone(path)`` is true, and return their number."""

        def read(db: sqlite3.Connection) -> list[bytes]:
            paths = [path for path, *_ in _sound(db.execute("SELECT * FROM files"))]
            if (len(paths),) != db.execute("SELECT count(*) FROM files").fetchone():
                _sort(db)  # leaves out what is damaged
            return paths

        paths: list[bytes] = self._use(read, [])
        doomed = [(path,) for path in paths if is_absolute(os.fsdecode(path)) and gone(os.fsdecode(path))]
        self._write("DELETE FROM files WHERE path = ?", doomed)
        return len(doomed)

    def shards(self, recipe_id: str) -> dict[str, ShardEntry]:
        """Return the remembered entries of one recipe's shards, by file name."""
        from .keys import Keys

        # The plus sign has all rows looked at: a flipped bit in one's recipe would end a search in their order.
        query = "SELECT name, stat, offset, seconds, keys, rejected, digest FROM shards WHERE +recipe = ?"

        def read(db: sqlite3.Connection) -> tuple[list[tuple[Any, ...]], bytearray]:
            rows = []
            blob = bytearray()  # one block of memory, which goes back to the system, and not one for each shard
            for name, stat, offset, seconds, keys, rejected, digest in db.execute(query, (recipe_id,)):
                name, stat, rejected = map(_text, (name, stat, rejected))
                if _digest(recipe_id, name, stat, offset, seconds, keys, rejected) == digest:
                    reasons = {bytes.fromhex(key): reason for key, reason in json.loads(rejected).items()}
                    rows.append((name, stat, offset, seconds, len(keys) // KEY_BYTES, reasons))
                    blob += keys
            return rows, blob

        empty: tuple[list[tuple[Any, ...]], bytearray] = [], bytearray()
        rows, blob = self._use(read, empty)
        all_keys, start, entries = Keys.from_bytes(blob), 0, {}
        for name, stat, offset, seconds, count, rejected in rows:
            keys = all_keys[start : start + count]
            entries[name] = ShardEntry(stat=stat, offset=offset, seconds=seconds, keys=keys, rejected=rejected)
            start += count
        return entries

    def remember_shards(self, recipe_id: str, entries: Mapping[str, ShardEntry], gone: Iterable[str] = ()) -> None:
        """Remember shards whose bytes were just checked, and forget those that are gone."""
        rows = []
        for name, entry in entries.items():
            rejected = json.dumps({key.hex(): reason for key, reason in entry.rejected.items()})
            row = (name, entry.stat, entry.offset, entry.seconds, entry.keys.tobytes(), rejected)
            rows.append((recipe_id, *row, _digest(recipe_id, *row)))
        self._write("INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self._write("DELETE FROM shards WHERE recipe = ? AND name = ?", [(recipe_id, name) for name in gone])

    def note(self, name: str) -> Any:
        """Return what is remembered under a name, or None."""

        def read(db: sqlite3.Connection) -> Any:
            for value, digest in db.execute("SELECT value, digest FROM notes WHERE +name = ?", (name,)):
                if _digest(name, _text(value)) == digest:
                    return json.loads(value)
            return None

        return self._use(read, None)

    def remember_note(self, name: str, value: Any) -> None:
        """Remember a value that JSON can hold."""
        text = json.dumps(value)
        self._write("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", [(name, text, _digest(name, text))])

    def forget_all(self) -> None:
        """Delete the index; raises CacheError if the system refuses."""
        try:
            for path in (self._journal, self.path):  # a journal without its index would be applied to the next one
                path.unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(
                f"{path} cannot be deleted: {error.strerror}. Move it away, then run again: fc7 cache repair"
            ) from error

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            self._use(lambda db: db.executemany(statement, rows), None)

    def _use(self, work: Callable[[sqlite3.Connection], T], default: T) -> T:
        """Run ``work`` in a transaction. A damaged index is deleted; one that cannot be used is done without."""
        try:
            with contextlib.suppress(OSError):  # it exists, or sqlite says what is wrong
                os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # sqlite would make it 0644
            # Why not a write-ahead log: it takes memory that all processes share, which network mounts do not have.
            connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=rw", uri=True, timeout=10)
            with contextlib.closing(connection) as db, db:
                db.text_factory = bytes  # a flipped bit can make text of bytes, and text that cannot be decoded
                _prepare(db)
                return work(db)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if self._is_damage(error):
                self._delete(error)
            else:
                self._do_without(error)
        return default

    def _is_damage(self, error: Exception) -> bool:
        """Return whether the file itself is at fault, and not its lock, its permissions or the disk."""
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_READONLY:  # so says a flipped bit of its header, too
            try:
                os.close(os.open(self.path, os.O_RDWR))
            except OSError:
                return False
            return True
        return code == sqlite3.SQLITE_ERROR or not isinstance(error, sqlite3.OperationalError)  # no such table

    def _delete(self, error: Exception) -> None:
        try:
            self.forget_all()
        except CacheError as refusal:
            self._do_without(refusal)
        else:
            logger.warning("the index %s was damaged (%s); it is made anew", self.path, error)

    def _do_without(self, error: Exception) -> None:
        if self.path not in _unusable:
            _unusable.add(self.path)
            logger.info("the index %s is not used: %s; files are read again", self.path, error)


def _prepare(db: sqlite3.Connection) -> None:
    """Make the tables that are absent or not as they are made here: a flipped bit can change the type of a column."""
    if not _lacking(db):
        return
    db.execute("BEGIN IMMEDIATE")
    for name in _lacking(db):  # none if another process was quicker
        db.execute(f"DROP TABLE IF EXISTS {name}")
        db.execute(_TABLES[name])
    db.execute(f"PRAGMA user_version = {_VERSION}")
    db.commit()


def _lacking(db: sqlite3.Connection) -> list[str]:
    present = dict(db.execute("SELECT name, sql FROM sqlite_master"))
    return [name for name, sql in _TABLES.items() if present.get(name.encode()) != sql.encode()]


def _look_up(db: sqlite3.Connection, paths: Sequence[bytes]) -> dict[bytes, FileRow]:
    """Return the sound rows of the files that are known, by path."""
    known: dict[bytes, FileRow] = {}
    for start in range(0, len(paths), QUERY):
        block = paths[start : start + QUERY]
        query = f"SELECT * FROM files WHERE path IN ({','.join('?' * len(block))})"
        known.update({row[0]: row for row in _sound(db.execute(query, block))})
    return known


def _sort(db: sqlite3.Connection) -> None:
    """Write all sound rows of files anew: a flipped bit in a path has put it in the wrong place, which hides others."""
    db.execute("ALTER TABLE files RENAME TO unsorted")
    db.execute(_TABLES["files"])
    db.executemany(_PUT_FILE, _sound(db.execute("SELECT * FROM unsorted")))
    db.execute("DROP TABLE unsorted")


def stat_line(stat: os.stat_result) -> str:
    """Return what identifies a file's content without reading it."""
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _recall(file: str, known: FileRow | None, identity: str | OSError | None) -> bytes | str | OSError:
    """Return the known hash if the file is unchanged, else its identity, or the error that hides it."""
    if isinstance(identity, OSError):
        return identity
    try:
        stat = identity or stat_line(os.stat(file))  # noqa: PTH116 - as above
    except OSError as error:
        return error
    return known[2][:KEY_BYTES] if known and known[1] == stat.encode() else stat


def _sound(rows: Iterable[FileRow]) -> Iterator[FileRow]:
    """Yield the rows of files that are as they were written.

    An unchanged file costs a run 9 microseconds, 0.3 of them for this; a cryptographic hash would add 0.3. Any three
    flipped bits in a row of up to 11 kB change its checksum, and of more all but one in 2**32.
    """
    for row in rows:
        try:
            if crc32(row[0] + row[1] + row[2]) == _RESIDUE:
                yield row
        except TypeError:  # a flipped bit has made a number of a column
            continue


def _digest(*columns: str | float | bytes) -> bytes:
    """Return the checksum of a row of shards, which can be a megabyte."""
    sha = hashlib.blake2b(digest_size=16)
    for column in columns:
        data = column if isinstance(column, bytes) else repr(column).encode()
        sha.update(len(data).to_bytes(8) + data)
    return sha.digest()


def _text(column: Any) -> Any:
    return column.decode(errors="surrogateescape") if isinstance(column, bytes) else column
