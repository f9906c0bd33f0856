"""TIFF and deep grey: the right pixels by the file's tags, or a reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from fakes import encoded
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiff_files import tiff

from fc7.errors import ImageRejected
from fc7.extract.decoding.decode import decode, upright_rgb

ORDERS = pytest.mark.parametrize("order", "<>")
PACKED = pytest.mark.parametrize("compression", [1, 8])
RGB = np.arange(18).reshape(2, 3, 3) * 14


def packed(array, compression):
    return zlib.compress(array.tobytes()) if compression == 8 else array.tobytes()


def grey(data):
    """Return the pixels of a picture that must be grey."""
    pixels = np.asarray(decode(data))
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def test_sixteen_bits_white_is_zero_are_inverted():
    values = np.linspace(0, 65535, 256).round().astype("<u2").reshape(16, 16)
    found = grey(tiff((16, 16), values.tobytes(), bits=16, photometric=0))
    assert np.array_equal(found, 255 - np.arange(256).reshape(16, 16))
    assert np.array_equal(grey(tiff((16, 16), values.tobytes(), bits=16)), np.arange(256).reshape(16, 16))
    through_libtiff = tiff((16, 16), packed(values, 8), bits=16, photometric=0, compression=8)
    assert np.array_equal(grey(through_libtiff), found)


@given(st.integers(1, 16), st.lists(st.integers(0, 65535), min_size=6, max_size=6), st.booleans(), st.booleans())
@settings(max_examples=40)
def test_stated_bits_are_the_range(bits, values, white_is_zero, by_signed_tag):
    """By MaxSampleValue or SMaxSampleValue, as the largest value possible, or as the largest that occurs."""
    top = 2**bits - 1
    values = np.array(values).reshape(2, 3) % (top + 1)
    values[0, 0] = top
    tag = {"largest" if by_signed_tag else "largest_used": top}
    found = grey(tiff((3, 2), values.astype("<u2").tobytes(), bits=16, photometric=int(not white_is_zero), **tag))
    assert np.array_equal(found, np.floor((top - values if white_is_zero else values) * 255 / top + 0.5))


def test_a_largest_value_that_occurs_stands_for_its_bits():
    values = np.array([[0, 1000, 3871]], "<u2")
    found = grey(tiff((3, 1), values.tobytes(), bits=16, largest_used=3871))
    assert found.tolist() == [[0, round(1000 * 255 / 4095), round(3871 * 255 / 4095)]]


def test_twelve_bits_packed():
    data = bytes([0xFF, 0xF0, 0x00, 0x80, 0x00, 0x01])  # fff 000, 800 001
    assert grey(tiff((2, 2), data, bits=12)).tolist() == [[255, 0], [128, 0]]


@ORDERS
@PACKED
def test_thirty_two_bits_need_a_range(order, compression):
    values = np.array([[0, 5, 200, 255]], f"{order}i4")
    data = packed(values, compression)
    common = dict(order=order, bits=32, sample_format=2, compression=compression)
    with pytest.raises(ImageRejected, match=r"^32-bit grey without a stated range"):
        decode(tiff((4, 1), data, **common))
    stated = tiff((4, 1), data, **common, largest=255)
    if (order, compression) == (">", 8):  # Pillow swaps its bytes
        with pytest.raises(ImageRejected, match="wrong order"):
            decode(stated)
    else:
        assert grey(stated).tolist() == values.tolist()


def test_unsigned_and_large_ranges_of_thirty_two_bits():
    assert grey(tiff((2, 1), np.array([0, 65535], "<u4").tobytes(), bits=32, largest_used=65535)).tolist() == [[0, 255]]
    large = np.array([0, 2**31 - 1], "<u4")
    assert grey(tiff((2, 1), large.tobytes(), bits=32, largest=2**31 - 1)).tolist() == [[0, 255]]
    with pytest.raises(ImageRejected, match="grey values beyond 0 to 255"):
        decode(tiff((2, 1), np.array([0, 300], "<u4").tobytes(), bits=32, largest=255))


@ORDERS
def test_signed_sixteen_bits(order):
    values = np.array([[-1024, 0, 3071]], f"{order}i2")
    with pytest.raises(ImageRejected, match=r"^signed 16-bit grey without a stated range"):
        decode(tiff((3, 1), values.tobytes(), order=order, bits=16, sample_format=2))
    stated = tiff((3, 1), values.tobytes(), order=order, bits=16, sample_format=2, least=-1024, largest=3071)
    assert grey(stated).tolist() == [[0, 64, 255]]


@ORDERS
@PACKED
@pytest.mark.parametrize("bits", [8, 16])
def test_colours_side_by_side_and_in_planes(order, compression, bits):
    deep = (RGB * (257 if bits == 16 else 1)).astype(f"{order}u{bits // 8}")
    common = dict(order=order, bits=[bits] * 3, photometric=2, samples=3, compression=compression)
    assert np.array_equal(np.asarray(decode(tiff((3, 2), packed(deep, compression), **common))), RGB)
    planes = tiff((3, 2), *(packed(deep[..., band], compression) for band in range(3)), **common, planes=2)
    if (bits, compression) == (16, 1):  # Pillow takes every byte for a pixel
        with pytest.raises(ImageRejected, match="separate planes of 16 bits"):
            decode(planes)
    else:
        assert np.array_equal(np.asarray(decode(planes)), RGB)


@PACKED
def test_luma_and_chroma(compression):
    values = np.array([[[128, 128, 128], [200, 128, 128]], [[50, 200, 100], [60, 90, 180]]], np.uint8)
    y, blue, red = (values[..., band].astype(float) - (0, 128, 128)[band] for band in range(3))
    expected = np.clip(np.stack([y + 1.402 * red, y - 0.344 * blue - 0.714 * red, y + 1.772 * blue], -1), 0, 255)
    common = dict(bits=[8] * 3, photometric=6, samples=3, compression=compression)
    whole = tiff((2, 2), packed(values, compression), **common, subsampling=[1, 1])
    with Image.open(io.BytesIO(whole)) as opened:
        known = compression == 8 or opened.mode == "YCbCr"  # an older Pillow takes it for RGB
    if known:
        assert np.abs(np.asarray(decode(whole)) - expected).max() <= 2
    else:
        with pytest.raises(ImageRejected, match="YCbCr"):
            decode(whole)
    subsampled = tiff((2, 2), packed(np.array([10, 20, 30, 40, 128, 128], np.uint8), compression), **common)
    if compression == 8:
        assert grey(subsampled).tolist() == [[10, 20], [30, 40]]
    else:
        with pytest.raises(ImageRejected, match="uncompressed YCbCr"):
            decode(subsampled)


@ORDERS
@pytest.mark.parametrize("photometric", [0, 1])
def test_eight_bits_and_one_bit_either_way(order, photometric):
    values = np.array([[0, 10, 255]], np.uint8)
    expected = values if photometric else 255 - values
    assert np.array_equal(grey(tiff((3, 1), values.tobytes(), order=order, photometric=photometric)), expected)
    bit = grey(tiff((2, 1), b"\x80", order=order, bits=1, photometric=photometric)).tolist()
    assert bit == ([[255, 0]] if photometric else [[0, 255]])


@pytest.mark.parametrize("photometric", [0, 1])
def test_faxes_either_way(photometric):
    image = Image.fromarray(np.eye(16, dtype=bool))
    data = encoded(image, "TIFF", compression="group4", tiffinfo={262: photometric})
    assert np.array_equal(grey(data) > 0, np.asarray(Image.open(io.BytesIO(data)).convert("L")) > 0)
    with Image.open(io.BytesIO(data)) as stored:
        assert stored.tag_v2[262] == photometric


def test_printing_colours():
    data = bytes([0, 0, 0, 0, 255, 0, 0, 0])
    assert np.asarray(decode(tiff((2, 1), data, bits=[8] * 4, photometric=5, samples=4))).tolist() == [
        [[255, 255, 255], [0, 255, 255]]
    ]


def test_colour_maps():
    wide = [0, 65535, *[0] * 254, 0, 32896, *[0] * 254, 0, 257, *[0] * 254]
    assert np.asarray(decode(tiff((2, 1), b"\0\1", photometric=3, colour_map=wide))).tolist() == [
        [[0, 0, 0], [255, 128, 1]]
    ]
    narrow = [value // 257 for value in wide]
    with pytest.raises(ImageRejected, match="a colour map of 8 bits in 16"):
        decode(tiff((2, 1), b"\0\1", photometric=3, colour_map=narrow))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (dict(bits=8, sample_format=2), "signed 8-bit values"),
        (dict(bits=[16] * 3, photometric=2, samples=3, largest_used=[4095] * 3), "colours of 12 bits in 16"),
        (dict(bits=32, sample_format=3), "floating point"),
        (dict(bits=[8] * 3, photometric=8, samples=3, planes=2), "separate planes of 8 bits"),
    ],
)
def test_what_would_be_read_wrongly_has_a_reason(options, reason):
    strips = [bytes(64)] * (3 if "planes" in options else 1)
    with pytest.raises(ImageRejected, match=reason):
        decode(tiff((2, 2), *strips, **options))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_significant_bits_of_a_png_change_nothing():
    """An encoder fills the range; the chunk says only how many bits there were."""
    data = encoded(Image.fromarray(np.array([[0, 4096, 65535]], np.uint16)))
    header = 8 + 25
    told = data[:header] + chunk(b"sBIT", bytes([12])) + data[header:]
    assert np.array_equal(grey(told), grey(data))
    assert grey(data).tolist() == [[0, 16, 255]]


@pytest.mark.parametrize("largest", [1, 15, 255, 1023, 4095, 65535])
def test_maxval_of_a_pnm_is_white(largest):
    values = np.array([[0, largest // 2, largest]], ">u2" if largest > 255 else "u1")
    assert grey(b"P5 3 1 %d\n" % largest + values.tobytes()).tolist() == [
        [0, pytest.approx(largest // 2 * 255 / largest, abs=1), 255]
    ]
    colours = np.repeat(values[..., None], 3, 2)
    assert np.asarray(decode(b"P6 3 1 %d\n" % largest + colours.tobytes()))[0, :, 1].tolist()[::2] == [0, 255]


def test_integers_in_memory_need_a_range():
    with pytest.raises(ImageRejected, match=r"^32-bit grey without a stated range"):
        upright_rgb(Image.fromarray(np.array([[0, 255]], np.int32)))
    deep = Image.fromarray(np.array([[0, 65535]], np.uint16))
    assert np.asarray(upright_rgb(deep))[..., 0].tolist() == [[0, 255]]


# PNG


def png(values, bits, colours, key):
    """Return a PNG with a transparent colour: rows of as many bits, without a filter."""
    rows = [b"".join(f"{value:0{bits}b}".encode() for value in row) for row in values]
    packed_rows = b"".join(b"\0" + int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)
    header = struct.pack(">IIBBBBB", len(values[0]) // (3 if colours == 2 else 1), len(values), bits, colours, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tRNS", struct.pack(f">{len(key)}H", *key))]
    chunks += [(b"IDAT", zlib.compress(packed_rows)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_any_depth_is_white(bits):
    top = 2**bits - 1
    values = np.arange(16).reshape(2, 8) * top // 15
    key = int(values[0, 5])
    data = png(values, bits, 0, [key])
    expected = np.where(values == key, 255, np.floor(values * 255 / top + 0.5))
    assert np.array_equal(grey(data), expected)
    assert np.array_equal(np.asarray(upright_rgb(Image.open(io.BytesIO(data)))), np.asarray(decode(data)))


def test_a_transparent_colour_of_sixteen_bits_is_rejected():
    values = [[0, 0, 0, 300, 300, 300, 301, 300, 300, 65535, 0, 0]]
    for read in (decode, lambda data: upright_rgb(Image.open(io.BytesIO(data)))):
        with pytest.raises(ImageRejected, match=r"^a transparent colour of 16 bits$"):
            read(png(values, 16, 2, [300, 300, 300]))


def test_a_palette_with_transparency_is_composited_on_white():
    rgba = Image.fromarray(np.dstack([np.full((4, 4, 3), 20, np.uint8), np.arange(16, dtype=np.uint8).reshape(4, 4)]))
    found = upright_rgb(rgba.quantize(8))
    expected = Image.alpha_composite(Image.new("RGBA", (4, 4), "white"), rgba.quantize(8).convert("RGBA"))
    assert np.asarray(found).min() > 200
    assert np.array_equal(np.asarray(found), np.asarray(expected.convert("RGB")))
