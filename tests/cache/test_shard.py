import hashlib
import os

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.cache import shard as shards
from fc7.cache.shard import Shard
from fc7.errors import CorruptShard


def key(number):
    return hashlib.sha256(str(number).encode()).digest()


@pytest.fixture
def shard():
    rows = np.arange(24, dtype=np.float16).reshape(3, 8)
    return Shard([key(1), key(2), key(3)], rows, {key(9): "empty file"}, {"torch": "2"})


@pytest.fixture
def data(shard):
    return shards.encode(shard, "{}")


def test_round_trip(shard, data):
    found = shards.decode(data)
    assert found.keys == shard.keys
    assert found.rejected == shard.rejected
    assert found.provenance == {"torch": "2"}
    np.testing.assert_array_equal(found.embeddings, shard.embeddings)
    assert found.embeddings.dtype == np.float16


def test_empty_shard_of_rejects_only():
    found = shards.decode(shards.encode(Shard([], np.empty((0, 8), np.float16), {key(1): "no"}), "{}"))
    assert found.embeddings.shape == (0, 8)
    assert found.rejected == {key(1): "no"}


def test_equal_rows_make_equal_bytes(shard, data):
    assert shards.encode(shard, "{}") == data


def test_any_hdf5_reader_can_read_it(tmp_path, shard, data):
    path = tmp_path / "shard.h5"
    path.write_bytes(data)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["embeddings"][:], shard.embeddings)


@given(st.data())
def test_every_flipped_bit_is_detected(draw):
    data = shards.encode(Shard([key(1)], np.ones((1, 4), np.float32)), "{}")
    bit = draw.draw(st.integers(0, len(data) * 8 - 1))
    broken = bytearray(data)
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptShard):
        shards.decode(bytes(broken))


def test_every_bit_of_the_header_counts(data):
    for bit in range(512 * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptShard):
            shards.decode(bytes(broken))


@given(st.integers(0, 2000))
def test_truncated_bytes_are_refused(length):
    data = shards.encode(Shard([key(1)], np.ones((1, 4), np.float32)), "{}")
    with pytest.raises(CorruptShard):
        shards.decode(data[: min(length, len(data) - 1)])


def test_the_name_follows_from_recipe_and_keys_in_any_order():
    assert shards.unit_id("r", [key(1), key(2)]) == shards.unit_id("r", [key(2), key(1)])
    assert shards.unit_id("r", [key(1)]) != shards.unit_id("s", [key(1)]) != shards.unit_id("s", [key(2)])


def test_commit_appears_whole_and_leaves_nothing_behind(tmp_path, data):
    final, temporary = tmp_path / "shards" / "ab" / "x.h5", tmp_path / "tmp"
    assert shards.commit(data, final, temporary) is True
    assert final.read_bytes() == data
    assert list(temporary.iterdir()) == []


def test_a_unit_that_another_writer_made_is_success_and_stays_as_it_was(tmp_path, data):
    final, temporary = tmp_path / "ab" / "x.h5", tmp_path / "tmp"
    shards.commit(b"first", final, temporary)
    assert shards.commit(data, final, temporary) is False
    assert final.read_bytes() == b"first"


def test_short_writes_are_continued(tmp_path, data, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, view: write(descriptor, bytes(view[:100])))
    shards.commit(data, tmp_path / "ab" / "x.h5", tmp_path / "tmp")
    assert (tmp_path / "ab" / "x.h5").read_bytes() == data


def test_synced_before_it_is_visible_and_its_folder_before_it_is_done(tmp_path, data, monkeypatch):
    calls = []
    fsync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "link", lambda source, target: (calls.append("link"), link(source, target)))
    shards.commit(data, tmp_path / "ab" / "x.h5", tmp_path / "tmp")
    assert calls[:2] == ["fsync", "link"]
    assert "fsync" in calls[2:]


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_failing_call_leaves_no_shard_and_no_temporary(tmp_path, data, monkeypatch, call):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        shards.commit(data, tmp_path / "ab" / "x.h5", tmp_path / "tmp")
    monkeypatch.undo()
    assert not (tmp_path / "ab" / "x.h5").exists()
    assert list((tmp_path / "tmp").iterdir()) == []
