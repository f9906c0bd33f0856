"""The index: what fc7 remembers about files it has already looked at. Derived; delete it at any time.

Two tables: an image or weights file's (path, size, mtime, inode) -> sha256, and a shard's (size, times, inode) -> the
keys it holds, remembered only after its bytes were checked.
"""

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .format import KEY_BYTES

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A file changed twice within the clock's step can keep its mtime; one this young is hashed again next time.
YOUNG_NS = 2_000_000_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, stat TEXT NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shards (
  recipe TEXT, name TEXT, stat TEXT NOT NULL, keys BLOB NOT NULL, rejected TEXT NOT NULL, PRIMARY KEY (recipe, name)
) WITHOUT ROWID;
"""


class ShardEntry(NamedTuple):
    """What the index knows of one checked shard."""

    stat: str
    keys: list[bytes]
    rejected: dict[bytes, str]


class Index:
    """A sqlite file that can only save time: if it is absent, locked or damaged, everything is looked at anew."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def sha256(self, paths: Sequence[Path], *, threads: int = 4) -> list[bytes | OSError]:
        """Return each file's sha256, reading only files that changed since they were last read.

        A file that cannot be read yields its OSError in place of the hash.
        """
        names = [os.fsencode(path.absolute()) for path in paths]
        known = self._known_files(names)
        stats = [_stat_of(path) for path in paths]
        found: list[bytes | OSError | None] = [
            stat if isinstance(stat, OSError) else known[name][1] if known.get(name, ("",))[0] == stat else None
            for name, stat in zip(names, stats, strict=True)
        ]
        todo = [number for number, sha256 in enumerate(found) if sha256 is None]
        with ThreadPoolExecutor(threads) as pool:
            hashes = list(pool.map(_hash_file, [paths[number] for number in todo]))
        settled = time.time_ns() - YOUNG_NS
        new = [
            (names[number], stats[number], sha256)
            for number, sha256 in zip(todo, hashes, strict=True)
            if isinstance(sha256, bytes) and int(str(stats[number]).split()[1]) < settled
        ]
        self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", new)
        replies = dict(zip(todo, hashes, strict=True))
        return [replies[number] if sha256 is None else sha256 for number, sha256 in enumerate(found)]

    def shards(self, recipe_id: str) -> dict[str, ShardEntry]:
        """Return what is remembered of one recipe's shards, by file name."""
        query = "SELECT name, stat, keys, rejected FROM shards WHERE recipe = ?"
        rows: list[Any] = self._use(lambda db: db.execute(query, (recipe_id,)).fetchall(), [])
        return {
            name: ShardEntry(stat, split_keys(keys), {bytes.fromhex(k): why for k, why in json.loads(rejected).items()})
            for name, stat, keys, rejected in rows
        }

    def remember_shards(self, recipe_id: str, entries: Mapping[str, ShardEntry]) -> None:
        """Remember shards whose bytes were just checked."""
        rows = [
            (recipe_id, name, e.stat, b"".join(e.keys), json.dumps({k.hex(): why for k, why in e.rejected.items()}))
            for name, e in entries.items()
        ]
        self._write("INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?, ?)", rows)

    def forget_shards(self, recipe_id: str, names: Iterable[str]) -> None:
        """Forget shards that are no longer there."""
        self._write("DELETE FROM shards WHERE recipe = ? AND name = ?", [(recipe_id, name) for name in names])

    def _known_files(self, names: Sequence[bytes]) -> dict[bytes, tuple[str, bytes]]:
        def look_up(db: sqlite3.Connection) -> dict[bytes, tuple[str, bytes]]:
            known = {}
            for start in range(0, len(names), 500):  # sqlite caps the number of parameters
                block = names[start : start + 500]
                query = f"SELECT path, stat, sha256 FROM files WHERE path IN ({','.join('?' * len(block))})"
                known.update({path: (stat, sha256) for path, stat, sha256 in db.execute(query, block)})
            return known

        return self._use(look_up, {})

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            self._use(lambda db: db.executemany(statement, rows), None)

    def _use(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Run ``work`` in a transaction. A damaged index is deleted; one locked or read-only is done without."""
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=10)) as db, db:
                db.executescript(_SCHEMA)
                return work(db)
        except sqlite3.OperationalError as error:
            logger.info("the index %s is not available: %s", self.path, error)
        except sqlite3.DatabaseError as error:
            logger.warning("the index %s was damaged (%s); it is made anew", self.path, error)
            self.path.unlink(missing_ok=True)
        return otherwise


def split_keys(blob: bytes) -> list[bytes]:
    """Cut a run of keys into keys."""
    return [blob[start : start + KEY_BYTES] for start in range(0, len(blob), KEY_BYTES)]


def stat_line(stat: os.stat_result) -> str:
    """Return what identifies a file's content without reading it."""
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _stat_of(path: Path) -> str | OSError:
    try:
        return stat_line(path.stat())
    except OSError as error:
        return error


def _hash_file(path: Path) -> bytes | OSError:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        return error
