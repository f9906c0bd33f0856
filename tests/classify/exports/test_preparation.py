"""What a file says of its input is enough: the example, which does not know fc7, answers as fc7 predict does."""

import importlib.util
import io
import json
import re
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from exported import SQUEEZENET
from fakes import encoded
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fc7.cache.recipe import DECODES, RESIZE_MODES, Recipe, Transform
from fc7.classify.exports import preparation
from fc7.classify.exports.exported_module import NO_ANSWER, ExportModule
from fc7.classify.exports.head_layers import last_layers
from fc7.errors import ImageRejected
from fc7.extract.decoding.decode import decode
from fc7.extract.decoding.views import centre_crop

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "predict_onnx.py"
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def noise(*shape, seed=0, highest=256, dtype=np.uint8):
    """Return coarse noise, so that a wrong rule shows after the resize, too."""
    low = np.random.default_rng(seed).integers(0, highest, (9, 13, *shape), dtype=dtype)
    return low.repeat(11, axis=0).repeat(9, axis=1)


def with_exif(value):
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return {"exif": exif}


def frames(seed=0):
    first, second = (Image.fromarray(noise(3, seed=seed + number)) for number in (0, 1))
    return first, {"save_all": True, "append_images": [second]}


RGB, RGBA = Image.fromarray(noise(3)), Image.fromarray(noise(4, seed=1))
DEEP = Image.fromarray(noise(highest=2**16, dtype=np.uint16))
PALETTE = RGB.quantize(16)
MIDDLE = (58, 49)
KINDS = {
    "rgb.png": (RGB, {}),
    "rgb.jpg": (RGB, {}),
    "progressive.jpg": (RGB, {"progressive": True}),
    "grey.png": (RGB.convert("L"), {}),
    "grey.jpg": (RGB.convert("L"), {}),
    "black and white.png": (RGB.convert("1"), {}),
    "grey and alpha.png": (RGBA.convert("LA"), {}),
    "rgba.png": (RGBA, {}),
    "rgba.webp": (RGBA, {"lossless": True, "exact": True}),
    "rgba.tiff": (RGBA, {}),
    "transparent colour.png": (RGB, {"transparency": RGB.getpixel(MIDDLE)}),
    "transparent grey.png": (RGB.convert("L"), {"transparency": RGB.convert("L").getpixel(MIDDLE)}),
    "palette.png": (PALETTE, {}),
    "transparent palette.png": (PALETTE, {"transparency": bytes(range(0, 256, 16))}),
    "transparent index.png": (PALETTE, {"transparency": PALETTE.getpixel(MIDDLE)}),
    "deep grey.png": (DEEP, {}),
    "deep grey.tiff": (DEEP, {}),
    "transparent deep grey.png": (DEEP, {"transparency": DEEP.getpixel(MIDDLE)}),
    "cmyk.jpg": (RGB.convert("CMYK"), {}),
    "cmyk.tiff": (Image.merge("CMYK", RGBA.split()), {}),
    **{f"orientation {value}.jpg": (RGB, with_exif(value)) for value in range(1, 9)},
    "orientation 6.png": (RGBA, with_exif(6)),
    "orientation 5.tiff": (RGB, with_exif(5)),
    "1 x 1.png": (RGB.crop((3, 3, 4, 4)), {}),
    "1 x 5000.png": (Image.fromarray(noise(3).reshape(-1, 1, 3)[:5000]), {}),
    "4999 x 3.png": (Image.fromarray(noise(3, seed=4).reshape(1, -1, 3)[:, :4999].repeat(3, axis=0)), {}),
    "animated.webp": frames(7),
    "animated.png": frames(8),
    "pages.tiff": frames(9),
}
# Where reading it as most programs do gives other probabilities: the test would see a rule that is not applied.
SEEN = [name for name in KINDS if name.startswith(("grey and", "rgba", "transparent", "deep", "orientation 5.jpg"))]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    for name, (image, options) in KINDS.items():
        image.save(folder / name, **options)
    return folder


@pytest.fixture(scope="module")
def answers(home, pictures):
    """What fc7 predict answers, by name, and the ONNX file of its bundle."""
    bundle = home.bundle("logreg", max_error=0.1, **SQUEEZENET)
    found = bundle.predict([pictures / name for name in KINDS], batch_size=4, cache=home.cache)
    return dict(zip(KINDS, found, strict=True)), home.exported(".onnx", bundle).path


@pytest.mark.parametrize("name", KINDS)
def test_the_example_answers_as_fc7_predict(answers, pictures, example, name):
    expected, network = answers[0][name], answers[1]
    answer, probabilities = example.predict(str(network), str(pictures / name))
    assert probabilities == pytest.approx(expected.probabilities, abs=1e-3)
    assert answer == expected.answer


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.sampled_from(["RGB", "L", "LA", "RGBA", "P", "I;16", "CMYK"]),
    st.integers(32, 64),
    st.integers(32, 64),
    st.sampled_from(["bilinear", "bicubic"]),
    st.sampled_from(["exact", "scaled"]),
    st.sampled_from(RESIZE_MODES),
)
def test_the_pixels_are_those_of_fc7(example, size, mode, resize, crop, interpolation, decoded, resize_mode):
    transform = Transform(resize, crop, interpolation=interpolation, resize_mode=resize_mode)
    rules = preparation.as_data(Recipe("made-up", "gap", 8, "0" * 64, transform, DECODES[decoded]))
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    deep = pixels.view(np.uint16)[..., 0]
    made = Image.fromarray(deep) if mode == "I;16" else Image.fromarray(pixels).convert("RGB").convert(mode)
    data = encoded(made, "TIFF" if mode in ("CMYK", "I;16") else "JPEG" if mode in ("RGB", "L") else "PNG")
    expected = centre_crop(decode(data, resize if decoded == "scaled" else None), transform)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(example.prepare(image, rules), expected)


@pytest.mark.parametrize("tags", [{262: 0}, {341: 4095}, None])
def test_the_example_refuses_grey_whose_range_it_does_not_know(example, tmp_path, tags):
    image = DEEP if tags else Image.fromarray(np.zeros((8, 8), np.int32))
    image.save(tmp_path / "a.tiff", tiffinfo=tags or {})
    with Image.open(tmp_path / "a.tiff") as opened, pytest.raises(ValueError, match="of a range"):
        example.prepare(opened, preparation.as_data(Recipe("made-up", "gap", 8, "0" * 64)))


def test_some_images_are_below_the_threshold_and_some_are_not(answers):
    assert {found.sure for found in answers[0].values()} == {True, False}


@pytest.mark.parametrize("name", SEEN)
def test_twin_a_rule_that_is_not_applied_is_seen(answers, pictures, example, monkeypatch, name):
    expected, network = answers[0][name], answers[1]

    def plainly(image, rules):
        image.info.clear()
        return prepare(image.convert("RGB"), rules | {"orientation": "{}"})

    prepare = example.prepare
    monkeypatch.setattr(example, "prepare", plainly)
    _, probabilities = example.predict(str(network), str(pictures / name))
    assert probabilities != pytest.approx(expected.probabilities, abs=1e-3)


def test_the_example_takes_a_network_that_normalises(home, pictures, example):
    bundle = home.bundle("logreg")
    network = home.exported(".onnx", bundle, with_normalise=True).path
    (expected,) = bundle.predict([pictures / "rgba.png"], cache=home.cache)
    answer, probabilities = example.predict(str(network), str(pictures / "rgba.png"))
    assert (answer, probabilities) == (expected.answer, pytest.approx(expected.probabilities, abs=1e-3))


def test_the_example_runs_without_fc7(answers, pictures):
    command = [sys.executable, "-X", "importtime", EXAMPLE, answers[1], pictures / "1 x 1.png"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{answers[0]['1 x 1.png'].answer} {{")
    assert "onnxruntime" in done.stderr
    assert not {"fc7", "torch", "torchvision", "sklearn"} & set(re.findall(r"\| +(\w+)$", done.stderr, re.MULTILINE))


def test_rules_and_threshold_are_data(answers, home):
    about = {one.key: one.value for one in onnx.load(answers[1]).metadata_props}
    bundle = home.bundle("logreg", max_error=0.1, **SQUEEZENET)
    assert json.loads(about["max_error"]) == 0.1
    assert json.loads(about["threshold"]) == pytest.approx(bundle.threshold.probability)
    assert json.loads(about["alpha"]) == [255, 255, 255]
    assert json.loads(about["grey_16_bit"]) == [0, 65535]
    assert json.loads(about["orientation"])["6"] == "ROTATE_270"
    assert (about["frame"], about["longest"], about["antialias"], about["decode"]) == ("0", "32", "true", "exact-1")
    assert f"less than {bundle.threshold.probability}, the answer is `not sure`." in about["preparation"]


def test_the_paragraph_names_every_rule_and_this_network():
    recipe = Recipe("made-up", "gap", 8, "0" * 64, Transform(300, 260, interpolation="bicubic"))
    words = preparation.in_words(recipe, with_normalise=False)
    for said in ("first frame", "tag 274", "16 bits", "white", "CMYK", "bicubic", "300", "260 x 260", "32 times"):
        assert said in words
    assert "(batch, 3, 260, 260)" in words
    assert "\n" not in words
    assert "(batch, 260, 260, 3): it normalises them itself" in preparation.in_words(recipe, with_normalise=True)
    scaled = preparation.in_words(replace(recipe, decode=DECODES["scaled"]), with_normalise=False)
    assert "1/8, 1/4 or 1/2" in scaled
    for mode, said in ("squash", "both sides to 300, whatever"), ("pad", "the longer side to 300"):
        resized = replace(recipe, transform=replace(recipe.transform, resize_mode=mode))
        assert said in preparation.in_words(resized, with_normalise=False)
        assert preparation.as_data(resized)["resize_mode"] == mode
    for rule in DECODES.values():
        assert preparation.as_data(replace(recipe, decode=rule))["decode"] == rule


@pytest.mark.parametrize(("max_error", "least"), [(None, 0.0), (0.1, None), (0.0, NO_ANSWER)])
def test_a_threshold_without_answers_is_one_that_no_probability_reaches(home, max_error, least):
    bundle = home.bundle("logreg")
    hopeless = replace(bundle.abstention, predicted=1 - bundle.abstention.label)
    bundle = replace(bundle, max_error=max_error, abstention=bundle.abstention if max_error else hopeless)
    about = ExportModule(bundle, last_layers(bundle)).about()
    assert json.loads(about["max_error"]) == max_error
    assert json.loads(about["threshold"]) == (bundle.threshold.probability if least is None else least)
    assert ("not sure" in about["preparation"]) == (max_error is not None)


def png(bits, colour, *, transparent):
    """Return a PNG of 24 x 16 random pixels with a transparent colour, in a layout that Pillow does not write."""
    lines = np.random.default_rng(0).integers(0, 256, (16, 24 * bits // 8), dtype=np.uint8)
    header = struct.pack(">IIBBBBB", 24, 16, bits if colour == 0 else bits // 3, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    chunks = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", data), (b"IEND", b"")]
    parts = [(len(body).to_bytes(4), name, body, zlib.crc32(name + body).to_bytes(4)) for name, body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(b"".join, parts))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_few_bits_is_that_of_the_pixels(example, bits):
    transform, data = Transform(16, 16), png(bits, 0, transparent=b"\0\1")
    rules = preparation.as_data(Recipe("made-up", "gap", 8, "0" * 64, transform))
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(example.prepare(image, rules), centre_crop(decode(data), transform))


def test_a_transparent_colour_of_16_bits_is_refused_as_fc7_does(example):
    data = png(48, 2, transparent=b"\0\1\0\1\0\1")
    with pytest.raises(ImageRejected, match="16 bits"):
        decode(data)
    with Image.open(io.BytesIO(data)) as image, pytest.raises(ValueError, match="8 of 16 bits"):
        example.prepare(image, preparation.as_data(Recipe("made-up", "gap", 8, "0" * 64, Transform(16, 16))))
