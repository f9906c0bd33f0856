import hashlib
import os
import sqlite3
import time
from pathlib import Path

import pytest

from fc7.cache import index as module
from fc7.cache.index import Index


@pytest.fixture
def index(tmp_path):
    return Index(tmp_path)


@pytest.fixture
def reads(monkeypatch):
    """Names of the files whose bytes were read."""
    names = []
    real = module._hash_file
    monkeypatch.setattr(module, "_hash_file", lambda path: (names.append(Path(path).name), real(path))[1])
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
