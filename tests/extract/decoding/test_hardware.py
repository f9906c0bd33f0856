"""Decoding on the device. Where there is no CUDA device, the processor stands for it: the calls are the same."""

import numpy as np
import pytest
import torch
from fakes import FakeBackbone, encoded
from PIL import Image

from fc7.cache.recipe import Transform
from fc7.errors import UsageError
from fc7.extract import extract, fill, load_backbone, read_manifest
from fc7.extract.decoding.decode import decode
from fc7.extract.decoding.hardware import fill_rows, takes
from fc7.extract.decoding.views import centre_crop

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]


def photo(width=80, height=60, seed=0, mode="RGB"):
    low = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(low).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def jpeg(image, **options):
    return encoded(image, "JPEG", quality=95, **options)


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(photo(), exif=exif)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("mode", "resize"), [("crop", 36), ("crop", 20), ("squash", 36), ("pad", 32), ("pad", 44)])
def test_pixels_are_nearly_those_of_the_processor(device, interpolation, mode, resize):
    transform = Transform(resize, 32, interpolation=interpolation, resize_mode=mode)
    files = {0: jpeg(photo()), 2: jpeg(photo(50, 90, 1)), 3: jpeg(photo(mode="L"))}
    pixels = torch.zeros(4, 32, 32, 3, dtype=torch.uint8, device=device)
    fill_rows(pixels, files, transform)
    assert not pixels[1].any()
    for row, data in files.items():
        expected = centre_crop(decode(data), transform).astype(int)
        difference = np.abs(pixels[row].cpu().numpy() - expected)
        # Of 40 real photographs the device's pixels differed by a grey level at most; these few pixels have a small
        # picture's colours, which it enlarges in another way.
        assert difference.max() <= (1 if device == "cpu" else 24)
        # Pillow may change the height of a tall picture first, and rounds between.
        assert difference.mean() < (2 if device != "cpu" else 0.25 if mode == "squash" else 0.05)


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        (jpeg(photo()), True),
        (jpeg(photo(mode="L")), True),
        (jpeg(photo()) + b"\n", True),
        (jpeg(photo(mode="CMYK")), False),
        (jpeg(photo())[:-200], False),
        (turned(), False),
        (b"", False),
        (b"GIF89a", False),
    ],
)
def test_only_ordinary_whole_jpegs_are_left_to_the_device(data, taken):
    assert takes(data) == taken


@pytest.fixture
def mixed(tmp_path):
    """JPEGs, a PNG, one that is turned, one that is cut off, one whose middle is rubbish."""
    files = {f"{number}.jpg": jpeg(photo(60 + number, 70, number)) for number in range(6)}
    files |= {"turned.jpg": turned(), "cut.jpg": jpeg(photo(seed=7))[:-200], "no.jpg": b"\xff\xd8rubbish\xff\xd9"}
    for number, (name, data) in enumerate(files.items()):
        path = tmp_path / "mixed" / "ab"[number % 2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    photo(seed=9).save(tmp_path / "mixed" / "a" / "other.png")
    return read_manifest(tmp_path / "mixed")


def test_what_the_device_does_not_take_the_processor_does(mixed, tmp_path):
    exact, device = FakeBackbone(crop=32, batch_size=4), FakeBackbone(crop=32, batch_size=4, decode="nvjpeg")
    device.forward = lambda batch: FakeBackbone.forward(device, np.asarray(batch))
    one, other = (fill(mixed, [backbone], cache=tmp_path / "cache")[0] for backbone in (exact, device))
    assert (other.ok, other.computed, other.rejects) == (one.ok, 8, one.rejects)
    tables = [extract(mixed, backbone, cache=tmp_path / "cache").vectors for backbone in (exact, device)]
    np.testing.assert_allclose(*tables, atol=2 / 255)


def test_a_batch_that_the_device_refuses_is_decoded_by_the_processor(mixed, tmp_path, monkeypatch):
    def refuse(*_):
        raise RuntimeError("nvJPEG: bad")

    exact = extract(mixed, FakeBackbone(crop=32), cache=tmp_path / "cache")
    monkeypatch.setattr("fc7.extract.decoding.hardware.fill_rows", refuse)
    device = extract(mixed, FakeBackbone(crop=32, decode="nvjpeg"), cache=tmp_path / "cache")
    np.testing.assert_array_equal(exact.vectors, device.vectors)
    assert exact.recipe.id != device.recipe.id


def test_it_needs_a_cuda_device_and_has_no_random_views(cache_dir):
    options = {"weights": "random:0", "decode": "nvjpeg"}
    with pytest.raises(UsageError, match="decode nvjpeg needs a CUDA device, this is cpu"):
        load_backbone("alexnet", device="cpu", **options).load()
    with pytest.raises(UsageError, match="centre only"):
        load_backbone("alexnet", views=2, **options)
