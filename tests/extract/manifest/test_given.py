"""Many images, however they are given; one path or one picture is never taken apart."""

import io
import os
import pathlib
import types

import numpy as np
import pytest
from PIL import Image

from fc7.errors import DataError, UsageError
from fc7.extract.manifest.given import many, read_paths
from fc7.extract.manifest.manifest import Manifest, read_manifest
from fc7.extract.new_images import NewImages, expand
from fc7.extract.transformer import EmbeddingTransformer

DOORS = {
    "many": many,
    "NewImages": NewImages,
    "expand": lambda images: list(expand(images)),
    "Manifest.of_files": Manifest.of_files,
    "EmbeddingTransformer": EmbeddingTransformer().transform,
}
PICTURE = np.zeros((6, 8, 3), np.uint8)
ONE = {
    "text": "a/b.jpg",
    "numpy's text": np.str_("a/b.jpg"),
    "Path": pathlib.Path("a/b.jpg"),
    "bytes": b"/a/b.jpg",
    "bytearray": bytearray(b"/a"),
    "memoryview": memoryview(b"/a"),
    "BytesIO": io.BytesIO(b"/\n/\n"),
    "StringIO": io.StringIO("/\n/\n"),
    "Image": Image.fromarray(PICTURE),
    "RGB": PICTURE,
    "RGBA": np.zeros((6, 8, 4), np.uint8),
    "grey": PICTURE[..., 0],
    "one channel": PICTURE[..., :1],
    "array without axes": np.array("a/b.jpg"),
    "dict": {"a/b.jpg": 1},
    "set": {"a/b.jpg"},
    "frozenset": frozenset(["a/b.jpg"]),
    "number": 1,
    "None": None,
    "table of texts": np.array([["a.jpg", "b.jpg"]]),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize("images", ONE.values(), ids=ONE)
def test_one_is_refused_in_one_line_that_says_list(door, images):
    with pytest.raises(UsageError, match="a list") as error:
        door(images)
    assert "\n" not in str(error.value)


def test_a_tensor_is_refused_as_an_array_is():
    torch = pytest.importorskip("torch")
    with pytest.raises(UsageError, match="a list"):
        many(torch.zeros(3, 6, 8)[:, :, :3])
    assert len(many(torch.zeros(2, 3, 6, 8))) == 2


@pytest.mark.parametrize(
    "images",
    [
        ["a.jpg", "b.jpg"],
        ("a.jpg", "b.jpg"),
        iter(["a.jpg", "b.jpg"]),
        (name for name in ("a.jpg", "b.jpg")),
        np.array(["a.jpg", "b.jpg"]),
        np.array(["a.jpg", "b.jpg"], object),
        np.array([["a.jpg"], ["b.jpg"]]),
        np.array([["a.jpg"], ["b.jpg"]], object),
    ],
)
def test_many_paths_in_their_order(images):
    assert many(images) == ["a.jpg", "b.jpg"]


def test_series_and_tables_of_pandas():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"path": ["a.jpg", "b.jpg"], "label": [0, 1]}, index=[7, 3])
    assert many(table["path"]) == many(table[["path"]]) == ["a.jpg", "b.jpg"]
    assert many(table["path"].astype("category")) == ["a.jpg", "b.jpg"]
    with pytest.raises(UsageError, match="2 columns, path, label"):
        many(table)
    with pytest.raises(UsageError, match="0 columns"):
        many(table[[]])


def test_stacks_of_pictures():
    stack = np.arange(2 * 6 * 8 * 3, dtype=np.uint8).reshape(2, 6, 8, 3)
    for images in (stack, stack[..., 0]):
        assert all(np.array_equal(one, other) for one, other in zip(many(images), images, strict=True))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
def test_paths_on_standard_input(tmp_path, monkeypatch, end):
    names = [b"1.jpg", os.fsencode(tmp_path / "two words.jpg"), b"caf\xe9.jpg", b"s3://bucket/3.jpg"]
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(end.join([*names, b""]))))
    assert read_paths() == [os.fsdecode(name) for name in names]


def test_a_null_byte_after_each_path_keeps_line_feeds(monkeypatch):
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(b"a\nb.jpg\0c.jpg")))
    assert read_paths() == ["a\nb.jpg", "c.jpg"]


def test_no_paths_on_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(b"\n\n")))
    with pytest.raises(DataError, match="no paths on standard input"):
        read_paths()


def test_a_list_is_a_data_set(tmp_path, monkeypatch):
    (tmp_path / "1.jpg").write_bytes(b"x")
    lines = f"{tmp_path}/1.jpg\n{tmp_path}/notes.txt\n".encode()
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(lines)))
    manifest = read_manifest("-")
    assert (manifest.files, manifest.classes) == ([f"{tmp_path}/1.jpg"], ())
    assert [reject.path for reject in manifest.rejects] == [f"{tmp_path}/notes.txt"]


def test_lists_of_other_systems(monkeypatch):
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(b"\xef\xbb\xbfa.jpg\r\nb.jpg\r\n")))
    assert read_paths() == ["a.jpg", "b.jpg"]
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO("a.jpg\n".encode("utf-16"))))
    with pytest.raises(UsageError, match=r"UTF-16, not in UTF-8.*\| fc7 extract -$"):
        read_paths()
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="which is closed"):
        read_paths()
