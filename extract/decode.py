"""From the bytes of an image file to RGB pixels. Hostile input is rejected with a reason, never fatal, never silent.

Equal to ``PIL.Image.open(...).convert("RGB")`` and torchvision's resize and crop for ordinary photographs. What differs
on purpose: EXIF orientation is applied, transparency is composited on white, 16-bit values are scaled instead of
clipped, truncated files are rejected whatever other libraries have set.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ..cache.recipe import Transform
from ..errors import ImageRejected

# Pillow registers some 40 plugins, Ghostscript among them; these are the formats of the accepted suffixes.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
MAX_BYTES = 256 * 2**20
MAX_PIXELS = 64_000_000

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def decode(data: bytes) -> Image.Image:
    """Decode a file's bytes to an upright RGB image; of an animation, the first frame.

    Raises
    ------
    ImageRejected
        Empty, too large, not an image, or truncated; the message is the reason.
    """
    if not data:
        raise ImageRejected("empty file")
    if len(data) > MAX_BYTES:
        raise ImageRejected(f"{len(data)} bytes, more than {MAX_BYTES}")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise ImageRejected(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS}")
        _require_whole_files()
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        raise ImageRejected(f"not an image in one of the formats {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRejected(f"more than {MAX_PIXELS} pixels") from error
    except (OSError, ValueError, SyntaxError, IndexError, TypeError, KeyError, EOFError, MemoryError) as error:
        # What Pillow's decoders raise on damaged files of all kinds.
        raise ImageRejected(f"damaged: {error or type(error).__name__}") from error


def to_array(image: Image.Image, transform: Transform) -> npt.NDArray[np.uint8]:
    """Resize the shorter side and crop the centre, as torchvision does on a PIL image.

    Returns
    -------
    numpy.ndarray
        ``(crop, crop, 3)`` uint8.
    """
    short, long = sorted(image.size)
    stretched = int(transform.resize * long / short)
    size = (transform.resize, stretched) if image.width <= image.height else (stretched, transform.resize)
    resized = image.resize(size, _RESAMPLING[transform.interpolation]) if image.size != size else image
    left = round((size[0] - transform.crop) / 2)
    top = round((size[1] - transform.crop) / 2)
    return np.asarray(resized.crop((left, top, left + transform.crop, top + transform.crop)))


def _require_whole_files() -> None:
    # A process-wide switch that other libraries turn on; half-grey images must not become embeddings.
    ImageFile.LOAD_TRUNCATED_IMAGES = False


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
        return _from_wide(np.asarray(image).astype(np.float64))
    if image.mode == "F":
        raise ImageRejected("floating point pixels have no defined range")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _from_wide(values: npt.NDArray[Any]) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion clips everything above 255."""
    if values.max(initial=0) > 65535 or values.min(initial=0) < 0:
        raise ImageRejected("grey values beyond 16 bits")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8)).convert("RGB")
