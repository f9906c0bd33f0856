"""Thumbnails: small upright copies of images for pages."""

import base64
import contextlib
import hashlib
import io
import logging
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ...cache.file_blocks import open_regular
from ...cache.urls import locate
from ...errors import ImageRejected
from ...extract.decoding.decode import decode, read_image_bytes
from ...extract.manifest.paths import located
from ...extract.progress import Progress, silent

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger(__name__)

FOLDER = "thumbnails"  # beside the records, where the report looks
EDGE = 96  # px
BYTES = 2_000_000  # of embedded thumbnails, so that the page stays under 3 MB
_KEY = re.compile(r"[0-9a-f]{8,64}")
_MOST_PIXELS = 16_000_000


def write_thumbnails(
    paths: Mapping[str, str], images: Path | str, folder: Path | str, *, progress: Progress = silent
) -> int:
    """Write ``<key>.jpg`` for images, and return how many were written.

    Existing thumbnails are kept. An image that is missing, or no longer has the bytes of its key, gets none, and a page
    shows its name. No failure is fatal.

    Parameters
    ----------
    paths
        Of the images, by the first 16 hex digits of their sha256.
    images
        The folder that the paths are relative to.
    folder
        Where the thumbnails go.
    """
    folder, root = Path(folder), locate(images)
    missing = {key: path for key, path in paths.items() if not (folder / f"{key}.jpg").exists()}
    if not missing:
        return 0
    failed: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        failed = [f"{folder.name}: {error.strerror}"] * len(missing)
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            tasks = [
                pool.submit(_write, key, located(root, path), folder / f"{key}.jpg") for key, path in missing.items()
            ]
            for done, (task, path) in enumerate(zip(tasks, missing.values(), strict=True), start=1):
                reason = task.result()
                failed += [f"{path}: {reason}"] if reason else []
                progress("thumbnails", done, len(tasks))
    if failed:
        logger.warning("%d images have no thumbnail; the first: %s", len(failed), failed[0])
    return len(missing) - len(failed)


def smaller(source: Path | str, key: str, edge: int, *, scaled: bool = False) -> bytes:
    """Return an image as an upright JPEG of at most `edge` pixels, encoded again without any metadata.

    Parameters
    ----------
    key
        The first hex digits of the sha256 that the file must have.
    scaled
        Let the JPEG library decode at a lower resolution, which is faster.

    Raises
    ------
    ImageRejected
        It is no acceptable image, or its bytes no longer match the key.
    OSError
        It cannot be read.
    """
    data = read_image_bytes(source)
    if not hashlib.sha256(data).hexdigest().startswith(key):
        raise ImageRejected("no longer the image that was embedded")
    return _jpeg(decode(data, edge if scaled else None), edge, quality=85)


def _jpeg(image: "Image.Image", edge: int, quality: int) -> bytes:
    image.thumbnail((edge, edge))
    image.info.clear()  # Pillow would write the comment and the colour profile again
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def _write(key: str, source: str, target: Path) -> str:
    """Write one thumbnail whole or not at all; return the reason of a failure, or nothing."""
    # Without the fsync that results get: a thumbnail that a power loss takes is made anew from its image.
    temporary = target.with_suffix(f".{os.getpid()}")
    try:
        temporary.write_bytes(smaller(source, key, EDGE))
        temporary.replace(target)
    except (OSError, ValueError, ImageRejected) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        return str(getattr(error, "strerror", None) or error)
    return ""


def embedded(folder: Path | None, keys: Sequence[str], most: int = BYTES) -> dict[str, str]:
    """Return thumbnails as ``data:`` URIs by key; empty where there is none, or `most` bytes are reached."""
    sources: dict[str, str] = {}
    spent = 0
    for key in dict.fromkeys(keys):
        sources[key] = _thumbnail(folder, key) if folder and spent < most else ""
        spent += len(sources[key])
    return sources


def _thumbnail(folder: Path, key: str) -> str:
    """Return a thumbnail as a ``data:`` URI of at most 96 px; empty if there is none.

    It is decoded and encoded again, so that the page gets only pixels: no EXIF, and no file that is no JPEG.
    """
    from PIL import Image

    if not _KEY.fullmatch(key):  # a record from elsewhere must not choose which file is read
        return ""
    try:
        with open_regular(folder / f"{key}.jpg") as file, Image.open(file, formats=["JPEG"]) as image:
            if image.width * image.height > _MOST_PIXELS:
                return ""
            image.draft("RGB", (2 * EDGE, 2 * EDGE))
            small = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(_jpeg(small, EDGE, quality=72)).decode("ascii")
