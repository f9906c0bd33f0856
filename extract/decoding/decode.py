"""From the bytes of an image file to RGB pixels. Hostile input is rejected with a reason, never fatal, never silent.

Equal to ``PIL.Image.open(...).convert("RGB")`` for ordinary photographs. What differs on purpose: EXIF orientation is
applied, transparency is composited on white, 16-bit values are scaled instead of clipped, truncated files are rejected
whatever other libraries have set.

Memory: an image at the cap costs its pixels twice, once as stored and once as the result, because everything between
the two is done in small tiles. Large images share a budget and wait for each other, small ones are decoded beside them.
"""

import errno
import io
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ...cache.files import LFS_POINTER, open_regular
from ...cache.urls import is_url
from ...errors import ImageRejected
from ..manifest.members import is_member, read_member
from ..manifest.paths import MAX_BYTES
from .damage import fact, require_compression, require_memory, unreadable_now, without_codec
from .heif import AVIF, HEIF, kind_of, read_heif
from .memory_budget import BUDGET, in_turn, take
from .pillow import (
    ExifTags,
    Image,
    ImageCms,
    ImageFile,
    TiffImagePlugin,
    UnidentifiedImageError,
    one_block_each,
    ours,
    warnings_of_pillow,
)
from .samples import Levels, colour_key, levels_of, to_eight_bits

if TYPE_CHECKING:
    import PIL.Image

logger = logging.getLogger(__name__)

# Pillow registers some 40 plugins, Ghostscript among them; these are the formats of the accepted suffixes.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", AVIF, HEIF)
MAX_PIXELS = 64_000_000

TILE = 1024  # side of what is converted at once

# Lower caps for costly formats. Pillow decodes the slow ones in Python: a minute and many copies for an image at
# MAX_PIXELS. Its WEBP keeps two canvases and a copy of the frame beside the image.
SLOW_PIXELS = 8_000_000
WEBP_PIXELS = 48_000_000
_SLOW = {"ppm", "ppm_plain", "bmp_rle"}

# Bytes per pixel that decoding takes, with the result and without the file; for TIFF, if it is one strip.
_BYTES_PER_PIXEL = {"WEBP": 16, "TIFF": 16, AVIF: 20, HEIF: 20}
_PROGRESSIVE = 12  # coefficients of all pixels of up to four channels
_ORDINARY = 8
_OPENING = dict.fromkeys(("WEBP", HEIF), WEBP_PIXELS * 16)  # bytes that are taken before the size is known

LARGE_FILE = 32 * 2**20

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_NO_IMAGE = f"not an image in one of the formats {', '.join(FORMATS)}"
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
    path = os.fspath(path)
    if is_url(path):
        from ..manifest.object_store import read_remote

        return _read_twice(read_remote, path)
    if is_member(path):
        return _read_twice(read_member, path)
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        _require_bytes(size)
        if size > LARGE_FILE:
            take(BUDGET)
        return file.read(size)


def _read_twice(read: Callable[[str, int], bytes], path: str) -> bytes:
    """Read what may be large: only then in turn."""
    try:
        return read(path, LARGE_FILE)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
    take(BUDGET)
    return read(path, MAX_BYTES)


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
        Empty, too large, not an image, or truncated: a fact about the bytes; the message is the reason.
    ImageUnreadable
        It cannot be decoded here and now: no memory, no codec, or an error that is not known to be the bytes' fault.
    """
    if not data:
        raise ImageRejected("empty file")
    _require_bytes(len(data))
    with unreadable_now(), in_turn(), one_block_each():
        kind = _kind(data)
        try:
            return _decoded(data, kind, side)
        except _Damaged:  # a codec may have lacked memory that was free again when it was looked for
            return _decoded(data, kind, side)


def upright_rgb(image: "PIL.Image.Image") -> Image.Image:
    """Return an image of Pillow, opened or made by the caller, as :func:`decode` would: upright, RGB.

    Raises
    ------
    ImageRejected
        Too large, or of no known range; the message is the reason.
    Exception
        Whatever Pillow raises, if it was not read yet and is damaged or closed.
    """
    with in_turn(), one_block_each():
        return _finish(image)


class _Damaged(ImageRejected):
    """What Pillow calls damaged: a fact when it says so twice."""


def _kind(data: bytes) -> str:
    """Return the format of a file, by its first bytes."""
    if kind_of(data) == HEIF:
        return HEIF
    if data.startswith(LFS_POINTER):
        raise ImageRejected("a pointer of Git LFS, and not the image. Fetch it: git lfs pull")
    for kind in FORMATS[:-1]:
        accept = Image.OPEN[kind][1]
        accepted = accept is None or accept(data[:16].ljust(16, b"\0"))
        if isinstance(accepted, str):
            raise without_codec(kind)
        if accepted:
            return kind
    raise ImageRejected(_NO_IMAGE)


def _decoded(data: bytes, kind: str, side: int | None) -> Image.Image:
    image = None
    try:
        with warnings_of_pillow() as warned:
            image = read_heif(data, _admit) if kind == HEIF else Image.open(io.BytesIO(data), formats=(kind,))
            return _finish(image, side, warned)
    except ImageRejected:
        raise
    except Image.DecompressionBombError as error:
        raise ImageRejected(f"more than {MAX_PIXELS} pixels") from error
    except Exception as error:
        reason = fact(error)
        if not reason:
            raise
        require_memory(_OPENING.get(kind, 0) if image is None else _cost(image))
        if kind == "TIFF" and image is not None:
            require_compression(image.info.get("compression", "raw"))
        raise _Damaged(_NO_IMAGE if image is None and isinstance(error, UnidentifiedImageError) else reason) from error


def _admit(width: int, height: int) -> None:
    _require_few(width, height, MAX_PIXELS, HEIF)
    take(width * height * _BYTES_PER_PIXEL[HEIF])


def _require_bytes(size: int) -> None:
    if size > MAX_BYTES:
        raise ImageRejected(f"{size} bytes, more than {MAX_BYTES}")


def _finish(image: "PIL.Image.Image", side: int | None = None, warned: Sequence[str] = ()) -> Image.Image:
    """Check an image that was opened, and decode it to an upright RGB one."""
    _require_pixels(image)
    _require_whole_directory(image, warned)
    levels, key = levels_of(image), colour_key(image)
    take(_cost(image))
    if side is not None and image.format == "JPEG":
        _reduce(image, side)
    image.load()
    turn, upright = _turn(image), ours(image)
    upright.info.update(key)
    return _to_rgb(upright if turn is None else upright.transpose(turn), levels)


def _reduce(image: "PIL.Image.Image", side: int) -> None:
    """Let the JPEG library decode fewer pixels, so that the shorter side keeps at least ``side``.

    Why this is not the default: vectors of large photographs move, to a cosine of 0.987 at the least
    (docs/extraction.md).
    """
    short = min(image.size)
    image.draft(None, (-(-image.width * side // short), -(-image.height * side // short)))  # rounded up; JPEG's only


def _require_pixels(image: "PIL.Image.Image") -> None:
    cap = MAX_PIXELS
    if isinstance(image, ImageFile.ImageFile) and any(tile[0] in _SLOW for tile in image.tile):
        cap = min(cap, SLOW_PIXELS)
    if image.format == "WEBP":
        cap = min(cap, WEBP_PIXELS)
    if not image.width * image.height:
        raise ImageRejected(f"{image.width} x {image.height} pixels: nothing to see")
    _require_few(*_largest(image), cap, image.format or "")


def _require_few(width: int, height: int, cap: int, kind: str) -> None:
    if width * height > cap:
        of_kind = "" if cap == MAX_PIXELS else f" in this kind of {kind}"
        raise ImageRejected(f"{width} x {height} pixels{of_kind}, more than {cap}")


def _cost(image: "PIL.Image.Image") -> int:
    """Return about how many bytes decoding takes at its peak."""
    width, height = _largest(image)
    progressive = _PROGRESSIVE if image.info.get("progressive") else _ORDINARY
    return width * height * _BYTES_PER_PIXEL.get(image.format or "", progressive)


def _largest(image: "PIL.Image.Image") -> tuple[int, int]:
    return max(image.size, _tile_size(image), key=lambda size: size[0] * size[1])


def _tile_size(image: "PIL.Image.Image") -> tuple[int, int]:
    """Return the size of a TIFF's tiles: one may be larger than the image, and is decoded whole."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0, 0
    width, length = (image.tag_v2.get(tag) for tag in _TILE_SIDES)
    return (width, length) if isinstance(width, int) and isinstance(length, int) else (0, 0)


def _require_whole_directory(image: "PIL.Image.Image", warned: Sequence[str]) -> None:
    """Refuse a TIFF whose directory is cut off: Pillow reads the rest, perhaps without the orientation."""
    cut = [message for message in warned if not message.startswith("Metadata Warning")]  # too many values, harmless
    if cut and image.format == "TIFF":
        raise ImageRejected(f"damaged: {cut[0]}")


def _turn(image: "PIL.Image.Image") -> Image.Transpose | None:
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:
        if not fact(error):
            raise
        logger.debug("no orientation: %s", error)
        return None  # damaged EXIF says nothing about the pixels; they are taken as they are stored


def _to_rgb(image: Image.Image, levels: Levels | None) -> Image.Image:
    if levels:
        return _in_tiles(image, partial(to_eight_bits, levels=levels))
    if image.mode == "LAB":
        return _in_tiles(image, _lab_to_rgb())
    clear_colours = image.mode == "P" and image.im.getpalettemode() == "RGBA"
    if image.mode in _ALPHA or "transparency" in image.info or clear_colours:
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


def _lab_to_rgb() -> Callable[[Image.Image], Image.Image]:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")

    def convert(image: Image.Image) -> Image.Image:
        return ImageCms.applyTransform(image, transform) or image

    return convert
