"""Decoding by a device's engine, with Pillow as a stand-in for it, and kernels that Triton interprets on a processor.

Where there is a CUDA device with an engine, the same runs on it.
"""

import io
import logging
import os

import fake_cuda
import numpy as np
import pytest
import torch
from fakes import FakeBackbone, encoded
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fc7.cache.recipe import Transform
from fc7.errors import EngineError, MissingExtra, UsageError
from fc7.extract import extract, fill, load_backbone, read_manifest
from fc7.extract.decoding.views import centre_crop, resized_size

pytest.importorskip("triton", reason="Triton comes with torch on Linux")
os.environ.setdefault("TRITON_INTERPRET", "0" if torch.cuda.is_available() else "1")  # before the kernels are made

from fc7.extract.decoding import hardware
from fc7.extract.decoding.device_resize import Decoded, Resizer, can_resize, weights_of

DEVICE = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def photo(width=80, height=60, seed=0, mode="RGB"):
    low = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(low).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def jpeg(image, **options):
    return encoded(image, "JPEG", quality=95, **options)


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(photo(40, 30), exif=exif)


def on_device(image, padding=0):
    """Return a picture as an engine would leave it, with some bytes between its rows."""
    pixels = np.asarray(image.convert("RGB"))
    rows = np.pad(pixels.reshape(len(pixels), -1), ((0, 0), (0, padding)), constant_values=255)
    there = torch.from_numpy(np.ascontiguousarray(rows)).to(DEVICE)
    return Decoded(there.data_ptr(), image.width, image.height, rows.shape[1], there)


def stand_in(files):
    """Decode as an engine does: no progressive ones, and what is cut off without a word."""
    images = [Image.open(io.BytesIO(data)) for data in files]
    return [None if image.info.get("progressive") else on_device(image, padding=5) for image in images]


# Resizing


def resized_there(images, transform):
    result = torch.zeros(len(images) + 1, transform.crop, transform.crop, 3, dtype=torch.uint8, device=DEVICE)
    rows = list(range(len(images), 0, -1))
    Resizer(transform, DEVICE)([on_device(image, 3) for image in images], rows, result)
    assert not result[0].any()
    return result[rows].cpu().numpy()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("mode", "resize"), [("crop", 8), ("crop", 12), ("squash", 9)])
def test_pixels_are_those_of_pillow_to_the_bit(interpolation, mode, resize):
    transform = Transform(resize, 8, interpolation=interpolation, resize_mode=mode)
    rng = np.random.default_rng(0)
    sizes = [(16, 16), (16, 12), (12, 12), (30, 40), (45, 17), (31, 17), (50, 36)]
    images = [Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in sizes]
    images = [image for image in images if can_resize(*image.size, transform)]
    assert len(images) >= 6
    for found, image in zip(resized_there(images, transform), images, strict=True):
        np.testing.assert_array_equal(found, centre_crop(image, transform))


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(4, 10), st.integers(4, 6), st.sampled_from(["crop", "squash"])
)
@settings(max_examples=8, deadline=None)
def test_any_size_that_it_takes_is_pillows(width, height, resize, crop, mode):
    transform = Transform(max(resize, crop), crop, interpolation="bicubic", resize_mode=mode)
    if can_resize(width, height, transform):
        pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        np.testing.assert_array_equal(resized_there([image], transform)[0], centre_crop(image, transform))


@given(st.integers(1, 90), st.integers(1, 90), st.integers(4, 60), st.sampled_from(["crop", "squash"]))
@settings(max_examples=100, deadline=None)
def test_of_any_size_that_it_takes_pillow_reduces_rows_first(width, height, resize, mode):
    transform, how = Transform(resize, 4, resize_mode=mode), Image.Resampling.BILINEAR
    if can_resize(width, height, transform):
        size = resized_size(width, height, transform)
        pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        rows_first = image.resize((size[0], height), how).resize(size, how)
        np.testing.assert_array_equal(np.asarray(image.resize(size, how)), np.asarray(rows_first))


@given(st.integers(1, 5000), st.integers(1, 600), st.sampled_from(["bilinear", "bicubic"]))
@settings(max_examples=40, deadline=None)
def test_weights_are_those_of_pillow(length, resized, interpolation):
    """Each pixel of a line, resized by Pillow where one pixel is white: its weights, as far as 8 bits show them."""
    side = weights_of(length, resized, resized, interpolation)
    assert side.first.min() >= 0
    assert (side.first + (side.weights != 0).sum(axis=1)).max() <= length
    white = length // 2
    line = np.zeros((1, length), np.uint8)
    line[0, white] = 255
    how = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    expected = np.asarray(Image.fromarray(line).resize((resized, 1), how))[0]
    tap = white - side.first
    there = (tap >= 0) & (tap < side.weights.shape[1])
    weight = np.where(there, np.take_along_axis(side.weights, np.where(there, tap, 0)[:, None], axis=1)[:, 0], 0)
    found = np.clip((255 * weight.astype(np.int64) + (1 << 21)) >> 22, 0, 255)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("size", "transform"),
    [
        ((100, 200), Transform(32, 32)),  # tall: Pillow 13 reduces its columns first
        ((60, 100), Transform(32, 32, resize_mode="squash")),  # so it does this one, which loses more height than width
        ((3, 5), Transform(4, 4, interpolation="bicubic", resize_mode="squash")),
        ((800, 100), Transform(32, 32)),
        ((100, 100), Transform(20, 32)),  # smaller than the crop
        ((100, 100), Transform(32, 32, resize_mode="pad")),
        ((5000, 4000), Transform(32, 32)),  # more weights than there is room for
    ],
)
def test_what_is_resized_otherwise_is_left_to_the_processor(size, transform):
    assert not can_resize(*size, transform)


def test_more_lengths_than_there_is_room_for_are_computed_anew(monkeypatch):
    monkeypatch.setattr("fc7.extract.decoding.device_resize.MOST_SIDES", 4)
    transform = Transform(12, 12)
    resizer, result = Resizer(transform, DEVICE), torch.zeros(1, 12, 12, 3, dtype=torch.uint8, device=DEVICE)
    for width, height in ((20, 19), (22, 21), (24, 23), (20, 19)):
        image = photo(width, height)
        resizer([on_device(image)], [0], result)
        np.testing.assert_array_equal(result[0].cpu().numpy(), centre_crop(image, transform))


# The engine


@pytest.fixture
def engine(monkeypatch):
    """Let the stand-in be what nvImageCodec makes of a device."""
    monkeypatch.setattr(hardware, "_nvimgcodec", lambda device: stand_in)
    return hardware.Engine(DEVICE)


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        (jpeg(photo()), True),
        (jpeg(photo(mode="L")), True),
        (jpeg(photo(mode="CMYK")), False),
        (jpeg(photo(), progressive=True), False),
        (jpeg(photo())[:-200], False),
        (jpeg(photo(40, 90)), False),
        (turned(), False),
        (b"", False),
    ],
)
def test_only_ordinary_whole_jpegs_are_left_to_it(data, taken):
    assert (hardware.takes(data, Transform(36, 32)) is not None) == taken


def test_an_engine_as_it_should_be_passes(engine):
    engine.check()


@pytest.mark.parametrize(("levels", "passes"), [(1, True), (2, False)])
def test_an_engine_that_decodes_other_pixels_is_refused(levels, passes):
    def other(files):
        pictures = []
        for data in files:
            pixels = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
            pixels[5, 5] = np.where(pixels[5, 5] > 127, pixels[5, 5] - levels, pixels[5, 5] + levels)
            pictures.append(on_device(Image.fromarray(pixels)))
        return pictures

    engine = hardware.Engine(DEVICE, other)
    if passes:
        engine.check()
    else:
        with pytest.raises(EngineError, match=f"pixels that are {levels} levels off. decode exact runs anywhere"):
            engine.check()


def test_an_engine_that_decodes_nothing_is_refused():
    with pytest.raises(EngineError, match="did not decode 4 of 4 pictures"):
        hardware.Engine(DEVICE, lambda files: [None] * len(files)).check()


def test_few_pictures_are_on_the_device_at_once(engine, monkeypatch):
    monkeypatch.setattr(hardware, "AT_ONCE", 3 * 30 * 20 * 2)
    asked, decoder = [], engine._decode
    engine._decode = lambda files: asked.append(len(files)) or decoder(files)
    files = {row: hardware.takes(jpeg(photo(30, 20, row)), Transform(12, 12)) for row in range(5)}
    pixels, left = engine.pixels_of(files, Transform(12, 12), 6)
    assert left == []
    assert not pixels[5].any()
    assert asked == [2, 2, 1]
    for row, file in files.items():
        expected = centre_crop(Image.open(io.BytesIO(file.data)), Transform(12, 12))
        np.testing.assert_array_equal(pixels[row].cpu().numpy(), expected)


def test_without_the_library_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nvidia.nvimgcodec", None)
    with pytest.raises(MissingExtra, match=r"nvidia-nvimgcodec is not installed. .*fc7\[cuda\]"):
        hardware.Engine(torch.device("cuda", 0))


def test_it_needs_a_cuda_device_and_has_no_random_views(cache_dir):
    options = {"weights": "random:0", "decode": "hardware"}
    with pytest.raises(UsageError, match="decode hardware needs a CUDA device, this is cpu; decode exact runs any"):
        load_backbone("alexnet", device="cpu", **options).load()
    with pytest.raises(UsageError, match="centre only"):
        load_backbone("alexnet", views=2, **options)


# In an extraction


@pytest.fixture
def mixed(tmp_path):
    """JPEGs, a PNG, a progressive one, one that is turned, one that is cut off, one whose middle is rubbish."""
    files = {f"{number}.jpg": jpeg(photo(30 + number, 34, number)) for number in range(6)}
    files |= {"turned.jpg": turned(), "cut.jpg": jpeg(photo(40, 30, 7))[:-200], "no.jpg": b"\xff\xd8rubbish\xff\xd9"}
    files["progressive.jpg"] = jpeg(photo(40, 30, 11), progressive=True)
    for number, (name, data) in enumerate(files.items()):
        path = tmp_path / "mixed" / "ab"[number % 2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    photo(40, 30, 9).save(tmp_path / "mixed" / "a" / "other.png")
    return read_manifest(tmp_path / "mixed")


class Beside(FakeBackbone):
    """One whose device decodes."""

    device = DEVICE

    def __init__(self):
        super().__init__(crop=8, batch_size=4, decode="hardware")

    def forward(self, batch):
        return super().forward(torch.as_tensor(batch).cpu().numpy())


def test_rows_are_those_of_the_processor_whoever_decodes(engine, mixed, tmp_path):
    exact, device = FakeBackbone(crop=8, batch_size=4), Beside()
    one, other = (fill(mixed, [backbone], cache=tmp_path / "cache")[0] for backbone in (exact, device))
    assert (other.ok, other.computed, other.rejects) == (one.ok, 9, one.rejects)
    tables = [extract(mixed, backbone, cache=tmp_path / "cache").vectors for backbone in (exact, device)]
    np.testing.assert_array_equal(*tables)
    assert exact.recipes[0].id != device.recipes[0].id


def test_beside_a_backbone_that_the_processor_decodes_for(engine, mixed, tmp_path):
    exact, device = FakeBackbone(crop=8, batch_size=4), Beside()
    one, other = fill(mixed, [exact, device], cache=tmp_path / "cache")
    assert (one.ok, one.rejects) == (other.ok, other.rejects)
    tables = [extract(mixed, backbone, cache=tmp_path / "cache").vectors for backbone in (exact, device)]
    np.testing.assert_array_equal(*tables)


def test_files_that_the_engine_refuses_are_decoded_by_the_processor(mixed, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG, "fc7")
    fake_cuda.install(monkeypatch, marked=False)
    monkeypatch.setattr(Beside, "device", fake_cuda.CUDA)
    streams = set()

    class Image:
        """What it makes of a file, on a device."""

        def __init__(self, there):
            self.there, shape = there, (there.height, there.width, 3)
            strides = (there.pitch, 3, 1)
            self.__cuda_array_interface__ = {"data": (there.pointer, False), "shape": shape, "strides": strides}

    class Decoder:
        asked = 0

        def decode(self, files, cuda_stream):
            self.asked += 1
            streams.add(cuda_stream)
            if self.asked == 2:  # after the check
                raise RuntimeError("nvImageCodec: bad")
            return [there and Image(there) for there in stand_in(files)][: None if self.asked == 1 else 1]

    class Library:
        class BackendKind:
            HW_GPU_ONLY = 1

        def Backend(kind):
            return kind

        def Decoder(device_id, options, backends):
            assert (device_id, options, backends) == (0, ":fancy_upsampling=1", [1])
            return Decoder()

    monkeypatch.setitem(__import__("sys").modules, "nvidia", type("nvidia", (), {"nvimgcodec": Library}))
    rows = extract(mixed, Beside(), cache=tmp_path / "cache").vectors
    np.testing.assert_array_equal(rows, extract(mixed, FakeBackbone(crop=8), cache=tmp_path / "cache").vectors)
    assert "decoded by the processor: nvImageCodec: bad" in caplog.text
    assert len(streams) == hardware.ENGINES, "each has its own"
    assert fake_cuda.DEFAULT.cuda_stream not in streams
