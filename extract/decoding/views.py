"""Views: crops of an upright RGB image for a network. View 0 is the centre crop, all others are random.

The image's key and the view's number alone decide a random view, so it is the same in every run and on every machine,
whatever else is computed beside it.
"""

import hashlib
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from ...cache.recipe import DECODES, FunctionTransform, Input, Transform
from ..text import first_line
from .damage import unreadable_now
from .decode import decode, read_image_bytes
from .memory_budget import in_turn
from .pillow import Image, ImageEnhance, ours

AREA = (0.08, 1.0)  # share of the image that a random crop covers
RATIO = (3 / 4, 4 / 3)  # width over height
ATTEMPTS = 10
COLOUR = (0.6, 1.4)  # factors of brightness, contrast and saturation

# Longer images are cut first, or before they are squashed made shorter: Pillow may change the width before the height,
# and resizing all of a long strip to a given width could take any amount of memory.
LONGEST = 32

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def read_views(path: str, key: bytes, inputs: Collection[Input]) -> dict[Input, npt.NDArray[Any]]:
    """Read a file and return views of it; see :func:`views_of`.

    Raises
    ------
    ImageRejected
        It is no acceptable image; the message is the reason.
    OSError
        It cannot be read, or its bytes are no longer those of the key.
    """
    with in_turn():
        return views_of(read_hashed(path, key), key, inputs)


def read_image(path: str, key: bytes) -> Image.Image:
    """Read and decode a file whole; raises as :func:`read_views`, and OSError for what it lacks for the moment only."""
    with unreadable_now(), in_turn():
        return decode(read_hashed(path, key))


def read_hashed(path: str, key: bytes) -> bytes:
    """Return a file's bytes, and check that they have the key: the bytes that are decoded were hashed."""
    data = read_image_bytes(path)
    if hashlib.sha256(data).digest() != key:
        raise OSError(0, "changed while it was being read")
    return data


def views_of(data: bytes, key: bytes, inputs: Collection[Input]) -> dict[Input, npt.NDArray[Any]]:
    """Decode a file's bytes, once for all views that need as much of it.

    Returns
    -------
    dict
        For each input, ``(crop, crop, 3)`` uint8, or float32 from a function of the user's own.
    """
    images = {side: decode(data, side) for side in {needed(wanted) for wanted in inputs}}
    return {wanted: view(images[needed(wanted)], wanted, key) for wanted in inputs}


def needed(wanted: Input) -> int | None:
    """Return the shorter side that an image must keep when it is decoded; None: every pixel."""
    return wanted.transform.resize if wanted.decode == DECODES["scaled"] else None


def view(image: Image.Image, wanted: Input, key: bytes) -> npt.NDArray[Any]:
    """Return a view of an image.

    Parameters
    ----------
    image
        As :func:`fc7.extract.decoding.decode.decode` returns it.
    wanted
        Which view, and for which transform.
    key
        The sha256 of the image's bytes: the seed.

    Returns
    -------
    numpy.ndarray
        ``(crop, crop, 3)`` uint8, or float32 from a function of the user's own.
    """
    if isinstance(wanted.transform, FunctionTransform):
        return prepared(image, wanted.transform)
    if not wanted.view:
        return centre_crop(image, wanted.transform)
    rng = np.random.default_rng([int.from_bytes(key), wanted.view])
    return augmented(image, wanted.transform, rng, colour=True)


def centre_crop(image: Image.Image, transform: Transform) -> npt.NDArray[np.uint8]:
    """Resize as the mode says and return the centre, ``(crop, crop, 3)`` uint8, as torchvision and timm do with Pillow.

    What the picture does not cover has the background of the transform.
    """
    image = _manageable(ours(image), transform)
    size = resized_size(*image.size, transform)
    # Without `reducing_gap`, which saves time on large images: torchvision averages over every pixel.
    resized = image.resize(size, _RESAMPLING[transform.interpolation]) if image.size != size else image
    left, top = (_before(side, transform.crop) for side in size)
    square = Image.new("RGB", (transform.crop, transform.crop), transform.background)
    square.paste(resized, (-left, -top))
    return np.asarray(square)


def prepared(image: Image.Image, transform: FunctionTransform) -> npt.NDArray[np.float32]:
    """Return what a function of the user's own makes of an image, ``(crop, crop, 3)`` float32.

    Raises
    ------
    OSError
        It fails, or makes something else: its code may be mended, so that this is no fact about the image.
    """
    picture = PIL.Image.fromarray(np.asarray(image))  # of Pillow's own class, which other libraries ask for
    try:
        made = np.asarray(transform.function(picture))  # type: ignore[misc]
    except Exception as error:  # the user's code can raise anything
        raise OSError(0, f"{transform.name} failed: {type(error).__name__}: {first_line(error)}") from error
    shape = (3, transform.crop, transform.crop)
    if made.shape != shape or made.dtype.kind != "f":
        raise OSError(0, f"{transform.name} returned {made.dtype} {made.shape} instead of float32 {shape}")
    return made.transpose(1, 2, 0).astype(np.float32)


def resized_size(width: int, height: int, transform: Transform) -> tuple[int, int]:
    """Return width and height of an image that is resized for a centre crop."""
    if transform.resize_mode == "squash":
        return transform.resize, transform.resize
    if transform.resize_mode == "pad":
        ratio = max(width, height) / transform.resize
        return max(round(width / ratio), 1), max(round(height / ratio), 1)
    short = min(width, height)
    return int(transform.resize * width / short), int(transform.resize * height / short)


def _before(side: int, crop: int) -> int:
    """Return where a centre crop begins; before the image if that is smaller, with torchvision's rounding."""
    return round((side - crop) / 2) if side >= crop else -((crop - side) // 2)


def augmented(
    image: Image.Image, transform: Transform, rng: np.random.Generator, *, colour: bool = False
) -> npt.NDArray[np.uint8]:
    """Return a random crop, resized to ``(crop, crop, 3)`` uint8, mirrored half of the time.

    Of mode ``squash`` it is a part of the squashed picture. Of mode ``pad`` it is a part of the picture, without a
    background, because it fills the square.

    The distribution is that of torchvision's ``RandomResizedCrop`` (Szegedy et al. 2015) and ``RandomHorizontalFlip``,
    with ``ColorJitter(0.4, 0.4, 0.4)`` where colour is asked for (as ResNets are trained in fb.resnet.torch). The
    generator is numpy's, so that nothing depends on the order in which threads decode.
    """
    squash = transform.resize_mode == "squash"
    image = _manageable(ours(image), transform) if squash else ours(image)
    box = (_squashed_box if squash else _box)(*image.size, rng)
    cut = image.resize((transform.crop, transform.crop), _RESAMPLING[transform.interpolation], box=box)
    if colour:
        cut = _coloured(cut, rng)
    pixels = np.asarray(cut)
    return np.ascontiguousarray(pixels[:, ::-1]) if rng.random() < 0.5 else pixels


def read_augmented(path: str, key: bytes, transform: Transform, draw: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Return an augmented crop of a file, see :func:`augmented`; `draw` are the numbers that seed it.

    Raises as :func:`read_image`.
    """
    return augmented(read_image(path, key), transform, np.random.default_rng(list(draw)))


def _coloured(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    enhancers = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
    factors = rng.uniform(*COLOUR, len(enhancers))
    for number in rng.permutation(len(enhancers)):
        image = enhancers[number](image).enhance(float(factors[number]))
    return image


def _manageable(image: Image.Image, transform: Transform) -> Image.Image:
    """Return an image of which no step of resizing takes much memory, whatever its proportions."""
    if transform.resize_mode == "crop":
        return _middle(image)
    tallest = LONGEST * max(image.width, transform.resize)
    if transform.resize_mode == "pad" or image.height <= tallest:
        return image
    return image.resize((image.width, tallest), _RESAMPLING[transform.interpolation])


def _middle(image: Image.Image) -> Image.Image:
    """Cut the ends off a very long image; the crop takes its centre anyway."""
    longest = LONGEST * min(image.size)
    if max(image.size) <= longest:
        return image
    width, height = min(image.width, longest), min(image.height, longest)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _squashed_box(width: int, height: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Return what a box in the squashed picture, a square, is in the picture itself."""
    side = max(width, height)
    left, top, right, bottom = _box(side, side, rng)
    return left * width / side, top * height / side, right * width / side, bottom * height / side


def _box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(*AREA)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return left, top, left + w, top + h
    # No crop fits a very long image: the centre, with the nearest ratio allowed.
    w = min(width, round(height * RATIO[1]))
    h = min(height, round(width / RATIO[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
