"""Many images, however they are given; one path or one picture is never taken apart."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from fc7.errors import UsageError
from fc7.extract.manifest.given import many
from fc7.extract.manifest.manifest import Manifest
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
