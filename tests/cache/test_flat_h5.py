"""A foreign file is refused before anything of it is read."""

import h5py
import numpy as np
import pytest

from fc7.cache import Embeddings
from fc7.errors import DataError


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
