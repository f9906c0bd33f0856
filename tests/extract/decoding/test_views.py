import numpy as np
import pytest
from fakes import FakeBackbone, draw, noisy
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from shards import key
from torchvision import transforms

from fc7.cache import Store
from fc7.cache.recipe import DECODES, Input, Transform
from fc7.extract import extract, fill, read_manifest
from fc7.extract.decoding.views import AREA, RATIO, _box, augmented, view
from fc7.extract.extraction import read

TRANSFORM = Transform(resize=40, crop=32)


def random_view(image, number, of=0, transform=TRANSFORM):
    return view(image, Input(transform, DECODES["exact"], number), key(of))


@pytest.fixture
def image():
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_view_0_is_the_centre_crop_whatever_the_key(image):
    expected = transforms.Compose([transforms.Resize(40), transforms.CenterCrop(32)])(image)
    np.testing.assert_array_equal(random_view(image, 0, of=1), np.asarray(expected))
    np.testing.assert_array_equal(random_view(image, 0, of=2), np.asarray(expected))


def test_a_view_follows_from_the_key_and_its_number_alone(image):
    np.testing.assert_array_equal(random_view(image, 1), random_view(image, 1))
    different = [random_view(image, 1), random_view(image, 2), random_view(image, 1, of=1)]
    assert len({one.tobytes() for one in different}) == 3
    assert all(one.shape == (32, 32, 3) and one.dtype == np.uint8 for one in different)


def test_views_are_crops_mirror_images_and_colours():
    """Of a picture whose left is dark and whose right is bright: half are mirrored, and means vary."""
    ramp = np.tile(np.linspace(60, 180, 200).astype(np.uint8), (100, 1))
    image = Image.fromarray(np.stack([ramp] * 3, axis=2))
    views = [random_view(image, number).astype(float) for number in range(1, 201)]
    mirrored = np.mean([one[:, 0].mean() > one[:, -1].mean() for one in views])
    assert 0.4 < mirrored < 0.6
    assert np.std([one.mean() for one in views]) > 15


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 2**32))
def test_random_crops_lie_inside_and_have_the_published_size_where_it_fits(width, height, seed):
    left, top, right, bottom = _box(width, height, np.random.default_rng(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    if min(width, height) > 100 and RATIO[0] <= width / height <= RATIO[1]:
        ratio = (right - left) / (bottom - top)
        assert RATIO[0] * 0.95 <= ratio <= RATIO[1] * 1.05
        assert AREA[0] * 0.9 <= (right - left) * (bottom - top) / (width * height) <= 1


def test_views_are_cached_beside_the_centre_crop(pictures, cache_dir):
    manifest = read_manifest(pictures)
    plain = extract(manifest, FakeBackbone(crop=32))
    backbone = FakeBackbone(crop=32, views=3)
    done = fill(manifest, [backbone])
    assert [one.recipe.view for one in done] == [0, 1, 2, 3]
    assert [one.computed for one in done] == [0, 10, 10, 10]
    assert backbone.batches == 9, "view 0 was there"
    table = read(manifest, backbone.recipes[0], views=3)
    assert len(table.views) == 3
    np.testing.assert_array_equal(table.vectors, plain.vectors)
    assert len({view.tobytes() for view in (table.vectors, *table.views)}) == 4
    again = extract(manifest, FakeBackbone(crop=32, views=2, batch_size=3))
    np.testing.assert_array_equal(again.views, table.views[:2])
    assert sum(one.computed for one in fill(manifest, [backbone])) == 0


def test_rows_of_views_go_with_their_images(tmp_path, cache_dir):
    """Order, folders and other images change nothing of an image's views."""
    for number in range(6):
        noisy(tmp_path / "d" / "ab"[number % 2] / f"{number}.png", (30 * number, 90, 60), number)
    first = extract(read_manifest(tmp_path / "d"), FakeBackbone(crop=16, views=2), cache=tmp_path / "one")
    (tmp_path / "d" / "a" / "0.png").rename(tmp_path / "d" / "b" / "zero.png")
    draw(tmp_path / "d" / "a" / "new.png", (1, 2, 3))
    second = extract(read_manifest(tmp_path / "d"), FakeBackbone(crop=16, views=2), cache=tmp_path / "two")
    there = {key: row for row, key in enumerate(second.keys)}
    rows = [there[key] for key in first.keys]
    for ours, theirs in zip(first.all_views(np.arange(6)), second.all_views(np.array(rows)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_view_has_a_recipe_of_its_own(cache_dir):
    backbone = FakeBackbone(views=2)
    ids = {recipe.id for number in range(3) for recipe in backbone.recipes_of(number)}
    assert len(ids) == 3
    assert backbone.recipes_of(0) == backbone.recipes
    assert len(Store(backbone.recipes_of(2)[0])) == 0


def test_a_mirrored_vector_is_the_mean_of_the_image_and_its_mirror_image(tmp_path, cache_dir):
    names = ["a/0", "b/1", "a/2", "b/3"]
    for number, name in enumerate(names):
        noisy(tmp_path / "d" / f"{name}.png", (30 * number, 90, 60), number)
        with Image.open(tmp_path / "d" / f"{name}.png") as image:
            ImageOps.mirror(image).save(tmp_path / "d" / f"{name}-mirrored.png")
    manifest = read_manifest(tmp_path / "d")
    plain = extract(manifest, FakeBackbone(crop=24, dtype="float32"), cache=cache_dir)
    both = extract(manifest, FakeBackbone(crop=24, dtype="float32", mirror=True), cache=cache_dir)
    row = {path: number for number, path in enumerate(plain.paths)}
    for name in names:
        one, other = row[f"{name}.png"], row[f"{name}-mirrored.png"]
        mean = (plain.vectors[one] + plain.vectors[other]) / 2
        assert np.abs(plain.vectors[one] - plain.vectors[other]).max() > 1e-3
        np.testing.assert_allclose(both.vectors[[one, other]], [mean, mean], atol=1e-6)


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**32))
def test_crops_stay_inside_the_picture(width, height, seed):
    image = Image.new("RGB", (width, height), "red")
    found = augmented(image, Transform(resize=18, crop=16), np.random.default_rng(seed))
    assert found.shape == (16, 16, 3)
    assert (found == (255, 0, 0)).all()


def test_augmentation_follows_from_its_seed():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    image, transform = Image.fromarray(pixels), Transform(resize=36, crop=32)
    first, again, other = (augmented(image, transform, np.random.default_rng([1, epoch, 5])) for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
