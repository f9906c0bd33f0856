"""The pictures of a page: addresses of thumbnails and of larger ones, in the page or in a folder beside it."""

import base64
import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from ...cache.files import open_regular
from ...cache.output_file import OutputFile
from ...cache.urls import Location, is_url
from ...extract.progress import Progress, silent
from .thumbnails import EDGE, LARGE, jpeg, write_thumbnails

BYTES = 2_000_000  # of embedded thumbnails, and half as much of larger pictures, so that the page stays under 5 MB
EMBEDDED = 600  # pictures; a page that shows more has a folder beside it
MIDDLE = 320  # px of a larger picture in the page
_KEY = re.compile(r"[0-9a-f]{8,64}")
_MOST_PIXELS = 16_000_000
_OURS = ".fc7"  # says that fc7 made the folder beside a page, and may remove pictures from it


@dataclass(frozen=True)
class Pictures:
    """Addresses of pictures by key: ``data:`` URIs or names of files; what has none is not there."""

    small: Mapping[str, str] = field(default_factory=dict)  # thumbnails
    large: Mapping[str, str] = field(default_factory=dict)  # of the first of them, for an image that is opened

    @property
    def beside(self) -> str:
        """The address of the folder with the pictures that are not in the page; empty if all are."""
        linked = (source for source in (*self.small.values(), *self.large.values()) if not source.startswith("data:"))
        return next(linked, "").rpartition("/")[0].removesuffix(f"/{LARGE}")


@contextlib.contextmanager
def pictures(
    output: OutputFile,
    paths: Mapping[str, str],
    read: Iterable[Location | str] = (),
    *,
    checked: bool = True,
    progress: Progress = silent,
) -> Iterator[Pictures]:
    """Yield the pictures of a page that is to be written.

    Where there are too many for the page they are in a folder beside it, unless that would be in one of those that are
    read: the next reader would take them for images. The pictures of the page that it replaces stay there until the
    new one is written, and only then are removed.

    Parameters
    ----------
    paths, checked
        See :func:`write_thumbnails`. Paths are absolute or relative to the working directory.
    """
    beside = folder_beside(output.path)
    many = len(paths) > EMBEDDED and not output.written_through and not _inside(output.path, read)
    with contextlib.nullcontext(beside) if many else TemporaryDirectory() as folder:
        if many and not beside.exists():
            with contextlib.suppress(OSError):  # what is wrong with it is said below
                beside.mkdir(parents=True)
                (beside / _OURS).touch()
        names = write_thumbnails(paths, Path(), folder, checked=checked, progress=progress)
        found = addresses(Path(folder), names.values(), output.path, BYTES)
        yield Pictures(*({key: each[name] for key, name in names.items() if name in each} for each in found))
    if not output.written_through:
        _remove_others(beside, {*names.values()} if many else set())


def folder_beside(page: Path) -> Path:
    """Return where the pictures of a page are that it does not hold."""
    return page.with_name(f"{page.stem}-thumbnails")


def _remove_others(folder: Path, kept: Collection[str]) -> None:
    """Remove the pictures of former pages from a folder that fc7 made, and the folder if none is left."""
    if not (folder / _OURS).is_file():
        return
    with contextlib.suppress(OSError):  # they are in nobody's way
        for path in [*folder.glob("*.*"), *folder.glob(f"{LARGE}/*.*")]:
            if _KEY.fullmatch(path.stem) and (path.stem not in kept or path.suffix != ".jpg"):
                path.unlink()
        if not kept:
            (folder / LARGE).rmdir()
            (folder / _OURS).unlink()
            folder.rmdir()


def _inside(page: Path, folders: Iterable[Location | str]) -> bool:
    above = Path(os.path.realpath(page)).parents
    return any(Path(os.path.realpath(folder)) in above for folder in folders if not is_url(str(folder)))


def addresses(
    folder: Path | None, names: Iterable[str], page: Path, most: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the addresses of thumbnails and of larger pictures by name; what has none is left out.

    Until `most` bytes are reached, and half of that for larger ones, they are ``data:`` URIs, then names of files, if
    the folder is below that of the page.
    """
    if not folder:
        return {}, {}
    names = [name for name in dict.fromkeys(names) if _KEY.fullmatch(name)]  # a record must not choose what is read
    return _addresses(folder, names, page, EDGE, most), _addresses(folder / LARGE, names, page, MIDDLE, most // 2)


def _addresses(folder: Path, names: Iterable[str], page: Path, edge: int, most: int) -> dict[str, str]:
    parent, place = (Path(os.path.realpath(path)) for path in (page.parent, folder))
    below = place.relative_to(parent).parts if parent in place.parents else ()
    beside = "/".join(quote(os.fsencode(part)) for part in below)
    there = {path.stem for path in place.glob("*.jpg")}
    found, spent = dict[str, str](), 0
    for name in names:
        if name not in there:
            continue
        source = _embedded(folder / f"{name}.jpg", edge) if spent < most else f"{beside}/{name}.jpg" if beside else ""
        if source:
            found[name] = source
            spent += len(source)
    return found


def _embedded(path: Path, edge: int) -> str:
    """Return a picture as a ``data:`` URI of at most some pixels; empty if it cannot be read.

    It is decoded and encoded again, so that the page gets only pixels: no EXIF, and no file that is no JPEG.
    """
    from PIL import Image

    try:
        with open_regular(path) as file, Image.open(file, formats=["JPEG"]) as image:
            if image.width * image.height > _MOST_PIXELS:
                return ""
            image.draft("RGB", (2 * edge, 2 * edge))
            small = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(small, edge, quality=72)).decode("ascii")
