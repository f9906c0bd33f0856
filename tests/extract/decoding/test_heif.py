"""HEIC and AVIF, and what stands in for images that were not fetched."""

import io
import sys
import zlib

import numpy as np
import pytest
from fakes import encoded
from PIL import Image, ImageFile

from fc7.errors import ImageRejected, ImageUnreadable
from fc7.extract import fill, read_manifest
from fc7.extract.decoding import decode as module
from fc7.extract.decoding.decode import decode
from fc7.extract.decoding.heif import kind_of

pillow_heif = pytest.importorskip("pillow_heif")

UPRIGHT = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}


def heic(image, **options):
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, **options)
    return buffer.getvalue()


def picture(mode="RGB"):
    rows, columns = np.mgrid[:40, :60]
    pixels = np.stack([rows * 6, columns * 4, 255 - rows * 6], axis=-1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def far(one, other):
    """Return by how much two images differ on average."""
    return np.abs(np.asarray(one, float) - np.asarray(other, float)).mean()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_heic_is_decoded(mode):
    data = heic(picture(mode), quality=90)
    assert kind_of(data) == "HEIF"
    image = decode(data)
    assert (image.mode, image.size) == ("RGB", (60, 40))
    assert far(image, picture(mode).convert("RGB")) < 4


def test_transparency_is_white():
    clear = picture("RGBA")
    clear.putalpha(0)
    assert far(decode(heic(clear, quality=90)), Image.new("RGB", (60, 40), "white")) < 1


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_heic_and_avif_are_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = picture() if orientation == 1 else picture().transpose(UPRIGHT[orientation])
    for data in (heic(turned, quality=90, exif=exif.tobytes()), encoded(turned, "AVIF", quality=90, exif=exif)):
        assert decode(data).size == (60, 40)
        assert far(decode(data), picture()) < 6


def test_more_bits_are_scaled():
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    grey = decode(heic(Image.fromarray(ramp), quality=-1))
    assert far(grey.convert("L"), ramp / 257) < 2


def test_scaled_decoding_is_that_of_jpeg_alone():
    assert decode(heic(picture(), quality=90), 8).size == (60, 40)


def test_caps_hold_before_pixels_are_decoded(monkeypatch):
    for data in (heic(picture()), encoded(picture(), "AVIF")):
        with monkeypatch.context() as patch:
            patch.setattr(module, "MAX_PIXELS", 60 * 40 - 1)
            with pytest.raises(ImageRejected, match="60 x 40 pixels, more than 2399"):
                decode(data)
    for data in (heic(picture()), encoded(picture(), "AVIF")):
        taken = []
        monkeypatch.setattr(module, "take", taken.append)
        decode(data)
        assert taken[0] == 60 * 40 * 20


@pytest.mark.parametrize("truncated", [False, True])
def test_damaged_files_are_rejected_whatever_others_have_set(monkeypatch, truncated):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", truncated)
    for data in (heic(picture()), encoded(picture(), "AVIF")):
        for size in (12, 40, len(data) // 2, len(data) - 5):
            with pytest.raises(ImageRejected):
                decode(data[:size])


def test_heic_without_the_extra_is_looked_at_again(tmp_path, monkeypatch, fake):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(2):
            image = picture().rotate(90 * number + zlib.crc32(label.encode()) % 45)
            (tmp_path / label / f"{number}.heic").write_bytes(heic(image))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pillow_heif", None)
        rejects = fill(read_manifest(tmp_path), [fake])[0].rejects
        assert len(rejects) == 4
        assert all("pip install 'fc7[heif]'" in reject.reason for reject in rejects)
        with pytest.raises(ImageUnreadable):
            decode(heic(picture()))
    done = fill(read_manifest(tmp_path), [fake])[0]
    assert (done.computed, list(done.rejects)) == (4, [])


def test_a_pointer_of_git_lfs_is_called_so():
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 12345\n"
    with pytest.raises(ImageRejected, match="git lfs pull"):
        decode(pointer)


def test_other_containers_are_no_images():
    with pytest.raises(ImageRejected, match="not an image"):
        decode(b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(100))


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JFIF"])
def test_other_names_of_jpeg(pictures, suffix, fake):
    for path in pictures.rglob("*.png"):
        path.rename(path.with_suffix(suffix))
    assert fill(read_manifest(pictures), [fake])[0].computed == 10
