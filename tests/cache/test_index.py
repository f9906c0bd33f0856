import contextlib
import hashlib
import logging
import os
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fc7.cache import index as module
from fc7.cache.index import Index, ShardEntry
from fc7.cache.keys import Keys
from fc7.errors import CacheError

RECIPE = "ab" * 32
SHARDS = {
    f"{number}{number}.h5": ShardEntry(
        f"{number} 1 2 3", 700 + number, 1.5, Keys.from_bytes(bytes([number]) * 96), {bytes([9]) * 32: "no image"}
    )
    for number in (1, 2, 3)
}
KEYS = {"files": ["path"], "shards": ["recipe", "name"]}
VERSION_2 = """
DROP TABLE IF EXISTS files;
DROP TABLE IF EXISTS shards;
CREATE TABLE files (path BLOB PRIMARY KEY, stat TEXT NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE shards (
  recipe TEXT, name TEXT, stat TEXT NOT NULL, offset INTEGER NOT NULL, seconds REAL NOT NULL, keys BLOB NOT NULL,
  rejected TEXT NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (recipe, name)
) WITHOUT ROWID;
PRAGMA user_version = 2;
"""
BLOBS = {"path", "sha256_and_crc", "keys", "digest"}


@pytest.fixture
def index(tmp_path):
    return Index(tmp_path)


@pytest.fixture
def reads(monkeypatch):
    """Names of the files whose bytes were read."""
    names = []
    real = module.hash_file
    monkeypatch.setattr(module, "hash_file", lambda path: (names.append(Path(path).name), real(path))[1])
    return names


def write(path, data, age=60):
    path.write_bytes(data)
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_hashes_are_right_and_read_once(tmp_path, index, reads):
    paths = [write(tmp_path / f"{n}.bin", str(n).encode()) for n in range(600)]
    expected = [hashlib.sha256(str(n).encode()).digest() for n in range(600)]
    assert index.sha256(paths[:256]) == expected[:256]
    assert index.sha256(paths) == expected
    assert index.sha256(paths) == expected
    assert len(reads) == 600


def test_a_changed_file_is_read_again(tmp_path, index, reads):
    path = write(tmp_path / "a", b"one")
    index.sha256([path])
    write(path, b"two", age=30)
    assert index.sha256([path]) == [hashlib.sha256(b"two").digest()]
    assert reads == ["a", "a"]


def test_a_young_file_is_not_trusted_yet(tmp_path, index, reads):
    path = write(tmp_path / "a", b"one", age=0)
    index.sha256([path])
    index.sha256([path])
    assert reads == ["a", "a"]


def test_an_absent_file_yields_its_error(tmp_path, index):
    good = write(tmp_path / "a", b"one")
    missing, found = index.sha256([tmp_path / "none", good])
    assert isinstance(missing, FileNotFoundError)
    assert found == hashlib.sha256(b"one").digest()


def test_a_locked_index_is_done_without(tmp_path, index, monkeypatch):
    path = write(tmp_path / "a", b"one")
    index.sha256([path])

    def locked(*_, **__):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(sqlite3, "connect", locked)
    assert index.sha256([path]) == [hashlib.sha256(b"one").digest()]
    assert index.shards("r") == {}


def test_undecodable_names(tmp_path, index):
    path = write(tmp_path / os.fsdecode(b"caf\xe9.jpg"), b"one")
    assert index.sha256([path, path])[0] == hashlib.sha256(b"one").digest()


@pytest.fixture
def filled(tmp_path, index):
    """An index of twelve files and three shards, and what it must answer."""
    folder = tmp_path / "images"
    folder.mkdir()
    paths = [write(folder / f"{n}.png", str(n).encode()) for n in range(12)]
    hashes = index.sha256(paths)
    index.remember_shards(RECIPE, SHARDS)
    return paths, hashes


def answers(index, paths):
    """Return the hashes, and the entries of shards as plain values."""
    entries = index.shards(RECIPE).items()
    return index.sha256(paths), {name: (*entry[:3], entry.keys.tobytes(), entry.rejected) for name, entry in entries}


def cells(index):
    """Return table, key, column and value of everything in the index that is no key."""
    with contextlib.closing(sqlite3.connect(index.path)) as db:
        for table, keys in KEYS.items():
            cursor = db.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description]
            for row in cursor:
                values = dict(zip(names, row, strict=True))
                key = {name: values[name] for name in keys}
                yield from ((table, key, name, value) for name, value in values.items())


def flipped(value, bit):
    """Return a value of sqlite with one bit flipped; bit is any number."""
    if isinstance(value, int):
        return value ^ 1 << bit % 31
    data = bytearray(struct.pack("d", value) if isinstance(value, float) else os.fsencode(value))
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    return struct.unpack("d", data)[0] if isinstance(value, float) else bytes(data)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bit_that_flips_in_any_row_of_any_table_is_noticed_and_heals(tmp_path, index, filled, reads, data):
    paths, hashes = filled
    index.forget_all()
    expected = index.sha256(paths), {name: (*e[:3], e.keys.tobytes(), e.rejected) for name, e in SHARDS.items()}
    index.remember_shards(RECIPE, SHARDS)
    assert answers(index, paths) == expected
    table, key, column, value = data.draw(st.sampled_from(list(cells(index))))
    value = flipped(value, data.draw(st.integers(0, 2**20)))
    assume(value == value)
    where = " AND ".join(f"{name} = ?" for name in key)
    with contextlib.closing(sqlite3.connect(index.path)) as db, db:
        type_name = "TEXT" if isinstance(value, bytes) and column not in BLOBS else "BLOB"
        new = f"CAST(? AS {type_name})" if isinstance(value, bytes) else "?"
        try:
            db.execute(f"UPDATE {table} SET {column} = {new} WHERE {where}", [value, *key.values()])
        except sqlite3.IntegrityError:  # it is the key of another row
            assume(False)
    reads.clear()
    found, entries = answers(Index(tmp_path), paths)
    assert found == hashes
    assert entries.items() <= expected[1].items()
    assert (len(reads), len(SHARDS) - len(entries)) == ((1, 0) if table == "files" else (0, 1))
    index.remember_shards(RECIPE, SHARDS)
    assert answers(Index(tmp_path), paths) == expected
    assert len(reads) == (table == "files")


def test_a_path_that_is_out_of_order_hides_no_other_for_long(index, filled, reads):
    paths, hashes = filled
    content = index.path.read_bytes()
    for path in paths:
        name = os.fsencode(path)
        assert content.count(name) == 1
        index.path.write_bytes(content.replace(name, name[:1] + bytes([name[1] ^ 4]) + name[2:]))
        assert index.sha256(paths) == hashes
        assert reads
        reads.clear()
        assert index.sha256(paths) == hashes
        assert reads == []


@pytest.mark.parametrize(
    "statement",
    ["DROP TABLE files", "ALTER TABLE files RENAME stat TO state", "ALTER TABLE files ADD other TEXT"],
)
def test_a_table_of_another_shape_is_made_anew(index, filled, reads, statement):
    paths, hashes = filled
    with contextlib.closing(sqlite3.connect(index.path)) as db, db:
        db.execute(statement)
    assert [index.sha256(paths) for _ in range(3)] == [hashes] * 3
    assert len(reads) == 12
    assert index.shards(RECIPE).keys() == SHARDS.keys()


def test_an_index_whose_header_says_read_only_is_made_anew(index, filled, reads):
    paths, hashes = filled
    data = bytearray(index.path.read_bytes())
    data[18] ^= 2  # the version that may write it
    index.path.write_bytes(data)
    index.remember_shards(RECIPE, SHARDS)
    assert [index.sha256(paths) for _ in range(2)] == [hashes] * 2
    assert len(reads) == 12


def test_shards_of_the_version_before_are_kept_and_its_files_read_again(tmp_path, index, filled, reads):
    paths, hashes = filled
    with contextlib.closing(sqlite3.connect(index.path)) as db, db:
        shards = db.execute("SELECT * FROM shards").fetchall()
    index.path.unlink()
    with contextlib.closing(sqlite3.connect(index.path)) as db, db:
        db.executescript(VERSION_2)
        rows = [(os.fsencode(path), module.stat_line(path.stat()), bytes(32)) for path in paths]
        db.executemany("INSERT INTO files VALUES (?, ?, ?)", rows)
        db.executemany("INSERT INTO shards VALUES (?, ?, ?, ?, ?, ?, ?, ?)", shards)
    assert index.shards(RECIPE).keys() == SHARDS.keys()
    assert index.sha256(paths) == hashes
    assert len(reads) == 12


def test_processes_that_make_the_index_at_once(tmp_path):
    """Each finds the tables made by whoever was first."""
    write(tmp_path / "a", b"one")
    code = "import sys; from pathlib import Path; from fc7.cache.index import Index; folder = Path(sys.argv[1]); "
    code += "sys.stdin.read(); Index(folder).sha256([folder / 'a'])"
    with contextlib.ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
        started = [subprocess.Popen([sys.executable, "-c", code, tmp_path], **pipes) for _ in range(4)]
        for process in map(stack.enter_context, started):
            process.stdin.close()
        assert [(process.stderr.read(), process.wait()) for process in started] == [(b"", 0)] * 4


def test_that_there_is_no_index_is_said_once(tmp_path, caplog):
    path = write(tmp_path / "a", b"one")
    (tmp_path / "cache" / "index.sqlite").mkdir(parents=True)
    caplog.set_level(logging.INFO, logger="fc7")
    for _ in range(3):
        assert Index(tmp_path / "cache").sha256([path]) == [hashlib.sha256(b"one").digest()]
        assert Index(tmp_path / "cache").shards(RECIPE) == {}
    assert [record.levelname for record in caplog.records] == ["INFO"]
    with pytest.raises(CacheError, match="cannot be deleted"):
        Index(tmp_path / "cache").forget_all()


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077])
def test_the_umask_decides_who_may_use_it(tmp_path, umask, mask):
    umask(mask)
    path = write(tmp_path / "a", b"one")
    Index(tmp_path).sha256([path])
    assert (tmp_path / "index.sqlite").stat().st_mode & 0o777 == 0o666 & ~mask


def test_files_that_are_gone_are_forgotten_and_remote_ones_are_not(index, filled, reads):
    paths, hashes = filled
    index.remember_files([(b"s3://bucket/a.png", "1 0 tag", bytes(32))])
    paths[0].unlink()
    with contextlib.closing(sqlite3.connect(index.path)) as db, db:
        db.execute("UPDATE files SET sha256_and_crc = zeroblob(36) WHERE path = ?", [os.fsencode(paths[1])])
        db.execute("UPDATE files SET path = 5 WHERE path = ?", [os.fsencode(paths[2])])
    assert index.forget_files(lambda path: not os.path.lexists(path)) == 1
    assert index.forget_files(lambda path: not os.path.lexists(path)) == 0
    with contextlib.closing(sqlite3.connect(index.path)) as db:
        assert db.execute("SELECT count(*) FROM files").fetchone() == (10,)
    reads.clear()
    assert index.sha256(paths[1:]) == hashes[1:]
    assert reads == ["1.png", "2.png"]


NOTE = {"layers": {"gap": [1, 2.5, None]}, "text": "é"}


def test_notes_are_read_as_they_were_written(tmp_path, index):
    index.remember_note("one", {"old": 1})
    index.remember_note("one", NOTE)
    assert Index(tmp_path).note("one") == NOTE
    assert index.note("other") is None


@given(column=st.sampled_from(["name", "value", "digest"]), bit=st.integers(0, 2**12))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_note_with_a_flipped_bit_is_none(index, column, bit):
    index.forget_all()
    index.remember_note("one", NOTE)
    with contextlib.closing(sqlite3.connect(index.path)) as db, db:
        ((value,),) = db.execute(f"SELECT CAST({column} AS BLOB) FROM notes")
        type_name = "BLOB" if column == "digest" else "TEXT"
        db.execute(f"UPDATE notes SET {column} = CAST(? AS {type_name})", [flipped(value, bit)])
    assert index.note("one") is None
    index.remember_note("one", NOTE)
    assert index.note("one") == NOTE
