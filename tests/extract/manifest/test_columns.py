"""Packed rows of a manifest against a list of them."""

import pickle
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.extract.manifest.columns import ImageEntry, Images

TEXT = st.text(st.characters(), max_size=8)  # with lone surrogates: a name on a disk need not be Unicode
WORD = st.sampled_from(["", "ants", "bees", "é"])
IMAGES = st.lists(st.builds(ImageEntry, TEXT, WORD, WORD, TEXT), max_size=20)


@given(IMAGES, st.data())
def test_a_sequence_of_images(images, data):
    packed = Images(images)
    assert len(packed) == len(images)
    assert list(packed) == images
    assert packed == images
    assert packed[2:15:3] == images[2:15:3]
    for name, column in (("path", "paths"), ("label", "labels"), ("split", "splits"), ("group", "groups")):
        assert list(getattr(packed, column)) == [getattr(image, name) for image in images]
        assert getattr(packed, column)[2:15:3] == [getattr(image, name) for image in images[2:15:3]]
    for row in range(-len(images), len(images)):
        assert packed[row] == images[row]
    with pytest.raises(IndexError):
        packed[len(images)]
    mask = data.draw(st.lists(st.booleans(), min_size=len(images), max_size=len(images)))
    assert packed.where(mask) == [image for image, kept in zip(images, mask, strict=True) if kept]
    assert pickle.loads(pickle.dumps(packed)) == images
    assert Images.of(packed) is packed
    assert hash(packed) == hash(Images.of(images))
    assert packed != [*images, ImageEntry("one", "more")]


def test_images_of_one_class_at_once():
    packed = Images([ImageEntry("0.jpg", "ants", "val")])
    assert packed.extend((f"{number}.jpg" for number in (1, 2)), "bees", "train") == 2
    assert packed.extend([], "none", "train") == 0
    assert list(packed)[1:] == [ImageEntry("1.jpg", "bees", "train"), ImageEntry("2.jpg", "bees", "train")]
    packed.append(ImageEntry("3.jpg", "none", "val", "g"))
    assert packed[-1] == ImageEntry("3.jpg", "none", "val", "g")


def test_memory_of_an_image():
    count = 20_000
    tracemalloc.start()
    try:
        packed = Images()
        packed.extend((f"train/class {number % 99:05}/{number:08}.jpg" for number in range(count)), "a", "train")
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(packed) == count
    assert held / count < 70  # 30 of them the path itself; as objects it would be 230
