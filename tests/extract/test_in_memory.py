"""Images in memory: one strange picture costs itself."""

import io

import numpy as np
import pytest
import torch
from fakes import FakeBackbone, encoded
from PIL import Image, ImageFile

from fc7.errors import UsageError
from fc7.extract.in_memory import embed

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
DATA = encoded(Image.fromarray(PIXELS))


class Named(str):
    """A text of another class."""


class Hostile(Image.Image):
    """A picture that cannot be read."""

    def load(self):
        raise RuntimeError("not today")


def closed():
    image = Image.open(io.BytesIO(DATA))
    image.close()
    return image


def released():
    view = memoryview(DATA)
    view.release()
    return view


def emptied():
    file = io.BytesIO(DATA)
    file.close()
    return file


def hostile():
    image = Hostile()
    image._size = (4, 4)
    return image


STRANGE = {
    "None": None,
    "a number": 3,
    "a scalar": np.uint8(3),
    "a tensor": torch.from_numpy(PIXELS),
    "a text": "picture.png",
    "a text of another class": Named("picture.png"),
    "a list": [[1, 2], [3, 4]],
    "a list of pictures": [PIXELS],
    "objects": np.array([None, 1], object),
    "floats": PIXELS / 255,
    "booleans": PIXELS > 9,
    "wide integers": PIXELS.astype(np.int64),
    "nothing in it": PIXELS[:0],
    "one number": np.array(7, np.uint8),
    "masked": np.ma.masked_array(PIXELS, PIXELS > 9),
    "two bands": PIXELS[..., :2],
    "huge": np.broadcast_to(np.uint8(1), (100_000, 100_000, 3)),
    "a closed picture": closed(),
    "a hostile picture": hostile(),
    "an empty picture": Image.new("RGB", (0, 5)),
    "numbers without a range": Image.fromarray(np.ones((4, 4), np.int32)),
    "floats of Pillow": Image.new("F", (4, 4)),
    "half a file": DATA[:300],
    "half a picture": Image.open(io.BytesIO(DATA[:300])),
    "no bytes": b"",
    "no file": bytearray(b"hello"),
    "an array's memory": memoryview(PIXELS),
    "a view that was released": released(),
    "a file that was closed": emptied(),
    "a class": Image.Image,
}


def only(embedded):
    """Return the vectors under the only recipe, none of which was rejected."""
    vectors, rejected = embedded
    assert not rejected
    (matrix,) = vectors.values()
    return matrix


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("views", [0, 1])
def test_a_strange_picture_costs_itself(name, views):
    backbone = FakeBackbone(views=views)
    expected, none = embed([PIXELS, PIXELS], [backbone])
    assert not none
    vectors, rejected = embed([PIXELS, STRANGE[name], PIXELS], [backbone])
    assert list(rejected) == [1]
    assert rejected[1]
    assert "\n" not in rejected[1]
    assert list(vectors) == backbone.recipes_of_views
    for recipe, matrix in vectors.items():
        assert np.array_equal(matrix[[0, 2]], expected[recipe])
        assert not matrix[1].any()


CERTAIN = {
    "bytes": DATA,
    "bytearray": bytearray(DATA),
    "memoryview": memoryview(DATA),
    "numpy bytes": np.bytes_(DATA),
    "BytesIO": io.BytesIO(DATA),
    "BytesIO that was read": (lambda file: file.read() and file)(io.BytesIO(DATA)),
    "array": PIXELS,
    "array in another order": np.asfortranarray(PIXELS),
    "array of a subclass": PIXELS.view(type("Mine", (np.ndarray,), {})),
    "picture": Image.fromarray(PIXELS),
    "opened picture": Image.open(io.BytesIO(DATA)),
}


@pytest.mark.parametrize("name", CERTAIN)
def test_what_is_certain_has_its_vector(name):
    expected = only(embed([DATA], [FakeBackbone()]))
    assert np.array_equal(only(embed((CERTAIN[name],), [FakeBackbone()])), expected)


def test_pictures_may_be_any_iterable():
    vectors, rejected = embed((data for data in [DATA, None, DATA]), [FakeBackbone()])
    assert ([len(matrix) for matrix in vectors.values()], list(rejected)) == ([3], [1])


def test_switches_of_pillow_reach_no_vector(monkeypatch):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    half = encoded(Image.fromarray(noise), "JPEG")[:1500]
    before = only(embed([DATA, Image.open(io.BytesIO(DATA)), PIXELS], [FakeBackbone(crop=16)]))
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    opened = Image.open(io.BytesIO(DATA))
    unread = Image.open(io.BytesIO(half))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    backbone = FakeBackbone(crop=16)
    vectors, rejected = embed([DATA, opened, PIXELS, half, unread], [backbone])
    assert np.array_equal(vectors[backbone.recipes[0]][:3], before)
    assert list(rejected) == [3, 4]
    assert rejected[3] == rejected[4]


class Scaled(FakeBackbone):
    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor

    def forward(self, batch):
        return [super().forward(batch)[0] * np.float32(self.factor)]


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_a_type_that_cannot_hold_the_vector_is_the_reason(factor):
    vectors, rejected = embed([PIXELS], [FakeBackbone("other"), Scaled(factor)])
    assert "float16 cannot hold its embedding" in rejected[0]
    assert "dtype float32" in rejected[0]
    assert not any(matrix.any() for matrix in vectors.values())
    assert only(embed([PIXELS], [Scaled(factor, dtype="float32")])).any()


def test_a_vector_that_is_not_finite_is_the_reason():
    assert embed([PIXELS], [Scaled(np.nan)])[1] == {0: "its embedding is not finite"}


@pytest.mark.parametrize("picture", [PIXELS, PIXELS[..., 0], DATA, io.BytesIO(DATA)], ids=["rgb", "grey", "file", "io"])
def test_one_picture_is_not_taken_for_its_rows(picture):
    with pytest.raises(UsageError, match=r"Put one image into a list"):
        embed(picture, [FakeBackbone()])
