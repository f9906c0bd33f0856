"""From the bytes of an image file to RGB pixels. Hostile input is rejected with a reason, never fatal, never silent.

Equal to ``PIL.Image.open(...).convert("RGB")`` for ordinary photographs. What differs on purpose: EXIF orientation is
applied, transparency is composited on white, 16-bit values are scaled instead of clipped, truncated files are rejected
whatever other libraries have set.

Memory: an image at the cap costs its pixels twice, once as stored and once as the result, because everything between
the two is done in small tiles. Large images share a budget and wait for each other, small ones are decoded beside them.
"""

import contextlib
import errno
import io
import logging
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import (
    ExifTags,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from ...cache.urls import address
from ...errors import ImageRejected
from ..manifest.paths import MAX_BYTES
from .memory_budget import BUDGET, in_turn, take

logger = logging.getLogger(__name__)

# Pillow registers some 40 plugins, Ghostscript among them; these are the formats of the accepted suffixes.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
MAX_PIXELS = 64_000_000

TILE = 1024  # side of what is converted at once

# Lower caps for costly formats. Pillow decodes the slow ones in Python: a minute and many copies for an image at
# MAX_PIXELS. Its WEBP keeps two canvases and a copy of the frame beside the image.
SLOW_PIXELS = 8_000_000
WEBP_PIXELS = 48_000_000
_SLOW = {"ppm", "ppm_plain", "bmp_rle"}

# Bytes per pixel that decoding takes, with the result and without the file; for TIFF, if it is one strip.
_BYTES_PER_PIXEL = {"WEBP": 16, "TIFF": 16}
_PROGRESSIVE = 12  # coefficients of all pixels of up to four channels
_ORDINARY = 8

LARGE_FILE = 32 * 2**20

# Pillow allocates images in blocks of 16 MiB, which the C library keeps for the thread that freed them: twice the
# memory with two threads. A large image in one block is given back to the system.
Image.core.set_block_size(2**30)  # type: ignore[attr-defined]

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}
_TILE_SIDES = (322, 323)  # TIFF tags TileWidth and TileLength


def read_image_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return a file's bytes; refuse what is too large before it is in memory.

    Raises
    ------
    ImageRejected
        The file has more than ``MAX_BYTES``.
    OSError
        It cannot be read, or is no longer a regular file, which would block or never end.
    DataError
        It is a URL, and the store does not answer.
    """
    url = address(path)
    if url:
        from ..manifest.object_store import read_remote

        return read_remote(url, MAX_BYTES)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        _require_bytes(status.st_size)
        if status.st_size > LARGE_FILE:
            take(BUDGET)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(descriptor)


def decode(data: bytes, side: int | None = None) -> Image.Image:
    """Decode a file's bytes to an upright RGB image; of an animation, the first frame.

    Parameters
    ----------
    side
        The shorter side, in pixels, that will do: a JPEG is decoded to an eighth, a quarter or half of its size (by
        the JPEG library, in the frequency domain) where that leaves as much. By default all pixels are decoded.

    Raises
    ------
    ImageRejected
        Empty, too large, not an image, or truncated; the message is the reason.
    """
    if not data:
        raise ImageRejected("empty file")
    _require_bytes(len(data))
    # A process-wide switch that other libraries turn on; half-grey images must not become embeddings.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with in_turn(), _listening() as warned:
            return _finish(Image.open(io.BytesIO(data), formats=FORMATS), side, warned)
    except ImageRejected:
        raise
    except UnidentifiedImageError as error:
        raise ImageRejected(f"not an image in one of the formats {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise ImageRejected(f"more than {MAX_PIXELS} pixels") from error
    except Exception as error:  # Pillow's plugins raise a dozen kinds on damaged files; none may end the program
        raise ImageRejected(f"damaged: {_one_line(error)}") from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return an image that Pillow has opened, or made, as :func:`decode` would: upright, RGB.

    Raises
    ------
    ImageRejected
        Too large, of no known range, or damaged; the message is the reason.
    """
    try:
        with in_turn(), _listening() as warned:
            return _finish(image, None, warned)
    except ImageRejected:
        raise
    except Exception as error:  # as in decode: it may not have been read yet
        raise ImageRejected(f"damaged: {_one_line(error)}") from error


def _require_bytes(size: int) -> None:
    if size > MAX_BYTES:
        raise ImageRejected(f"{size} bytes, more than {MAX_BYTES}")


def _finish(image: Image.Image, side: int | None, warned: list[str]) -> Image.Image:
    """Check an image that was opened, and decode it to an upright RGB one."""
    _require_pixels(image)
    if image.mode == "F":
        raise ImageRejected("floating point pixels have no defined range")
    _require_whole_directory(image, warned)
    take(_cost(image))
    if side is not None:
        _reduce(image, side)
    image.load()
    image = _upright(image)  # the image as stored is gone before the next copy is made
    return _to_rgb(image)


def _reduce(image: Image.Image, side: int) -> None:
    """Let the JPEG library decode fewer pixels, so that the shorter side keeps at least ``side``."""
    short = min(image.size)
    image.draft(None, (-(-image.width * side // short), -(-image.height * side // short)))  # rounded up; JPEG's only


def _require_pixels(image: Image.Image) -> None:
    cap = MAX_PIXELS
    if isinstance(image, ImageFile.ImageFile) and any(tile[0] in _SLOW for tile in image.tile):
        cap = min(cap, SLOW_PIXELS)
    if image.format == "WEBP":
        cap = min(cap, WEBP_PIXELS)
    width, height = _largest(image)
    if width * height > cap:
        kind = "" if cap == MAX_PIXELS else f" in this kind of {image.format}"
        raise ImageRejected(f"{width} x {height} pixels{kind}, more than {cap}")


def _cost(image: Image.Image) -> int:
    """Return about how many bytes decoding takes at its peak."""
    width, height = _largest(image)
    progressive = _PROGRESSIVE if image.info.get("progressive") else _ORDINARY
    return width * height * _BYTES_PER_PIXEL.get(image.format or "", progressive)


def _largest(image: Image.Image) -> tuple[int, int]:
    return max(image.size, _tile_size(image), key=lambda size: size[0] * size[1])


def _tile_size(image: Image.Image) -> tuple[int, int]:
    """Return the size of a TIFF's tiles: one may be larger than the image, and is decoded whole."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0, 0
    width, length = (image.tag_v2.get(tag) for tag in _TILE_SIDES)
    return (width, length) if isinstance(width, int) and isinstance(length, int) else (0, 0)


def _require_whole_directory(image: Image.Image, warned: list[str]) -> None:
    """Refuse a TIFF whose directory is cut off: Pillow reads the rest, perhaps without the orientation."""
    cut = [message for message in warned if not message.startswith("Metadata Warning")]  # too many values, harmless
    if cut and image.format == "TIFF":
        raise ImageRejected(f"damaged: {cut[0]}")


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:  # damaged EXIF says nothing about the pixels; they are taken as they are stored
        logger.debug("no orientation: %s", error)
        return image
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _in_tiles(image, _scaled)
    if image.mode == "LAB":
        return _in_tiles(image, _lab_to_rgb())
    if image.mode in _ALPHA or "transparency" in image.info:
        return _in_tiles(image, _on_white)
    return image if image.mode == "RGB" else image.convert("RGB")


def _in_tiles(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert to RGB in tiles, so that intermediate images are small."""
    result = Image.new("RGB", image.size)
    for top in range(0, image.height, TILE):
        for left in range(0, image.width, TILE):
            box = (left, top, min(left + TILE, image.width), min(top + TILE, image.height))
            result.paste(convert(image.crop(box)), box)
    return result


def _on_white(image: Image.Image) -> Image.Image:
    straight = image.convert("LA") if image.mode == "La" else image
    rgba = straight.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _scaled(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion clips everything above 255."""
    values = np.asarray(image).astype(np.int32)
    if values.max() > 65535 or values.min() < 0:
        raise ImageRejected("grey values beyond 16 bits")
    grey = ((values + 128) // 257).astype(np.uint8)  # rounds: 257 is odd, so there are no halves
    if isinstance(image.info.get("transparency"), int):
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey).convert("RGB")


def _lab_to_rgb() -> Callable[[Image.Image], Image.Image]:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")

    def convert(image: Image.Image) -> Image.Image:
        return ImageCms.applyTransform(image, transform) or image

    return convert


def _one_line(error: Exception) -> str:
    """Return a message that fits a table: no line ends, and not the length that a file may have chosen."""
    return " ".join(str(error).split())[:200] or type(error).__name__


class _Listening(threading.local):
    """The list of Pillow's warnings in this thread; None while it does not decode."""

    warned: list[str] | None = None


class _Warnings:
    """A stand-in for the module ``warnings`` in Pillow's modules.

    It collects the warnings of a thread that decodes: they name no file, are printed only once, and with ``-W error``
    would end the decoding of a good image. Why not the standard library's filters: they belong to all threads at once.
    For other threads nothing changes.
    """

    def warn(self, message: Any, category: Any = None, stacklevel: int = 1, **options: Any) -> None:
        if _listener.warned is None:
            warnings.warn(message, category, stacklevel + 1, **options)
        else:
            logger.debug("Pillow: %s", message)
            _listener.warned.append(str(message))

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)


_listener = _Listening()
for _module in (Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin):
    vars(_module)["warnings"] = _Warnings()


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    warned: list[str] = []
    _listener.warned = warned
    try:
        yield warned
    finally:
        _listener.warned = None


def _is_elsewhere(record: logging.LogRecord) -> bool:
    return _listener.warned is None


# The one error that it logs, too many samples per pixel, is also the reason of the reject.
logging.getLogger(TiffImagePlugin.__name__).addFilter(_is_elsewhere)
