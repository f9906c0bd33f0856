import numpy as np
import pytest
from fakes import FakeBackbone, draw, noisy
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from shards import key
from torchvision import transforms

from fc7.cache import Store
from fc7.cache.recipe import DECODES, RESIZE_MODES, Input, Transform
from fc7.extract import extract, fill, read_manifest
from fc7.extract.decoding import views
from fc7.extract.decoding.views import AREA, RATIO, _box, augmented, view
from fc7.extract.extraction import read

TRANSFORM = Transform(resize=40, crop=32)


def random_view(image, number, of=0, transform=TRANSFORM):
    return view(image, Input(transform, DECODES["exact"], number), key(of))


def view_0(image, transform):
    return random_view(image, 0, transform=transform)


@pytest.fixture
def image():
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_view_0_is_the_centre_crop_whatever_the_key(image):
    expected = transforms.Compose([transforms.Resize(40), transforms.CenterCrop(32)])(image)
    np.testing.assert_array_equal(random_view(image, 0, of=1), np.asarray(expected))
    np.testing.assert_array_equal(random_view(image, 0, of=2), np.asarray(expected))


@given(
    st.tuples(st.integers(3, 90), st.integers(3, 90)),
    st.integers(16, 40),
    st.sampled_from([1.0, 0.9]),
    st.sampled_from(["bilinear", "bicubic"]),
    st.sampled_from([("crop", "center"), ("squash", "squash"), ("pad", "border")]),
)
@settings(max_examples=40)
def test_view_0_is_timms_in_every_mode(size, crop, share, interpolation, modes):
    """And torchvision's, of which timm's pipelines are made."""
    data = pytest.importorskip("timm.data")
    image = Image.fromarray(np.random.default_rng(size).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    options = {"crop_pct": share, "crop_mode": modes[1], "interpolation": interpolation, "use_prefetcher": True}
    expected = data.create_transform((3, crop, crop), **options)(image)
    found = view_0(image, Transform(int(crop / share), crop, interpolation=interpolation, resize_mode=modes[0]))
    np.testing.assert_array_equal(found.transpose(2, 0, 1), expected)


def test_the_whole_picture_stands_on_the_mean_colour():
    found = view_0(Image.new("RGB", (200, 40), "red"), Transform(32, 32, resize_mode="pad"))
    assert (found[13:19] == (255, 0, 0)).all()
    assert (found[[*range(13), *range(19, 32)]] == (124, 116, 104)).all()


@pytest.mark.parametrize("size", [(1, 40_000), (40_000, 1), (3, 20_000)])
@pytest.mark.parametrize("mode", ["squash", "pad"])
def test_strips_lose_nothing_and_take_little_memory(size, mode, monkeypatch):
    """No image between the steps has more pixels than the strip or a few crops; both ends are seen."""
    image = Image.new("RGB", size, "white")
    image.paste((255, 0, 0), (0, 0, *(side // 4 if side > 3 else side for side in size)))
    made, resize = [], views.Image.Image.resize

    def watched(image, to, *arguments, **options):
        made.append(to[0] * max(image.height, to[1]))  # after the width, if that is first
        return resize(image, to, *arguments, **options)

    monkeypatch.setattr(views.Image.Image, "resize", watched)
    found = view_0(image, Transform(32, 32, resize_mode=mode)).astype(int)
    assert max(made) <= max(image.width * image.height, views.LONGEST * 32 * 32)
    seen = found[found[..., 0] > 200]
    assert seen[:, 1].min() < 60
    assert seen[:, 1].max() > 200


def test_a_random_part_of_a_squashed_picture_is_squashed():
    """Of stripes that are as wide as high after squashing, a part has as many across as down, on average."""
    rows, columns = np.mgrid[:40, :400]
    pixels = np.stack([(rows // 4 % 2) * 255, (columns // 40 % 2) * 255, rows * 0], axis=2).astype(np.uint8)
    image, transform = Image.fromarray(pixels), Transform(64, 64, resize_mode="squash")
    parts = [augmented(image, transform, np.random.default_rng(seed)).astype(int) for seed in range(60)]
    across = np.mean([(np.abs(np.diff(part[..., 1], axis=1)) > 40).any(axis=0).sum() for part in parts])
    down = np.mean([(np.abs(np.diff(part[..., 0], axis=0)) > 40).any(axis=1).sum() for part in parts])
    assert 0.75 < across / down < 1.33
    plain = [augmented(image, Transform(64, 64), np.random.default_rng(seed)).astype(int) for seed in range(60)]
    assert np.mean([(np.abs(np.diff(part[..., 1], axis=1)) > 40).any(axis=0).sum() for part in plain]) < across / 2


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


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**32), st.sampled_from(RESIZE_MODES))
def test_crops_stay_inside_the_picture(width, height, seed, mode):
    image = Image.new("RGB", (width, height), "red")
    found = augmented(image, Transform(resize=18, crop=16, resize_mode=mode), np.random.default_rng(seed))
    assert found.shape == (16, 16, 3)
    assert (found == (255, 0, 0)).all()


def test_augmentation_follows_from_its_seed():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    image, transform = Image.fromarray(pixels), Transform(resize=36, crop=32)
    first, again, other = (augmented(image, transform, np.random.default_rng([1, epoch, 5])) for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
