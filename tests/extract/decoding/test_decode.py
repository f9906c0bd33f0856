import io

import numpy as np
import pytest
import torch
from fakes import encoded
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

from fc7.cache.recipe import Transform
from fc7.errors import ImageRejected
from fc7.extract.decoding import decode as module
from fc7.extract.decoding.decode import decode
from fc7.extract.decoding.views import centre_crop


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@given(
    st.integers(20, 90),
    st.integers(20, 90),
    st.sampled_from([(16, 16), (18, 16), (40, 33), (64, 21), (16, 21), (17, 20)]),
)
@example(24, 20, (17, 20))  # smaller than the crop, as VOLO-D4 is made for
@example(20, 41, (16, 16))  # tall: Pillow's passes come in another order
@settings(max_examples=40)
def test_equal_to_torchvision_transform(width, height, sizes):
    resize, crop = sizes
    image = noise(width, height, width * height)
    theirs = v2.functional.pil_to_tensor(
        v2.Compose([v2.Resize(resize), v2.CenterCrop(crop)])(image)
    )  # before scaling and normalisation
    ours = centre_crop(image, Transform(resize=resize, crop=crop))
    assert np.array_equal(ours.transpose(2, 0, 1), theirs.numpy())


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_equal_to_the_preset_after_normalisation(interpolation):
    transform = Transform(resize=48, crop=40, interpolation=interpolation)
    image = noise(101, 77)
    preset = ImageClassification(
        crop_size=40,
        resize_size=48,
        interpolation=v2.InterpolationMode(interpolation),
        mean=transform.mean,
        std=transform.std,
    )
    pixels = torch.from_numpy(centre_crop(image, transform).copy()).permute(2, 0, 1).float() / 255
    ours = (pixels - torch.tensor(transform.mean).view(3, 1, 1)) / torch.tensor(transform.std).view(3, 1, 1)
    assert torch.allclose(ours, preset(image), atol=1e-6)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "AVIF"])
def test_accepted_formats_equal_pillow(format):
    data = encoded(noise(30, 20), format)
    assert np.array_equal(np.asarray(decode(data)), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_exif_orientation_is_applied():
    image = Image.new("RGB", (8, 4), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(image, "JPEG", exif=exif)).size == (4, 8)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_composited_on_white(mode):
    hidden = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    if mode == "P":
        palette = Image.new("P", (4, 4), 0)
        palette.putpalette([255, 0, 0] + [0, 0, 0] * 255)
        data = encoded(palette, transparency=0)
    else:
        data = encoded(hidden.convert(mode))
    assert np.asarray(decode(data)).min() == 255


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    found = np.asarray(decode(encoded(Image.fromarray(ramp))))
    assert np.array_equal(found[..., 0].reshape(-1), np.arange(256))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_other_modes_become_rgb(mode):
    image = noise(8, 8).convert(mode)
    found = decode(encoded(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert found.mode == "RGB"


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert tuple(np.asarray(decode(data))[0, 0]) == (255, 0, 0)


WHOLE = encoded(noise(64, 64), "JPEG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"hello world", "not an image"),
        (b"<html>not found</html>", "not an image"),
        (encoded(Image.new("RGB", (4, 4)), "GIF"), "not an image in one of the formats"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (WHOLE[: len(WHOLE) // 2], "damaged"),
        (WHOLE[:30], "damaged|not an image"),
        (encoded(Image.new("F", (4, 4)), "TIFF"), "floating point"),
    ],
)
def test_rejected_with_the_reason(data, reason):
    with pytest.raises(ImageRejected, match=reason):
        decode(data)


def test_truncated_files_are_rejected_whatever_other_libraries_have_set(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ImageRejected, match="damaged"):
        decode(WHOLE[: len(WHOLE) // 2])


def test_pixels_and_bytes_are_capped(monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 1000)
    with pytest.raises(ImageRejected, match="64 x 64 pixels, more than 1000"):
        decode(WHOLE)
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    with pytest.raises(ImageRejected, match="bytes, more than 100"):
        decode(WHOLE)


def test_a_bomb_is_rejected_without_being_unpacked():
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 200_000
    with pytest.raises(ImageRejected, match="pixels"):
        decode(bomb)


@given(st.binary(max_size=400), st.integers(0, len(WHOLE)))
@settings(max_examples=40)
def test_damaged_bytes_are_decoded_or_rejected_and_nothing_else(junk, place):
    data = WHOLE[:place] + junk + WHOLE[place + len(junk) :]
    try:
        assert decode(data).mode == "RGB"
    except ImageRejected as error:
        assert str(error)


# Reduced by the JPEG library


@pytest.mark.parametrize(
    ("side", "size"),
    [(None, (400, 300)), (300, (400, 300)), (150, (200, 150)), (151, (400, 300)), (60, (100, 75)), (10, (50, 38))],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_large_jpeg_keeps_at_least_the_side_asked_for(side, size, turned):
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    data = encoded(Image.new("RGB", (400, 300), (10, 200, 90)), "JPEG", exif=exif)
    found = decode(data, side)
    assert found.size == (size[::-1] if turned else size)
    assert np.abs(np.asarray(found).astype(int) - (10, 200, 90)).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_other_formats_are_decoded_whole(kind):
    assert decode(encoded(Image.new("RGB", (400, 300)), kind), 10).size == (400, 300)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_kinds_of_jpeg_are_reduced_too(mode):
    assert decode(encoded(Image.new(mode, (400, 300)), "JPEG"), 75).size == (100, 75)
