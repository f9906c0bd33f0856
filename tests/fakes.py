"""A backbone whose vectors can be checked by eye, and pictures to feed it."""

import io
import threading

import numpy as np
from PIL import Image

from fc7.cache import Recipe
from fc7.cache.recipe import DECODES, Transform
from fc7.extract import Backbone
from fc7.extract.settings import BackboneSettings

COLOURS = {"blue": (20, 20, 220), "green": (20, 200, 60), "red": (220, 20, 20)}


class FakeBackbone(Backbone):
    """Its vector is the mean colour of each quarter of the picture: 2 x 2 tiles x RGB = 12 numbers in 0..1.

    It counts the batches and the images that it was asked for.
    """

    def __init__(
        self,
        layer="tiles",
        *,
        weights="f" * 64,
        batch_size=4,
        dtype="float16",
        crop=8,
        decode="exact",
        views=0,
        mirror=False,
    ):
        transform = Transform(resize=crop, crop=crop)
        recipe = Recipe("fake", layer, 12, weights, transform, DECODES[decode], mirror=mirror, dtype=dtype)
        settings = BackboneSettings(device="cpu", batch_size=batch_size, views=views)
        self._prepare([recipe], lambda: None, "fake", settings)
        self.counting = threading.Lock()  # several threads compute
        self.batches = 0
        self.on_forward = lambda: None

    def load(self):
        pass

    def forward(self, batch):
        self.on_forward()
        with self.counting:
            self.batches += 1
        assert batch.shape[0] == self.batch_size, "every batch has the fixed size"
        half = batch.shape[1] // 2
        tiles = batch.reshape(len(batch), 2, half, 2, half, 3).mean(axis=(2, 4)) / 255
        return [tiles.reshape(len(batch), 12).astype(np.float32)]


def draw(path, colour, size=(12, 10), **options):
    """Write a picture of one colour with a mark in it, so that every colour gives other bytes."""
    image = Image.new("RGB", size, colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def touch(root, *names):
    """Write files that are images by their names only, and return their folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def noisy(path, colour, seed):
    """Write a small noisy picture around one colour."""
    generator = np.random.default_rng(seed)
    pixels = np.clip(np.array(colour) + generator.normal(0, 25, (24, 24, 3)), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def coloured(root, count, *, fitted=None, labels=("blue", "red")):
    """Write so many noisy pictures of each class around its colour; the first `fitted` are train, the others val."""
    for label in labels:
        for number in range(count):
            split = "" if fitted is None else "train" if number < fitted else "val"
            noisy(root / split / label / f"{number}.png", COLOURS[label], number)
    return root


def encoded(image, format="PNG", **options):
    """Return a picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def photographs_of_noise(root, count):
    """Write photographs of two classes, of a size that transforms have to change, and return their folder."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = root / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        low = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(low).resize((400, 300), Image.Resampling.BICUBIC).save(path)
    return root


def one_line(err):
    """Return the message on stderr, after checking that it is one line and no traceback."""
    lines = err.splitlines()
    assert "Traceback" not in err
    assert len(lines) == 1, err
    assert lines[0].startswith("fc7: "), err
    return lines[0]
