"""Which JPEGs are left to an engine: found by their markers alone."""

import contextlib
import io

import numpy as np
import pytest
from fakes import encoded
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fc7.errors import ImageRejected
from fc7.extract.decoding.decode import decode
from fc7.extract.decoding.jpeg_header import ordinary_frame


def photo(width=80, height=60, seed=0, mode="RGB"):
    low = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(low).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def jpeg(mode="RGB", **options):
    return encoded(photo(mode=mode), "JPEG", quality=95, **options)


def exif(turn, order="<"):
    made = Image.Exif()
    made.endian = order
    made[0x010F], made[0x0112] = "a maker", turn
    return made


def inserted(data, marker, part):
    """Return a JPEG with a part of its own after the start."""
    return data[:2] + bytes([0xFF, marker]) + (len(part) + 2).to_bytes(2) + part + data[2:]


XMP = b'http://ns.adobe.com/xap/1.0/\0<rdf:Description tiff:Orientation="%d"/>'
PLAIN = jpeg()


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        jpeg("L"),
        jpeg(subsampling=0),
        jpeg(subsampling=1),
        jpeg(subsampling=2),
        jpeg(optimize=True),
        jpeg(restart_marker_blocks=2),
        jpeg(exif=exif(1)),
        jpeg(exif=exif(1, ">")),
        jpeg(comment=b"a comment"),
        PLAIN + b"\n",
        inserted(PLAIN, 0xE1, XMP % 1),
        inserted(PLAIN, 0xEE, b"Adobe\0d\0\0\0\0\1"),
        inserted(jpeg("L"), 0xEE, b"Adobe\0d\0\0\0\0\0"),
    ],
)
def test_ordinary_ones_have_their_size(data):
    assert ordinary_frame(data)[:2] == Image.open(io.BytesIO(data)).size


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"\xff\xd8\xff\xd9",
        PLAIN[:-200],
        PLAIN[:300] + b"\xff\xd9",
        jpeg("CMYK"),
        jpeg(progressive=True),
        jpeg(keep_rgb=True),
        inserted(PLAIN, 0xEE, b"Adobe\0d\0\0\0\0\0"),
        inserted(PLAIN, 0xE1, XMP % 6),
        *(jpeg(exif=exif(turn, order)) for turn in range(2, 9) for order in "<>"),
        inserted(PLAIN, 0xE1, b"Exif\0\0rubbish"),
    ],
)
def test_all_others_are_left_to_the_processor(data):
    assert ordinary_frame(data) is None


def test_other_samplings_are_left_to_the_processor():
    """4:1:1, 4:4:0 and so on: an engine's pixels were not compared."""
    start = PLAIN.index(b"\xff\xc0")
    for factors in (0x41, 0x12, 0x14, 0x44):
        data = bytearray(PLAIN)
        data[start + 11] = factors
        assert ordinary_frame(bytes(data)) is None


@given(st.integers(0, len(PLAIN) - 1), st.integers(0, 255))
@settings(max_examples=40)
def test_no_byte_makes_it_fail_and_a_size_is_the_processors(place, value):
    data = bytearray(jpeg(exif=exif(1)))
    data[place] = value
    frame = ordinary_frame(bytes(data))
    if frame is not None:
        with contextlib.suppress(ImageRejected):  # damaged where no marker says it
            assert decode(bytes(data)).size == frame[:2]


def test_turned_pictures_differ_here():
    """The twin: what is left to the processor is another picture."""
    assert decode(jpeg(exif=exif(6))).size == (60, 80)
