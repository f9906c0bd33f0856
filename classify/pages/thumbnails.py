"""Thumbnails: small upright copies of images for pages, and larger ones of some, in a folder, named by their bytes.

A picture has the first digits of the sha256 of the image that it shows, so that none is ever taken for another one.
"""

import contextlib
import hashlib
import io
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ...cache.urls import locate
from ...errors import ImageRejected
from ...extract.decoding.decode import decode, read_image_bytes
from ...extract.machine import cores
from ...extract.manifest.paths import located
from ...extract.progress import Progress, silent

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger(__name__)

FOLDER = "thumbnails"  # beside the records, where the report looks
LARGE = "large"  # the folder of the larger ones in it
EDGE, LARGE_EDGE = 96, 480  # px
MOST_LARGE = 1000  # larger ones, of the first images; they take about 30 MB
DIGITS = 16  # of the sha256


def write_thumbnails(
    paths: Mapping[str, str],
    images: Path | str,
    folder: Path | str,
    *,
    checked: bool = True,
    progress: Progress = silent,
) -> dict[str, str]:
    """Write thumbnails, and larger pictures of the first 1,000 images; return their names without suffix by key.

    Those that are there are kept. An image that is missing, or no longer has the bytes of its key, gets none, and a
    page shows its name. No failure is fatal.

    Parameters
    ----------
    paths
        Of the images, by the first 16 hex digits of their sha256.
    images
        The folder that the paths are relative to.
    folder
        Where the thumbnails go.
    checked
        Whether keys are those of the images' bytes. If not, each image is read to learn its name.
    """
    folder, root = Path(folder), locate(images)
    small, large = ({path.stem for path in place.glob("*.jpg")} for place in (folder, folder / LARGE))
    names = {key: key for key in paths if checked and key in small}
    needs_large = set(list(paths)[:MOST_LARGE]) - (large if checked else set())
    wanted = {key: path for key, path in paths.items() if key not in names or key in needs_large}
    failed: list[str] = []
    with ThreadPoolExecutor(cores()) as pool:
        tasks = [
            pool.submit(_write, key if checked else "", located(root, path), folder, large=key in needs_large)
            for key, path in wanted.items()
        ]
        for done, (task, (key, path)) in enumerate(zip(tasks, wanted.items(), strict=True), start=1):
            try:
                names[key] = task.result()
            except (OSError, ValueError, ImageRejected) as error:
                reason = getattr(error, "strerror", None) or error
                failed += [] if key in names else [f"{path}: {reason}"]
            progress("thumbnails", done, len(tasks))
    if failed:
        logger.warning("images without a thumbnail: %d, the first: %s", len(failed), failed[0])
    return {key: names[key] for key in paths if key in names}


def smaller(source: Path | str, key: str, edge: int) -> bytes:
    """Return an image as an upright JPEG of at most `edge` pixels, encoded again without any metadata.

    Parameters
    ----------
    key
        The first hex digits of the sha256 that the file must have.

    Raises
    ------
    ImageRejected
        It is no acceptable image, or its bytes no longer match the key.
    OSError
        It cannot be read.
    """
    return jpeg(decode(_read(source, key)[0], edge), edge, quality=85)


def jpeg(image: "Image.Image", edge: int, quality: int) -> bytes:
    """Return an image as a JPEG of at most `edge` pixels, without metadata; the image itself becomes as small."""
    image.thumbnail((edge, edge))
    image.info.clear()  # Pillow would write the comment and the colour profile again
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def _read(source: Path | str, key: str) -> tuple[bytes, str]:
    """Return the bytes of a file and their sha256; raise if that does not begin with a key."""
    data = read_image_bytes(source)
    digest = hashlib.sha256(data).hexdigest()
    if not digest.startswith(key):
        raise ImageRejected("no longer the image that was embedded")
    return data, digest


def _write(key: str, source: str, folder: Path, *, large: bool) -> str:
    """Write the pictures of one image, each whole or not at all; return their name."""
    data, digest = _read(source, key)
    name = key or digest[:DIGITS]
    edges = {folder / LARGE / f"{name}.jpg": LARGE_EDGE} if large else {}
    edges |= {folder / f"{name}.jpg": EDGE}  # last: where it is, the other is
    edges = {target: edge for target, edge in edges.items() if not target.exists()}
    for target in edges:
        target.parent.mkdir(parents=True, exist_ok=True)
    if not edges:
        return name
    image = decode(data, max(edges.values()))
    for target, edge in edges.items():
        # Without the fsync that results get: a thumbnail that a power loss takes is made anew from its image.
        temporary = target.with_suffix(f".{os.getpid()}")
        try:
            temporary.write_bytes(jpeg(image, edge, quality=85))
            temporary.replace(target)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    return name
