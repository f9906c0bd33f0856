"""A csv of images, path and label, and optionally split, group and bad."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...cache.urls import address
from ...errors import DataError
from ..text import unguarded
from .columns import ImageEntry, Images
from .csv_rows import each_row, listed, rows_of
from .paths import ABSENT, SPLITS, Reject, above, is_absent, refusal, refusal_by_name

NEEDED = ("path", "label")
FORM = "needed: path,label, optional: split,group,bad"


class Csv:
    """A csv of images, whose paths are relative to it, and may be URLs.

    Parameters
    ----------
    path
        Of the csv, and what its paths are relative to.
    lines
        Those of the csv, if it is not on this machine.
    """

    def __init__(self, path: Path, lines: Iterable[bytes] | None = None) -> None:
        self.path, self.above = path, above(path.parent)
        self.where = address(path) or path
        self._rows = each_row(path, NEEDED, FORM) if lines is None else rows_of(lines, self.where, NEEDED, FORM)
        _, self.columns = next(self._rows)
        _require_plain(self.where, self.columns)
        self.images, self.rejects, self.absent = Images(), list[Reject](), list[str]()

    def read(self, *, with_bad: bool) -> tuple[Images, list[Reject], dict[str, str]]:
        """Return the images, the rejects, and the identities of images that are URLs."""
        urls: list[tuple[ImageEntry, str]] = []
        line = 0
        for line, image in images_of(self.path, self.columns, self._rows):
            if image.bad:
                if with_bad:
                    self.images.append(image)
                continue
            self._require(line, image)
            file = image.path if image.path.startswith(os.sep) else self.above + image.path
            url = address(image.path) or address(file)
            if url:
                urls.append((image, url))
                continue
            reason = refusal(file)
            self._sort(image, reason, absent=bool(reason) and is_absent(file))
        if not line:
            raise DataError(f"{self.where} has the columns {listed(self.columns)} and no rows: write one per image.")
        known = self._remote(urls) if urls else {}
        if self.absent:
            named = len(self.images) + len(self.rejects)
            raise DataError(
                f"{len(self.absent)} of {named} files named in {self.where} do not exist, "
                f"the first is {self.absent[0]}.{_cure(self.absent[0])}"
            )
        return self.images, self.rejects, known

    def _remote(self, urls: list[tuple[ImageEntry, str]]) -> dict[str, str]:
        from .object_store import identities

        known = identities(url for _, url in urls)
        for image, url in urls:
            reason = refusal_by_name(image.path) or ("" if url in known else ABSENT)
            self._sort(image, reason, absent=url not in known)
        return known

    def _sort(self, image: ImageEntry, reason: str, *, absent: bool) -> None:
        if reason:
            self.rejects.append(Reject(image.path, reason))
            self.absent += [image.path] if absent else []
        else:
            self.images.append(image)

    def _require(self, line: int, image: ImageEntry) -> None:
        if not image.path or not image.label:
            raise DataError(f"{self.where}, line {line}: path or label is empty.")
        if "split" in self.columns and image.split not in SPLITS:
            raise DataError(f"{self.where}, line {line}: split is {image.split!r}, not one of {', '.join(SPLITS)}.")


def images_of(
    path: Path, columns: Sequence[str], rows: Iterable[tuple[int, list[str]]]
) -> Iterator[tuple[int, ImageEntry]]:
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
