"""HEIC, the photographs of telephones: read by pillow-heif, which comes with an extra.

Not through the plug-in that it has for Pillow: that would be registered for the whole process, and it fills damaged
files up with black if somebody has told Pillow to.
"""

import io
from collections.abc import Callable

from ...errors import ImageRejected, ImageUnreadable, MissingExtra
from .pillow import Image

HEIF, AVIF = "HEIF", "AVIF"
_MOST_BRANDS = 256  # bytes
_BRANDS = {
    AVIF: {b"avif", b"avis"},  # first: both kinds may call themselves mif1 as well
    HEIF: {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"},
}


def kind_of(data: bytes) -> str:
    """Return HEIF or AVIF, by the brands that a file names at its beginning; empty if it is neither."""
    if data[4:8] != b"ftyp":
        return ""
    end = min(int.from_bytes(data[:4]), _MOST_BRANDS)
    brands = {data[8:12], *(data[start : start + 4] for start in range(16, end, 4))}
    return next((kind for kind, known in _BRANDS.items() if known & brands), "")


def read_heif(data: bytes, admit: Callable[[int, int], None]) -> Image.Image:
    """Decode a HEIC, upright: its turns are part of the picture.

    Parameters
    ----------
    admit
        Called with width and height before the pixels are decoded; raises what is too much.

    Raises
    ------
    ImageRejected
        It asks for too much.
    ImageUnreadable
        pillow-heif is not installed, or does not know what the file makes use of.
    Exception
        Whatever pillow-heif raises if it is damaged.
    """
    try:
        from pillow_heif import open_heif
    except ImportError as error:
        raise ImageUnreadable(str(MissingExtra("pillow-heif", "heif"))) from error
    try:
        image = open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
        admit(*image.size)
        return Image.frombytes(image.mode, image.size, bytes(image.data), "raw", image.mode, image.stride)
    except SyntaxError as error:
        raise ImageUnreadable(f"{error}. A later pillow-heif may read it") from error
    except RuntimeError as error:
        if "Security limit exceeded" not in str(error):
            raise
        raise ImageRejected(f"damaged: {error}") from error
