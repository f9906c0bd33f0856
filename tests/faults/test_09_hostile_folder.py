"""Fault test 9: a folder in which whatever can be wrong with an image file is wrong with some; all is accounted."""

import io
import json
import os
import random
import socket
import struct
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fakes import encoded
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fc7.extract.decoding.decode import FORMATS, MAX_PIXELS
from fc7.extract.manifest.paths import MAX_BYTES, SUFFIXES

TESTS = Path(__file__).resolve().parents[1]
LIMIT = 1_000_000_000  # bytes above what the process had before
NO_IMAGE = f"not an image in one of the formats {', '.join(FORMATS)}"


class Folder:
    """Writes files and remembers what is to be said of each: a reason, or nothing of an image."""

    def __init__(self, root):
        self.root, self.expected, self.contents = root, {}, Counter()

    def path(self, name):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def image(self, name, data):
        self.path(name).write_bytes(data)
        self.contents[data] += 1

    def reject(self, name, reason, data=None):
        self.expected[name] = reason
        if data is not None:
            self.path(name).write_bytes(data)
        return self.path(name)

    @property
    def counts(self):
        duplicate = sum(self.contents.values()) - len(self.contents)
        rejected = len(self.expected)
        return {
            "seen": len(self.contents) + duplicate + rejected,
            "ok": len(self.contents),
            "duplicate": duplicate,
            "rejected": rejected,
        }


def noise(seed, width=24, height=20):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8))


def png_of(width, height, colour=2, depth=8, chunks=b""):
    """Return a PNG with an honest header of any size and no more than the beginning of its pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunks + chunk(b"IDAT", zlib.compress(bytes(1000)))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff_of_one_tile(side):
    """Return a TIFF of 16 x 16 pixels in one tile of any size, which is decoded whole."""
    data = zlib.compress(bytes(1000))
    tags = [(256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (277, 1), (322, side), (323, side), (324, 8), (325, 0)]
    tags = [(tag, {324: 8, 325: len(data)}.get(tag, value)) for tag, value in tags]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    start = 8 + len(data)
    return b"II*\0" + struct.pack("<I", start) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def add_kinds(folder):
    """Every kind of image that is taken."""
    for number, kind in enumerate(("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM")):
        suffix = {"JPEG": "jpg", "TIFF": "tif"}.get(kind, kind.lower())
        folder.image(f"a/kind.{suffix}", encoded(noise(number).convert("RGB"), kind))
        folder.image(f"b/UPPER {number}.{suffix.upper()}", encoded(noise(100 + number).convert("RGB"), kind))
    for number, mode in enumerate(("1", "L", "LA", "P", "RGBA")):
        folder.image(f"a/mode {mode}.png", encoded(noise(200 + number).convert(mode)))
    colours = noise(210).convert("RGB")
    grey16 = Image.fromarray(np.random.default_rng(1).integers(0, 65536, (20, 24), dtype=np.uint16))
    lab = Image.frombytes("LAB", (24, 20), noise(211).convert("RGB").tobytes())
    folder.image("a/mode CMYK.jpg", encoded(colours.convert("CMYK"), "JPEG"))
    ycbcr = encoded(colours.convert("YCbCr"), "TIFF")
    if Image.open(io.BytesIO(ycbcr)).mode == "YCbCr":  # an older Pillow takes it for RGB, and it is rejected
        folder.image("a/mode YCbCr.tif", ycbcr)
    folder.image("a/mode LAB.tif", encoded(lab, "TIFF"))
    folder.image("a/16 bit.png", encoded(grey16))
    folder.image("a/16 bit.tif", encoded(grey16, "TIFF"))
    folder.image("a/16 bit.pgm", b"P5 24 20 65535\n" + np.asarray(grey16).astype(">u2").tobytes())
    folder.image("a/P with tRNS.png", encoded(colours.quantize(16), transparency=3))
    folder.image("a/RGB with tRNS.png", encoded(colours, transparency=(1, 2, 3)))
    folder.image("a/progressive.jpeg", encoded(noise(212).convert("RGB"), "JPEG", progressive=True))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        folder.image(f"a/exif {orientation}.jpg", encoded(noise(220).convert("RGB"), "JPEG", exif=exif))
    frames = [noise(230 + number).convert("RGB") for number in range(3)]
    for kind, suffix in (("WEBP", "webp"), ("PNG", "png"), ("TIFF", "tiff")):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        folder.image(f"a/animated.{suffix}", data)
    folder.image("a/a png by another name.jpg", encoded(noise(240)))
    folder.image("a/all length.png", encoded(Image.new("L", (50_000, 2), 77)))
    folder.image("a/folder.jpg/in it.jpg", encoded(noise(241).convert("RGB"), "JPEG"))
    broken_exif = Image.Exif()
    broken_exif[0x0110] = "model " * 20
    data = encoded(noise(242).convert("RGB"), "JPEG", exif=broken_exif)
    folder.image(
        "a/exif cut.jpg", data.replace(struct.pack(">HHI", 0x0110, 2, 121), struct.pack(">HHI", 0x0110, 2, 9999))
    )


def add_names(folder):
    names = ["new\nline", "tab\tbell\a", "\u202ertl", "=1+1", "-rf", " blank ", "<b>&amp;", "dot.dot", "n" * 251]
    names += [os.fsdecode(b"caf\xe9"), "caf\u00e9", "cafe\u0301", "\u4e16\u754c", "'; DROP TABLE files;--", "%s{0}"]
    for number, name in enumerate(names):
        folder.image(f"a/{name}.png", encoded(noise(300 + number)))
        folder.image(f"b/{name}.png", encoded(noise(400 + number)))  # the same name in another folder
    for name in (".hidden.jpg", ".DS_Store", ".thumbnails/1.jpg", "Thumbs.db", "@eaDir/x.jpg/SYNOPHOTO_THUMB_M.jpg"):
        folder.path(f"a/{name}").write_bytes(encoded(noise(1)))  # not looked at, and not seen


def add_damage(folder):
    for number, (kind, suffix) in enumerate(
        (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("BMP", "bmp"), ("TIFF", "tif"), ("PPM", "ppm"))
    ):
        whole = encoded(noise(500 + number, 80, 60).convert("RGB"), kind)
        folder.reject(f"b/half.{suffix}", "damaged", whole[: len(whole) // 2])
    folder.reject("b/half lzw.tif", "damaged", tiff_with_cut_strip())
    zeros = bytearray(encoded(noise(510)))
    zeros[60:90] = bytes(30)
    folder.reject("b/zeros.png", "damaged", bytes(zeros))
    for name in ("empty", "empty too"):
        folder.reject(f"b/{name}.jpg", "empty file", b"")
    texts = {"text": b"hello\n", "page": b"<html>404</html>", "script": b"#!/bin/sh\nrm -rf /\n", "nul": bytes(999)}
    texts |= {"eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "svg": b"<svg onload='alert(1)'/>"}
    texts |= {"gif": encoded(noise(511).convert("L"), "GIF"), "ico": encoded(noise(512), "ICO"), "zip": b"PK\3\4" * 9}
    for name, data in texts.items():
        folder.reject(f"b/{name}.jpg", NO_IMAGE, data)
    for name in ("x.gif", "notes.txt", "noext", "x.svg", "x.jpg.exe"):
        suffix = Path(name).suffix
        folder.reject(f"b/{name}", f"suffix {suffix!r} is not one of {' '.join(SUFFIXES)}", b"x")
    floats = Image.fromarray(np.zeros((4, 4), np.float32))
    folder.reject("b/float.tif", "floating point pixels have no defined range", encoded(floats, "TIFF"))
    wide = Image.fromarray(np.full((4, 4), 70_000, np.int32))
    folder.reject("b/wide.tif", "32-bit grey without a stated range", encoded(wide, "TIFF"))


def tiff_with_cut_strip():
    """Return a packed TIFF in whose one strip the end is zero."""
    data = bytearray(encoded(noise(520, 80, 60).convert("RGB"), "TIFF", compression="tiff_adobe_deflate"))
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    return bytes(data)


def add_bombs(folder):
    cap = f"more than {MAX_PIXELS}"
    folder.reject("b/bomb 400 Mpx.png", f"{cap} pixels", png_of(20_000, 20_000))
    folder.reject("b/bomb 100 Mpx.png", f"10000 x 10000 pixels, {cap}", png_of(10_000, 10_000))
    folder.reject("b/bomb 65 Mpx.png", f"8125 x 8000 pixels, {cap}", png_of(8125, 8000, colour=6))
    folder.reject("b/bomb long.png", f"90000000 x 1 pixels, {cap}", png_of(90_000_000, 1))
    folder.reject("b/bomb.pgm", f"65000 x 1000 pixels, {cap}", b"P5 65000 1000 255\n")
    folder.reject("b/bomb tile.tif", f"20000 x 20000 pixels, {cap}", tiff_of_one_tile(20_000))
    text = PngInfo()
    text.add_text("comment", "x" * 100_000_000, zip=True)
    folder.reject("b/bomb text.png", "damaged", encoded(noise(600), pnginfo=text))
    slow = "3000 x 3000 pixels in this kind of PPM, more than 8000000"
    folder.reject("b/slow.ppm", slow, b"P6 3000 3000 254\n" + bytes(100))
    sparse = folder.reject("b/sparse.jpg", f"{MAX_BYTES + 1} bytes, more than {MAX_BYTES}")
    with sparse.open("wb") as file:
        file.truncate(MAX_BYTES + 1)


def add_big(folder):
    """Images just below the cap, which are taken: the most that one may cost."""
    grey = np.tile(np.arange(200, dtype=np.uint8), (7600, 39))[:, :7800]
    alpha = Image.merge("RGBA", [Image.fromarray(grey)] * 4)
    folder.image("a/59 Mpx alpha.png", encoded(alpha, compress_level=1))
    folder.image("b/59 Mpx 16 bit.png", encoded(Image.fromarray(grey.astype(np.uint16) * 300), compress_level=1))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(alpha.convert("RGB"), "JPEG", exif=exif, quality=30, progressive=True)
    folder.image("a/59 Mpx turned.jpg", turned)


def add_no_files(folder):
    os.mkfifo(folder.reject("b/pipe.jpg", "not a regular file"))
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder.root)  # the name of a socket may not be long
        server.bind("b/socket.jpg")
        os.chdir(here)
    folder.reject("b/socket.jpg", "not a regular file")
    folder.reject("b/dangling.jpg", "not readable: No such file or directory").symlink_to("nowhere.jpg")
    folder.reject("b/itself.jpg", "not readable: Too many levels of symbolic links").symlink_to("itself.jpg")
    folder.reject("b/here", "a link that loops back to b").symlink_to(".")
    folder.reject("a/up", "a link that loops back to .").symlink_to("..")
    folder.path("b/deep/er/x").mkdir(parents=True)
    folder.reject("b/deep/er/x/loop", "a link that loops back to b/deep").symlink_to("../..")
    inside = encoded(noise(700))
    folder.image("b/deep/er/inside.png", inside)
    folder.path("a/elsewhere").symlink_to("../b/deep")  # a folder of another class, and the loop in it once more
    folder.contents[inside] += 1
    folder.reject("a/elsewhere/er/x/loop", "a link that loops back to a/elsewhere")
    folder.reject("a/elsewhere again", "a link to the same folder as a/elsewhere").symlink_to("../b/deep")


def build(root, files):
    folder = Folder(root)
    for add in (add_kinds, add_names, add_damage, add_bombs, add_big, add_no_files):
        add(folder)
    generator = random.Random(9)
    number = 0
    while folder.counts["seen"] < files:
        number += 1
        label = "ab"[number % 2]
        if number % 5 == 0:  # bytes that are there already, under another name
            folder.image(f"{label}/copy {number}.jpg", generator.choice([*folder.contents][:50]))
        elif number % 7 == 0:
            whole = encoded(noise(1000 + number, 60, 60).convert("RGB"), "JPEG")
            folder.reject(f"{label}/cut {number}.jpg", "damaged", whole[: generator.randrange(700, len(whole) - 100)])
        else:
            folder.image(f"{label}/plain {number}.jpg", encoded(noise(1000 + number).convert("RGB"), "JPEG"))
    return folder


# The peak is the system's high-water mark; ru_maxrss begins with that of the process that started this one.
CHILD = """
import json, re, sys
from pathlib import Path
from fakes import FakeBackbone
from fc7.extract import fill, read_manifest
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
import torch  # part of any backbone
manifest, backbone = read_manifest(sys.argv[1]), FakeBackbone()
before = peak()
done = fill(manifest, [backbone], workers=2)[0]
print(json.dumps(done.to_dict() | {"peak": peak() - before}))
"""


@pytest.mark.timeout(600)
def test_everything_in_a_hostile_folder_is_accounted(tmp_path, size, figure):
    folder = build(tmp_path / "data", size(600, 5000))
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD, folder.root],
        capture_output=True,
        text=True,
        timeout=550,
        env=os.environ | {"PYTHONPATH": str(TESTS), "FC7_CACHE": str(tmp_path / "cache")},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    done = json.loads(run.stdout)
    found = {one["path"]: one["reason"] for one in done["rejects"]}
    found = {path: "damaged" if reason.startswith("damaged: ") else reason for path, reason in found.items()}
    assert found == folder.expected
    assert {name: done[name] for name in folder.counts} == folder.counts
    assert done["seen"] == done["ok"] + done["duplicate"] + done["rejected"]
    assert len(done["rejects"]) == done["rejected"]
    assert "Warning" not in run.stderr
    assert "Traceback" not in run.stderr
    assert done["peak"] < LIMIT
    figure(
        "A hostile folder of images",
        f"{done['seen']} files, {len(set(folder.expected.values()))} different reasons",
        f"{done['ok']} ok + {done['duplicate']} duplicate + {done['rejected']} rejected, every reason as expected, "
        f"peak {done['peak'] / 1e6:.0f} MB",
    )
