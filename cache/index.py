"""The index: what fc7 remembers about files it has already read. Derived; delete it at any time.

Two tables: an image or weights file's (path, size, times, inode) -> sha256, and a shard's (size, times, inode) -> what
it holds, remembered only after its bytes were checked.
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
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from .file_blocks import blocks
from .format import KEY_BYTES

if TYPE_CHECKING:
    from .keys import Keys

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A file changed twice within one clock step can keep its mtime, so a file this young is hashed again next time.
YOUNG_NS = 2_000_000_000

QUERY = 500  # paths in one query; sqlite caps the number of parameters
THREADS = 4  # that hash files of this machine
BLOCK = 16 * QUERY  # files handled at a time; their hashes are remembered before the next ones are read

_SCHEMA_VERSION = 2
_SCHEMA = f"""
DROP TABLE IF EXISTS files;
DROP TABLE IF EXISTS shards;
CREATE TABLE files (path BLOB PRIMARY KEY, stat TEXT NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE shards (
  recipe TEXT, name TEXT, stat TEXT NOT NULL, offset INTEGER NOT NULL, seconds REAL NOT NULL, keys BLOB NOT NULL,
  rejected TEXT NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (recipe, name)
) WITHOUT ROWID;
PRAGMA user_version = {_SCHEMA_VERSION};
"""


class ShardEntry(NamedTuple):
    """What the index knows about one checked shard.

    Attributes
    ----------
    stat
        Identity of the checked file (size, times, inode); another stat means another file.
    offset
        Where its rows begin, in bytes.
    seconds
        Computing time of the shard.
    keys
        One per row.
    rejected
        Keys of files that are not an image, with the reason.
    """

    stat: str
    offset: int
    seconds: float
    keys: "Keys"
    rejected: Mapping[bytes, str]


class RemoteFiles(Protocol):
    """How to identify and hash files of which some are not on this machine."""

    def identity(self, file: str) -> str | OSError | None:
        """Return what identifies a file's content: size, time in ns (0: settled), more. None: it is on this machine."""

    def sha256(self, file: str) -> bytes | OSError:
        """Return the hash of a file that has an identity."""


class Index:
    """A sqlite file that only saves time: if it is absent, locked or damaged, all files are read again.

    Parameters
    ----------
    directory
        The cache the index belongs to.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "index.sqlite"

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
        encoding = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()  # as os.fsencode, but sooner
        identities = [remote.identity(file) for file in files] if remote else []
        names = [(file if file.startswith(os.sep) else prefix + file).encode(*encoding) for file in files]
        for number, identity in enumerate(identities):
            names[number] = names[number] if identity is None else files[number].encode(*encoding)
        known = {} if rehash else self._known_files(names)
        results = [
            _recall(file, known.get(name), identities[number] if identities else None)
            for number, (file, name) in enumerate(zip(files, names, strict=True))
        ]
        todo = [number for number, result in enumerate(results) if isinstance(result, str)]
        if not todo:
            return results  # type: ignore[return-value]
        with ThreadPoolExecutor(threads) as pool:
            hashers = [remote.sha256 if remote and identities[number] is not None else _hash_file for number in todo]
            hashes = list(pool.map(lambda hasher, number: hasher(files[number]), hashers, todo))
        settled = time.time_ns() - YOUNG_NS
        new = [
            (names[number], results[number], sha256)
            for number, sha256 in zip(todo, hashes, strict=True)
            if isinstance(sha256, bytes) and int(str(results[number]).split()[1]) < settled
        ]
        self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", new)
        for number, sha256 in zip(todo, hashes, strict=True):
            results[number] = sha256
        return results  # type: ignore[return-value]

    def forget_files(self, gone: Callable[[str], bool]) -> int:
        """Forget the files for which ``gone(path)`` is true and return their number."""
        paths: list[bytes] = self._use(lambda db: [path for (path,) in db.execute("SELECT path FROM files")], [])
        doomed = [(path,) for path in paths if gone(os.fsdecode(path))]
        self._write("DELETE FROM files WHERE path = ?", doomed)
        return len(doomed)

    def shards(self, recipe_id: str) -> dict[str, ShardEntry]:
        """Return the remembered entries of one recipe's shards, by file name."""
        from .keys import Keys

        query = "SELECT name, stat, offset, seconds, keys, rejected, digest FROM shards WHERE recipe = ? ORDER BY name"

        def read(db: sqlite3.Connection) -> tuple[list[tuple[Any, ...]], bytearray]:
            rows = []
            blob = bytearray()  # one block of memory, which goes back to the system, and not one for each shard
            for *columns, digest in db.execute(query, (recipe_id,)):
                if _digest(recipe_id, *columns) == digest:  # a flipped bit would lead to another image's row
                    name, stat, offset, seconds, keys, rejected = columns
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

    def remember_shards(self, recipe_id: str, entries: Mapping[str, ShardEntry]) -> None:
        """Remember shards whose bytes were just checked."""
        rows = []
        for name, entry in entries.items():
            rejected = json.dumps({key.hex(): reason for key, reason in entry.rejected.items()})
            row = (name, entry.stat, entry.offset, entry.seconds, entry.keys.tobytes(), rejected)
            rows.append((recipe_id, *row, _digest(recipe_id, *row)))
        self._write("INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def forget_shards(self, recipe_id: str, names: Iterable[str]) -> None:
        """Forget shards that no longer exist."""
        self._write("DELETE FROM shards WHERE recipe = ? AND name = ?", [(recipe_id, name) for name in names])

    def forget_all(self) -> None:
        """Delete the index."""
        for path in (self.path, self.path.with_name(self.path.name + "-journal")):
            path.unlink(missing_ok=True)

    def _known_files(self, names: Sequence[bytes]) -> dict[bytes, tuple[str, bytes]]:
        def look_up(db: sqlite3.Connection) -> dict[bytes, tuple[str, bytes]]:
            known = {}
            for start in range(0, len(names), QUERY):
                block = names[start : start + QUERY]
                query = f"SELECT path, stat, sha256 FROM files WHERE path IN ({','.join('?' * len(block))})"
                known.update({path: (stat, sha256) for path, stat, sha256 in db.execute(query, block)})
            return known

        return self._use(look_up, {})

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            self._use(lambda db: db.executemany(statement, rows), None)

    def _use(self, work: Callable[[sqlite3.Connection], T], default: T) -> T:
        """Run ``work`` in a transaction. A damaged index is deleted; a locked or read-only one is not used."""
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=10)) as db, db:
                if db.execute("PRAGMA user_version").fetchone()[0] != _SCHEMA_VERSION:
                    db.executescript(_SCHEMA)
                return work(db)
        except sqlite3.OperationalError as error:
            logger.info("the index %s is not available: %s", self.path, error)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            logger.warning("the index %s was damaged (%s); it is made anew", self.path, error)
            with contextlib.suppress(OSError):
                self.forget_all()
        return default


def stat_line(stat: os.stat_result) -> str:
    """Return what identifies a file's content without reading it."""
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _recall(file: str, known: tuple[str, bytes] | None, identity: str | OSError | None) -> bytes | str | OSError:
    """Return the known hash if the file is unchanged, else its identity, or the error that hides it."""
    if isinstance(identity, OSError):
        return identity
    try:
        stat = identity or stat_line(os.stat(file))  # noqa: PTH116 - as above
    except OSError as error:
        return error
    return known[1] if known and known[0] == stat else stat


def _hash_file(path: str) -> bytes | OSError:
    sha = hashlib.sha256()
    try:
        with FileIO(path) as file:
            for block in blocks(file):
                sha.update(block)
        return sha.digest()
    except OSError as error:
        return error


def _digest(*columns: str | float | bytes) -> bytes:
    """Return a checksum of one row, because sqlite keeps none."""
    sha = hashlib.blake2b(digest_size=16)
    for column in columns:
        data = column if isinstance(column, bytes) else repr(column).encode()
        sha.update(len(data).to_bytes(8) + data)
    return sha.digest()
