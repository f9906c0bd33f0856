"""Nothing that the process sets in Pillow reaches a pixel or a verdict, and fc7 sets nothing in it."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL
import pytest
from fakes import encoded
from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from fc7.cache.recipe import Transform
from fc7.errors import ImageRejected
from fc7.extract.decoding import pillow as module
from fc7.extract.decoding.decode import decode
from fc7.extract.decoding.views import augmented, centre_crop

NOISE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
PICTURE = Image.fromarray(NOISE)
TEXT = PngImagePlugin.PngInfo()
TEXT.add_text("a", "b" * 5000, zip=True)
FILES = {
    "jpeg": encoded(PICTURE, "JPEG"),
    "png": encoded(PICTURE),
    "text": encoded(PICTURE, pnginfo=TEXT),
    "webp": encoded(PICTURE, "WEBP"),
    "tiff": encoded(PICTURE, "TIFF"),
    "packed tiff": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    "bmp": encoded(PICTURE, "BMP"),
    "ppm": encoded(PICTURE, "PPM"),
}  # fmt: skip
HALVES = {name: data[: len(data) // 2] for name, data in FILES.items()}


def verdicts():
    """Return the pixels, or the reason, of every file and its half."""
    found = {}
    for name, data in [*FILES.items(), *((f"half {name}", half) for name, half in HALVES.items())]:
        try:
            image = decode(data)
        except ImageRejected as error:
            found[name] = str(error)
        else:
            found[name] = np.asarray(image).tobytes(), centre_crop(image, Transform(resize=64, crop=48)).tobytes()
    return found


class Other(ImageFile.ImageFile):
    """What a plug-in of somebody else makes of every file: a grey dot."""

    def _open(self):
        self._size, self._mode, self.tile = (1, 1), "L", []
        self.im = Image.core.fill("L", (1, 1), 128)


def take_over(monkeypatch, *formats):
    monkeypatch.setattr(Image, "OPEN", {**Image.OPEN, **dict.fromkeys(formats, (Other, None))})


def refuse(*_):
    raise AssertionError("something of somebody else's")


SWITCHES = {
    "fewer pixels": lambda patch: patch.setattr(Image, "MAX_IMAGE_PIXELS", 10),
    "any pixels": lambda patch: patch.setattr(Image, "MAX_IMAGE_PIXELS", None),
    "truncated": lambda patch: patch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True),
    "small blocks": lambda patch: patch.setattr(ImageFile, "MAXBLOCK", 16),
    "short text": lambda patch: patch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 10),
    "little text": lambda patch: patch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 10),
    "libtiff": lambda patch: patch.setattr(TiffImagePlugin, "READ_LIBTIFF", True),
    "unknown tiff": lambda patch: patch.setattr(TiffImagePlugin, "OPEN_INFO", {}),
    "another plug-in": lambda patch: take_over(patch, "JPEG", "PNG", "TIFF", "WEBP", "BMP", "PPM"),
    "no plug-in": lambda patch: patch.setattr(Image, "OPEN", {}),
    "no format": lambda patch: patch.setattr(Image, "ID", []),
    "another decoder": lambda patch: patch.setattr(Image, "DECODERS", dict.fromkeys(("jpeg", "zip", "raw"), refuse)),
    "another conversion": lambda patch: patch.setattr(Image.Image, "convert", refuse),
    "warnings are errors": lambda patch: warnings.simplefilter("error"),
}  # fmt: skip


@pytest.mark.parametrize("switch", SWITCHES)
def test_no_switch_reaches_a_pixel_or_a_verdict(switch, monkeypatch):
    before = verdicts()
    assert all(isinstance(before[name], tuple) for name in FILES)
    assert all(isinstance(before[f"half {name}"], str) for name in FILES)
    with warnings.catch_warnings():
        SWITCHES[switch](monkeypatch)
        assert verdicts() == before


def state():
    modules = (Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, PIL)
    values = [{name: value for name, value in vars(each).items() if not name.startswith("__")} for each in modules]
    return [*values, dict(Image.OPEN), list(Image.ID), dict(Image.DECODERS), Image.core.get_block_size()]


def test_decoding_sets_nothing_in_pillow(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    Image.init()
    Image.core.set_block_size(4096 * 3)
    try:
        before = state()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: verdicts(), range(8)))
        assert state() == before
        assert Image.open.__module__ == "PIL.Image"
    finally:
        Image.core.set_block_size(16 * 2**20)


def test_the_block_size_comes_back_with_the_last_thread():
    before, inside, go = Image.core.get_block_size(), threading.Event(), threading.Event()

    def hold():
        with module.one_block_each():
            inside.set()
            go.wait()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    inside.wait()
    decode(FILES["png"])
    assert Image.core.get_block_size() == module.ONE_BLOCK, "another thread still decodes"
    go.set()
    thread.join()
    assert Image.core.get_block_size() == before


def test_numpy_that_raises_changes_nothing():
    deep = encoded(Image.fromarray(np.linspace(0, 65535, 10_800).astype(np.uint16).reshape(90, 120)))
    transform = Transform(resize=64, crop=48)

    def seen():
        rng = np.random.default_rng(1)
        return [augmented(decode(data), transform, rng, colour=True).tobytes() for data in (deep, FILES["png"])]

    before = seen()
    with np.errstate(all="raise"):
        assert seen() == before


@pytest.mark.parametrize("name", FILES)
def test_images_of_pillow_itself_are_taken_as_ours(name):
    transform = Transform(resize=64, crop=48)
    ours = decode(FILES[name])
    assert module.ours(ours) is ours
    theirs = Image.fromarray(np.asarray(ours))
    assert not isinstance(ours, Image.Image)
    assert np.array_equal(centre_crop(theirs, transform), centre_crop(ours, transform))
