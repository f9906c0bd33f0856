"""Decoding on a CUDA device: JPEGs by nvJPEG, a batch at a time, resized and cropped where they are needed.

Some of its pixels differ by a grey level from those of the processor's library, so the recipe names it as another rule.
The processor decodes all files that are no ordinary JPEG or may be damaged, because it gives the reason of a reject.
"""

import io
from collections.abc import Mapping

import torch
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import functional

from ...cache.recipe import Transform
from ..manifest.paths import MAX_BYTES
from .decode import MAX_PIXELS
from .pillow import ExifTags, Image
from .views import resized_size

_MODES = ("RGB", "L")
_END = b"\xff\xd9"  # of every JPEG that is whole


def takes(data: bytes) -> bool:
    """Return whether a file is a JPEG of ordinary colours and size, upright and with its end."""
    if len(data) > MAX_BYTES or _END not in data[-64:]:
        return False
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
            return upright and image.mode in _MODES and image.width * image.height <= MAX_PIXELS
    except Exception:  # whatever is wrong with it, the processor's decoder finds it again and gives the reason
        return False


def fill_rows(pixels: torch.Tensor, files: Mapping[int, bytes], transform: Transform) -> None:
    """Decode files to rows of a batch, on the batch's device.

    Parameters
    ----------
    pixels
        ``(B, crop, crop, 3)`` uint8, changed in place.
    files
        The bytes of a JPEG by the number of its row.

    Raises
    ------
    RuntimeError
        One of them cannot be decoded.
    """
    encoded = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files.values()]
    images = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=pixels.device)
    mode = functional.InterpolationMode(transform.interpolation)
    for row, image in zip(files, images, strict=True):
        width, height = resized_size(image.shape[2], image.shape[1], transform)
        resized = functional.resize(image, [height, width], interpolation=mode, antialias=True)
        x, y = (max(transform.crop - side, 0) for side in (width, height))
        padded = functional.pad(resized, [x // 2, y // 2, x - x // 2, y - y // 2], fill=list(transform.background))
        pixels[row] = functional.center_crop(padded, [transform.crop]).permute(1, 2, 0)
