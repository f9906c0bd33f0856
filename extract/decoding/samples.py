"""What the numbers in a file mean: deep grey, that is of more than 8 bits, and the layouts of TIFF.

A TIFF says by its tags which of its numbers is white. Where it does not say, it is rejected: numbers that fill a small
part of a range that was only assumed would become a black picture. So is what Pillow is known to read wrongly.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...errors import ImageRejected
from .pillow import Image

if TYPE_CHECKING:
    import PIL.Image

# Tags of TIFF
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANES, _COLOURMAP, _SAMPLE_FORMAT, _SUBSAMPLING = 258, 262, 277, 284, 320, 339, 530
_LARGEST, _LEAST, _LARGEST_USED = 341, 340, 281  # SMaxSampleValue, SMinSampleValue, MaxSampleValue
# Their values
_WHITE_IS_ZERO, _RGB, _CMYK, _YCBCR = 0, 2, 5, 6
_SIGNED, _SEPARATE = 2, 2

_SCALED_BY_PILLOW = ("PNG", "PPM")  # mode I of these formats has 16 bits


class Levels(NamedTuple):
    """The least and the largest value, and whether the least is white."""

    least: int
    largest: int
    inverted: bool = False


def levels_of(image: "PIL.Image.Image") -> Levels | None:
    """Return what the values of deep grey mean, by the tags of its file; None if an image is no deep grey.

    Raises
    ------
    ImageRejected
        Nothing says what they mean, or Pillow would read others.
    """
    if image.mode == "F":
        raise ImageRejected("floating point pixels have no defined range")
    tags: Any = getattr(image, "tag_v2", {})
    compressed = image.info.get("compression", "raw") != "raw"
    if tags:
        _require_known_layout(tags, image.mode, compressed=compressed)
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return None
    bits, stated = _number(tags, _BITS, 16 if image.mode != "I" else 32), _stated(tags)
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode != "I":
        return Levels(0, min(_full(stated) or _full(2**16 - 1), 2**bits - 1), inverted)
    if image.format in _SCALED_BY_PILLOW:
        return Levels(0, 2**16 - 1)
    least = _number(tags, _LEAST, 0)
    signed = _number(tags, _SAMPLE_FORMAT, 1) == _SIGNED
    if stated <= max(least, 0):
        raise ImageRejected(f"{'signed ' if signed and bits < 32 else ''}{bits}-bit grey without a stated range")
    if signed and compressed and tags.prefix == b"MM":
        raise ImageRejected("compressed big-endian signed grey, which Pillow reads in the wrong order")
    return Levels(least, stated) if least < 0 else Levels(0, _full(stated), inverted)


def colour_key(image: "PIL.Image.Image") -> dict[str, int]:
    """Return the transparent grey of a PNG of 2 or 4 bits on the scale of its pixels; empty for other images.

    Pillow scales the pixels of such a file, and not this number of it.

    Raises
    ------
    ImageRejected
        Pillow cannot find the transparent colour, because it keeps eight of its sixteen bits.
    """
    key = image.info.get("transparency")
    if image.format != "PNG" or not isinstance(key, int | tuple):
        return {}
    layouts = [tile[3] for tile in getattr(image, "tile", ())]  # none if the caller has loaded it
    if "RGB;16B" in layouts:
        raise ImageRejected("a transparent colour of 16 bits")
    bits = next((bits for bits in (2, 4) if f"L;{bits}" in layouts), 0)
    return {"transparency": key * 255 // (2**bits - 1)} if bits and isinstance(key, int) else {}


def to_eight_bits(image: Image.Image, levels: Levels) -> Image.Image:
    """Scale deep grey to RGB of 8 bits; Pillow's own conversion clips everything above 255.

    Raises ImageRejected if it has other values than its file says.
    """
    values = np.asarray(image).astype(np.int64)
    if values.max() > levels.largest or values.min() < levels.least:
        raise ImageRejected(f"grey values beyond {levels.least} to {levels.largest}")
    span = levels.largest - levels.least
    above = levels.largest - values if levels.inverted else values - levels.least
    grey = ((2 * 255 * above + span) // (2 * span)).astype(np.uint8)  # rounds
    if isinstance(image.info.get("transparency"), int):
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey).convert("RGB")


def _require_known_layout(tags: Any, mode: str, *, compressed: bool) -> None:
    """Refuse a TIFF of which Pillow makes other pixels than it has."""
    bits, photometric = _number(tags, _BITS, 1), _number(tags, _PHOTOMETRIC, _WHITE_IS_ZERO)
    if bits == 8 and _number(tags, _SAMPLE_FORMAT, 1) == _SIGNED:
        raise ImageRejected("signed 8-bit values without a stated range")
    if bits == 16 and photometric in (_RGB, _CMYK) and 0 < _full(_stated(tags)) < 2**16 - 1:
        # Pillow keeps the upper eight bits of them.
        raise ImageRejected(f"colours of {_stated(tags).bit_length()} bits in 16")
    if _number(tags, _PLANES, 1) == _SEPARATE and _number(tags, _SAMPLES, 1) > 1:
        known = photometric in (_RGB, _CMYK) and (compressed or bits == 8)
        if not known:
            raise ImageRejected(f"separate planes of {bits} bits, photometric interpretation {photometric}")
    if photometric == _YCBCR and not compressed and _number(tags, _SAMPLES, 1) > 1:
        known = mode == "YCbCr" and tags.get(_SUBSAMPLING, (2, 2)) == (1, 1)  # an older Pillow takes it for RGB
        if not known:
            raise ImageRejected("uncompressed YCbCr that is subsampled, or that this Pillow takes for RGB")
    if mode in ("P", "PA") and 0 < max(tags[_COLOURMAP]) < 2**8:
        raise ImageRejected("a colour map of 8 bits in 16")


def _stated(tags: Any) -> int:
    """Return the largest value that a TIFF states; 0 if it states none."""
    return _number(tags, _LARGEST, 0) or _number(tags, _LARGEST_USED, 0)


def _full(largest: int) -> int:
    """Return the largest value of as many bits: writers state what occurs as well as what may occur."""
    return int((1 << largest.bit_length()) - 1) if largest > 0 else 0


def _number(tags: Any, tag: int, default: int) -> int:
    """Return the first number of a tag; the default if it is absent or no number."""
    value = tags.get(tag, default)
    try:
        return int(value[0] if isinstance(value, tuple) else value)
    except (TypeError, ValueError, ArithmeticError, LookupError):
        return default
