"""Only facts about the bytes are rejections; all else is unreadable for now, with what to do."""

import hashlib
import io
import subprocess
import sys

import numpy as np
import pytest
from fakes import encoded
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiff_files import tiff

from fc7.cache.recipe import DECODES, Input, Transform
from fc7.errors import ImageRejected, ImageUnreadable
from fc7.extract.decoding import damage as module
from fc7.extract.decoding import decode as decoding
from fc7.extract.decoding import pillow
from fc7.extract.decoding.decode import decode
from fc7.extract.decoding.shared_pixels import Layout, SharedPixels
from fc7.extract.decoding.worker_process import DecodeProcess, Request

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8))
FAX = PICTURE.convert("1")
FILES = [
    *(encoded(PICTURE, kind) for kind in ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")),
    encoded(PICTURE, "JPEG", progressive=True),
    encoded(PICTURE.convert("CMYK"), "JPEG"),
    encoded(PICTURE.convert("P"), transparency=3),
    encoded(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 900)),
    encoded(PICTURE, "WEBP", lossless=True),
    *(encoded(PICTURE, "TIFF", compression=name) for name in ("tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits")),
    encoded(FAX, "TIFF", compression="group4"),
    encoded(PICTURE, exif=(lambda exif: exif.update({0x0112: 6}) or exif)(Image.Exif())),
    b"P2 2 2 255\n1 2 3 4",
    encoded(PICTURE, "AVIF"),
]


@st.composite
def mutated(draw):
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, min(len(data) - 1, draw(st.sampled_from([30, 200, 10**6])))))
        kind = draw(st.sampled_from(["set", "cut", "insert", "end"]))
        if kind == "set":
            data[place] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[place : place + draw(st.integers(1, 30))]
        elif kind == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=8))
        else:
            del data[place:]
        data = data or bytearray(b"x")
    return bytes(data)


def verdict(data):
    try:
        return np.asarray(decode(data)).tobytes()
    except ImageRejected as error:
        return str(error)


@given(mutated())
@settings(max_examples=40)
def test_what_is_wrong_with_mutated_files_is_a_fact_and_the_same_twice(data):
    first = verdict(data)
    assert first
    assert verdict(data) == first


def test_the_process_that_decodes_gives_the_same_verdicts(tmp_path):
    rng = np.random.default_rng(1)
    wanted = Input(Transform(resize=24, crop=16), DECODES["exact"], 0)
    files, here = [], {}
    for number, data in enumerate(FILES * 4):
        cut = bytearray(data[: rng.integers(len(data) // 2, len(data) + 1)])
        cut[rng.integers(0, len(cut))] = rng.integers(0, 256)
        path = tmp_path / str(number)
        path.write_bytes(cut)
        files.append((number, str(path), hashlib.sha256(cut).digest()))
        if isinstance(said := verdict(bytes(cut)), str):
            here[number] = said
    process = DecodeProcess(SharedPixels(Layout((wanted,), len(files), slots=1)))
    there = {row: str(failure) for row, failure in process.decode(Request(0, [wanted], files)).items()}
    process.close()
    assert there == here


def failing_with(error):
    def fail(*_, **__):
        raise error

    return fail


PASSING = {
    "memory": (MemoryError(), "there is not enough memory to decode it"),
    "memory of a codec": (OSError("out of memory when reading image file"), "out of memory when reading image file"),
    "memory of libtiff": (OSError("decoder error -9"), "decoder error -9"),
    "a codec": (OSError("decoder jpeg not available"), "this Pillow has no jpeg codec"),
    "a module": (ImportError("The _imagingcms C module is not installed"), "_imagingcms"),
    "recursion": (RecursionError("maximum recursion depth exceeded"), "recursion limit"),
    "a bug": (AttributeError("'NoneType' object has no attribute 'tile'"), "AttributeError"),
    "unknown": (RuntimeError("who knows"), "RuntimeError: who knows"),
    "a full table": (OSError(24, "Too many open files"), "Too many open files"),
}


@pytest.mark.parametrize("place", ["load", "getexif"])
@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_no_rejection(monkeypatch, name, place):
    error, reason = PASSING[name]
    monkeypatch.setattr(pillow.ImageFile.ImageFile, place, failing_with(error), raising=False)
    with pytest.raises(OSError, match=reason) as raised:
        decode(FILES[0])
    assert not isinstance(raised.value, ImageRejected)


def test_an_error_that_does_not_come_from_pillow_is_no_fact(monkeypatch):
    monkeypatch.setattr(decoding, "levels_of", failing_with(ValueError("of fc7")))
    with pytest.raises(ImageUnreadable, match="ValueError: of fc7"):
        decode(FILES[0])


def test_a_failure_that_passes_is_looked_at_twice(monkeypatch):
    real, calls = pillow.ImageFile.ImageFile.load, []

    def load(self):
        calls.append(1)
        if len(calls) == 1:
            module.pillow.ImageFile._safe_read(io.BytesIO(), 1)  # as a codec says it for want of memory
        return real(self)

    monkeypatch.setattr(pillow.ImageFile.ImageFile, "load", load)
    assert decode(FILES[0]).size == PICTURE.size
    assert len(calls) == 2


def test_where_memory_is_short_nothing_is_a_fact(monkeypatch):
    monkeypatch.setattr(module, "MARGIN", 2**60)
    with pytest.raises(ImageUnreadable, match="not enough memory"):
        decode(FILES[0][:500])
    with pytest.raises(ImageRejected, match="not an image"):
        decode(b"hello")


@pytest.mark.parametrize(
    ("codec", "file", "name"),
    [("jpeg_decoder", 0, "jpeg"), ("zip_decoder", 1, "zip"), ("libtiff_decoder", 11, "libtiff")],
)
def test_a_pillow_without_a_codec(monkeypatch, codec, file, name):
    monkeypatch.delattr(Image.core, codec)
    with pytest.raises(ImageUnreadable, match=f"this Pillow has no {name} codec. Install a complete Pillow"):
        decode(FILES[file])


MISSING = """
import sys
sys.modules["PIL._webp"] = sys.modules["PIL._imagingcms"] = None
from fc7.extract.decoding.decode import decode
from fc7.errors import ImageRejected
for path in sys.argv[1:]:
    try:
        decode(open(path, "rb").read())
    except ImageRejected as error:
        print("rejected", error)
    except OSError as error:
        print(error)
"""


def test_a_pillow_without_webp_and_colour_management(tmp_path):
    (tmp_path / "a.webp").write_bytes(FILES[5])
    (tmp_path / "a.tif").write_bytes(encoded(Image.new("LAB", (8, 8)), "TIFF"))
    (tmp_path / "half.webp").write_bytes(FILES[5][:100])
    (tmp_path / "text.webp").write_bytes(b"text")
    words = [sys.executable, "-c", MISSING, *sorted(map(str, tmp_path.iterdir()))]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    complete = "Install a complete Pillow: pip install --force-reinstall pillow"
    assert lines[1] == lines[2] == f"this Pillow has no WEBP codec. {complete}"
    assert lines[0].endswith(complete)
    assert lines[3].startswith("rejected not an image")


def test_a_compression_that_this_pillow_cannot_read_is_no_fact_and_a_damaged_strip_is():
    assert np.asarray(decode(tiff((4, 2), bytes(range(8)))))[..., 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(ImageUnreadable, match="this Pillow has no TIFF tiff_thunderscan codec"):
        decode(tiff((4, 2), b"12345678", compression=32809))
    with pytest.raises(ImageRejected, match="damaged"):
        decode(tiff((4, 2), b"12345678", compression=8))


LIMITED = """
import io, resource, sys
import numpy as np
from fc7.extract.decoding.decode import decode
from fc7.errors import ImageRejected
def used():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
for path in sys.argv[1:]:
    data = open(path, "rb").read()
    resource.setrlimit(resource.RLIMIT_AS, (used() + 2**24, resource.RLIM_INFINITY))
    try:
        decode(data)
        print("decoded")
    except ImageRejected as error:
        print("rejected", error)
    except OSError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_under_a_limit_of_memory_no_image_is_rejected(tmp_path):
    large = Image.new("RGB", (4000, 4000), (200, 90, 10))
    for kind, options in {
        "JPEG": {"progressive": True},
        "PNG": {"compress_level": 1},
        "WEBP": {"method": 0},
        "TIFF": {"compression": "tiff_lzw"},
        "BMP": {},
    }.items():
        (tmp_path / kind).write_bytes(encoded(large, kind, **options))
    words = [sys.executable, "-c", LIMITED, *map(str, tmp_path.iterdir())]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == 5
    assert set(lines) <= {str(module.short_of_memory()), "decoded"}
    assert str(module.short_of_memory()) in lines
