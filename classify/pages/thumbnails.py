"""Thumbnails: small upright copies of images for pages."""

import base64
import contextlib
import hashlib
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import quote

from ...cache.file_blocks import open_regular
from ...cache.output_file import OutputFile
from ...cache.urls import Location, is_url, locate
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
EMBEDDED = 600  # pictures; a page that shows more has a folder beside it
_KEY = re.compile(r"[0-9a-f]{8,64}")
_MOST_PIXELS = 16_000_000


def write_thumbnails(
    paths: Mapping[str, str],
    images: Path | str,
    folder: Path | str,
    *,
    checked: bool = True,
    progress: Progress = silent,
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
    checked
        Whether keys are of the images' bytes. If not, existing thumbnails are replaced.
    """
    folder, root = Path(folder), locate(images)
    missing = {key: path for key, path in paths.items() if not (checked and (folder / f"{key}.jpg").exists())}
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
                pool.submit(_write, key if checked else "", located(root, path), folder / f"{key}.jpg")
                for key, path in missing.items()
            ]
            for done, (task, path) in enumerate(zip(tasks, missing.values(), strict=True), start=1):
                reason = task.result()
                failed += [f"{path}: {reason}"] if reason else []
                progress("thumbnails", done, len(tasks))
    if failed:
        logger.warning("images without a thumbnail: %d, the first: %s", len(failed), failed[0])
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


@contextlib.contextmanager
def pictures(
    output: OutputFile,
    paths: Mapping[str, str],
    read: Iterable[Location | str] = (),
    *,
    checked: bool = True,
    progress: Progress = silent,
) -> Iterator[Mapping[str, str]]:
    """Yield the addresses of pictures by key, for a page that is to be written; see :func:`addresses`.

    Where there are too many for the page they are in a folder beside it, unless that would be in one of those that are
    read: the next reader would take them for images.

    Parameters
    ----------
    paths, checked
        See :func:`write_thumbnails`. Paths are absolute or relative to the working directory.
    """
    many = len(paths) > EMBEDDED and not output.written_through and not _inside(output.path, read)
    with contextlib.nullcontext(folder_beside(output.path)) if many else TemporaryDirectory() as folder:
        write_thumbnails(paths, Path(), folder, checked=checked, progress=progress)
        yield addresses(Path(folder), list(paths), output.path)


def folder_beside(page: Path) -> Path:
    """Return where the pictures of a page are that it does not hold."""
    return page.with_name(f"{page.stem}-thumbnails")


def _inside(page: Path, folders: Iterable[Location | str]) -> bool:
    above = Path(os.path.realpath(page)).parents
    return any(Path(os.path.realpath(folder)) in above for folder in folders if not is_url(str(folder)))


def addresses(folder: Path | None, keys: Sequence[str], page: Path, most: int | None = None) -> dict[str, str]:
    """Return the addresses of pictures by key; empty where there is none.

    Until `most` bytes are reached, by default :data:`BYTES`, they are ``data:`` URIs, then names of files, if the
    folder is below that of the page.
    """
    found: dict[str, str] = {}
    spent, most = 0, BYTES if most is None else most
    parent = Path(os.path.realpath(page.parent))
    place = Path(os.path.realpath(folder)) if folder else parent
    below = place.relative_to(parent).parts if parent in place.parents else ()
    beside = "/".join(quote(os.fsencode(part)) for part in below)
    there = {path.stem for path in place.glob("*.jpg")} if beside else set()
    for key in dict.fromkeys(keys):
        if folder and spent < most:
            found[key] = _thumbnail(folder, key)
            spent += len(found[key])
        else:
            found[key] = f"{beside}/{key}.jpg" if key in there and _KEY.fullmatch(key) else ""
    return found


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
