"""Grey of more than 8 bits: which of its values are black and white, and the way to 8 bits.

A TIFF says by its tags what its numbers mean. Where it does not say, it is rejected: numbers that fill a small part of
a range that was only assumed would become a black picture.
"""

from typing import Any, NamedTuple

import numpy as np

from ...errors import ImageRejected
from .pillow import Image

# Tags of TIFF
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_LARGEST, _LEAST, _LARGEST_USED = 341, 340, 281  # SMaxSampleValue, SMinSampleValue, MaxSampleValue

_WHITE_IS_ZERO, _SIGNED = 0, 2  # their values
_SCALED_BY_PILLOW = ("PNG", "PPM")  # mode I of these formats has 16 bits


class Levels(NamedTuple):
    """The least and the largest value, and whether the least is white."""

    least: int
    largest: int
    inverted: bool = False


def is_deep(image: Image.Image) -> bool:
    """Return whether an image is grey with integers of more than 8 bits."""
    return image.mode == "I" or image.mode.startswith("I;16")


def levels_of(image: Image.Image) -> Levels:
    """Return what the values of a deep image mean, by the tags of its file.

    Raises
    ------
    ImageRejected
        Nothing says what they mean.
    """
    tags = getattr(image, "tag_v2", {})
    bits, stated = _number(tags, _BITS, 16), _stated(tags)
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode != "I" or image.format in _SCALED_BY_PILLOW:
        return Levels(0, min(stated or 65535, _full(bits)), inverted)
    signed, least = _number(tags, _SAMPLE_FORMAT, 1) == _SIGNED, _number(tags, _LEAST, 0)
    if not stated:
        depth = bits if tags else 32
        raise ImageRejected(f"{'signed ' if signed and depth == 16 else ''}{depth}-bit grey without a stated range")
    return Levels(min(least, 0), stated, inverted)


def require_eight_bits(image: Image.Image) -> None:
    """Refuse a TIFF of which Pillow keeps other values than it has.

    Raises
    ------
    ImageRejected
        Its values are signed, or use only the lower of the 16 bits of which Pillow keeps the upper eight.
    """
    tags = getattr(image, "tag_v2", {})
    bits, stated = _number(tags, _BITS, 8), _stated(tags)
    if _number(tags, _SAMPLE_FORMAT, 1) == _SIGNED:
        raise ImageRejected(f"signed {bits}-bit values without a stated range")
    if bits == 16 and 0 < stated < _full(16):
        raise ImageRejected(f"colours of {stated.bit_length()} bits in 16")


def to_eight_bits(image: Image.Image, levels: Levels) -> Image.Image:
    """Scale deep grey to RGB of 8 bits; Pillow's own conversion clips everything above 255."""
    values = np.asarray(image).astype(np.int64)
    if values.max() > levels.largest or values.min() < levels.least:
        raise ImageRejected(f"grey values beyond {levels.largest.bit_length()} bits")
    span = levels.largest - levels.least
    above = levels.largest - values if levels.inverted else values - levels.least
    grey = ((2 * 255 * above + span) // (2 * span)).astype(np.uint8)  # rounds
    if isinstance(image.info.get("transparency"), int):
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey).convert("RGB")


def _stated(tags: Any) -> int:
    """Return the largest value that a TIFF states, 0 if none; writers state what occurs as well as what may occur."""
    return _full(max(_number(tags, _LARGEST, 0) or _number(tags, _LARGEST_USED, 0), 0).bit_length())


def _full(bits: int) -> int:
    return (1 << bits) - 1


def _number(tags: Any, tag: int, default: int) -> int:
    """Return the first number of a tag; the default if it is absent or no number."""
    value = tags.get(tag, default)
    try:
        return int(value[0] if isinstance(value, tuple) else value)
    except (TypeError, ValueError, ArithmeticError, LookupError):
        return default
