"""A csv of images, path and label, and optionally split, group and bad."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...cache.urls import Location, is_url
from ...errors import DataError
from ..text import unguarded
from .columns import ImageEntry, Images
from .csv_rows import Row, each_row, listed, rows_of
from .paths import SPLITS, Reject, is_absent, located, refusal

NEEDED = ("path", "label")
FORM = "needed: path,label, optional: split,group,bad"


def read_csv(
    path: Location, lines: Iterable[bytes] | None = None, *, with_bad: bool
) -> tuple[Images, list[Reject], dict[str, str]]:
    """Return the images of a csv, the rejects, and the identities of images that are URLs.

    Parameters
    ----------
    path
        Of the csv, and what its paths are relative to.
    lines
        Those of the csv, if it is not on this machine.
    """
    rows = each_row(path, NEEDED, FORM) if lines is None else rows_of(lines, path, NEEDED, FORM)
    _, columns = next(rows)
    _require_plain(path, columns)
    folder, images, rejects, absent = path.parent, Images(), list[Reject](), list[str]()
    remote: list[tuple[ImageEntry, str]] = []

    def sort(image: ImageEntry, reason: str) -> None:
        if reason:
            rejects.append(Reject(image.path, reason))
        else:
            images.append(image)

    for image in _each_image(path, columns, rows):
        file = located(folder, image.path)
        if image.bad:
            if with_bad:
                images.append(image)
        elif is_url(file):
            remote.append((image, file))
        else:
            reason = refusal(file)
            sort(image, reason)
            absent += [image.path] if reason and is_absent(file) else []
    known: dict[str, str] = {}
    if remote:
        from .object_store import identities

        known = identities(url for _, url in remote)
        for image, url in remote:
            sort(image, refusal(url, known))
        absent += [image.path for image, url in remote if url not in known]
    if absent:
        raise DataError(
            f"{len(absent)} of {len(images) + len(rejects)} files named in {path} do not exist, "
            f"the first is {absent[0]}.{_cure(absent[0])}"
        )
    return images, rejects, known


def _each_image(path: Location, columns: Sequence[str], rows: Iterable[Row]) -> Iterator[ImageEntry]:
    """Yield the images; what the rows of those that are not left out lack is refused."""
    line = 0
    for line, image in images_of(path, columns, rows):
        if not image.bad and not image.path:
            raise DataError(f"{path}, line {line}: path is empty.")
        if not image.bad and "split" in columns and image.split not in SPLITS:
            raise DataError(f"{path}, line {line}: split is {image.split!r}, not one of {', '.join(SPLITS)}.")
        yield image
    if not line:
        raise DataError(f"{path} has the columns {listed(columns)} and no rows: write one per image.")


def images_of(path: Path | str, columns: Sequence[str], rows: Iterable[Row]) -> Iterator[tuple[int, ImageEntry]]:
    """Yield the images that rows of a csv name, each with its line."""
    place_of = {name: place for place, name in enumerate(columns)}
    places = [place_of.get(name, len(columns)) for name in ImageEntry._fields]
    for line, row in rows:
        cells = [*row, ""]
        image, label, split, group, bad = (unguarded(cells[place].strip()) for place in places)
        if bad not in ("", "yes", "no"):
            raise DataError(f"{path}, line {line}: bad is {bad!r}, not yes, no or empty.")
        yield line, ImageEntry(image, label, split, group, bad=bad == "yes")


def _require_plain(where: Path | str, columns: Sequence[str]) -> None:
    """Refuse names that only differ by case from those that are looked for."""
    for name in columns:
        if name not in ImageEntry._fields and name.lower() in ImageEntry._fields:
            raise DataError(f"{where} has a column {name!r}: write {name.lower()!r}, or give it another name.")


def _cure(path: str) -> str:
    """Return what to do about a path as other systems write it."""
    if path.startswith("file:"):
        return " Leave out file:// before paths."
    return " Write / in paths, not \\\\." if "\\" in path else ""
