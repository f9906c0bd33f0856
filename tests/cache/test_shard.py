import hashlib
import io

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shards import key

from fc7.cache import Recipe
from fc7.cache import shard as shards
from fc7.cache.shard import Shard
from fc7.errors import CacheError, CorruptShard

RECIPE = Recipe("alexnet", "fc7", 4, "f" * 64, dtype="float32")


@pytest.fixture
def shard():
    rows = np.arange(24, dtype=np.float16).reshape(3, 8)
    return Shard([key(1), key(2), key(3)], rows, {key(9): "empty file"}, {"torch": "2"})


@pytest.fixture
def data(shard):
    return shards.encode(shard, RECIPE)


def test_round_trip(shard, data):
    found = shards.decode(data)
    assert found.keys == shard.keys
    assert found.rejected == shard.rejected
    assert found.provenance == {"torch": "2"}
    np.testing.assert_array_equal(found.embeddings, shard.embeddings)
    assert found.embeddings.dtype == np.float16


def test_empty_shard_of_rejects_only():
    found = shards.decode(shards.encode(Shard([], np.empty((0, 8), np.float16), {key(1): "no"}), RECIPE))
    assert found.embeddings.shape == (0, 8)
    assert found.rejected == {key(1): "no"}


def test_equal_rows_make_equal_bytes(shard, data):
    assert shards.encode(shard, RECIPE) == data


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("cut", "does not read it"), ("one bit", "other embeddings"), ("a rejection", "other rejections")],
)
def test_what_hdf5_does_not_read_as_it_wrote_it_is_never_a_shard(monkeypatch, shard, wrong, said):
    real = io.BytesIO

    class Torn(real):
        def getvalue(self):
            body = bytearray(super().getvalue())
            if wrong == "cut":
                return bytes(body[:-1])
            place = bytes(body).index(b"empty file" if wrong == "a rejection" else shard.embeddings.tobytes())
            body[place] ^= 1
            return bytes(body)

    made = iter([Torn()])
    monkeypatch.setattr(shards.io, "BytesIO", lambda *given: real(*given) if given else next(made))
    with pytest.raises(CacheError, match=rf"3 rows .* not kept.*{said}.*pip install"):
        shards.encode(shard, RECIPE)


def test_any_hdf5_reader_can_read_it(tmp_path, shard, data):
    path = tmp_path / "shard.h5"
    path.write_bytes(data)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["embeddings"][:], shard.embeddings)


def test_the_header_says_where_the_rows_are(shard, data):
    header = shards.check(data)
    assert (header.rows, header.dim, header.dtype, header.rejected) == (3, 8, "float16", 1)
    assert (header.format, header.recipe, header.size) == (1, RECIPE.id, len(data))
    assert header.sha256 == hashlib.sha256(data[512:]).hexdigest()
    rows = np.frombuffer(data, np.float16, 24, header.embeddings).reshape(3, 8)
    np.testing.assert_array_equal(rows, shard.embeddings)
    assert data[header.keys : header.keys + 32] == key(1)
    with h5py.File(io.BytesIO(data)) as file:
        assert file["embeddings"].id.get_offset() == header.embeddings


def test_a_header_that_tells_another_story_is_found_by_reading_it_as_hdf5(tmp_path, shard, data):
    header = shards.check(data)
    for lie in ({"embeddings": header.embeddings + 2}, {"keys": header.keys + 32}, {"dim": 4}, {"rejected": 0}):
        told = header._replace(**lie).encode() + data[512:]
        shards.check(told)
        with pytest.raises(CorruptShard):
            shards.decode(told)


@given(st.data())
def test_every_flipped_bit_is_detected(draw):
    data = shards.encode(Shard([key(1)], np.ones((1, 4), np.float32)), RECIPE)
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
    data = shards.encode(Shard([key(1)], np.ones((1, 4), np.float32)), RECIPE)
    with pytest.raises(CorruptShard):
        shards.decode(data[: min(length, len(data) - 1)])


def test_the_name_follows_from_recipe_and_keys_in_any_order():
    assert shards.unit_id("r", [key(1), key(2)]) == shards.unit_id("r", [key(2), key(1)])
    assert shards.unit_id("r", [key(1)]) != shards.unit_id("s", [key(1)]) != shards.unit_id("s", [key(2)])
