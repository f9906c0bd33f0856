"""The gallery of a report: predicted against true, the most confident mistakes first, with thumbnails."""

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .plain import relative
from .runs import Run

TILES = 400
EDGE = 96  # px
BYTES = 2_000_000  # of embedded thumbnails, so that the page stays under 3 MB
_KEY = re.compile(r"[0-9a-f]{8,64}")
_MOST_PIXELS = 16_000_000


@dataclass(frozen=True)
class Tile:
    """One image: what it is, what it was taken for, how surely; `source` is a ``data:`` URI or empty."""

    path: str
    true: str
    predicted: str
    confidence: float
    right: bool
    source: str


def tiles(run: Run, thumbnails: Path | None) -> tuple[list[Tile], list[Tile]]:
    """Return at most 400 tiles: the wrong ones, the surest first, and the right ones, the least sure first.

    Parameters
    ----------
    thumbnails
        A folder of ``<key>.jpg``. What is missing there, or is no image, is shown by its file name.
    """
    probability = np.asarray(run.predictions["probability"], dtype=np.float64)
    confidence, predicted = probability.max(axis=1), probability.argmax(axis=1)
    order = np.lexsort((np.where(run.right, confidence, -confidence), run.right))[:TILES]
    classes, columns, spent = run.data["classes"], run.predictions, 0
    made: tuple[list[Tile], list[Tile]] = [], []
    for place in (int(place) for place in order):
        source = thumbnail(thumbnails, columns["key"][place]) if thumbnails and spent < BYTES else ""
        spent += len(source)
        right = bool(run.right[place])
        true, taken = classes[columns["label"][place]], classes[predicted[place]]
        made[right].append(Tile(relative(columns["path"][place]), true, taken, float(confidence[place]), right, source))
    return made


def thumbnail(folder: Path, key: str) -> str:
    """Return the image of `key` as a ``data:`` URI of at most 96 px, empty where there is none.

    It is decoded and encoded again, so that only pixels come through: no EXIF, and nothing that only claims to be JPEG.
    """
    from PIL import Image

    if not _KEY.fullmatch(key):  # a record from elsewhere must not choose which file is read
        return ""
    try:
        with Image.open(folder / f"{key}.jpg", formats=["JPEG"]) as image:
            if image.width * image.height > _MOST_PIXELS:
                return ""
            image.draft("RGB", (2 * EDGE, 2 * EDGE))
            small = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    small.thumbnail((EDGE, EDGE))
    buffer = io.BytesIO()
    small.info.clear()  # the comment and ICC profile would be written again
    small.save(buffer, "JPEG", quality=72, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
