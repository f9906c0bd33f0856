"""A csv of images, read line by line: path and label, and optionally split, group and bad."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...cache.urls import address
from ...errors import DataError
from ..text import unguarded
from .columns import ImageEntry, Images
from .paths import ABSENT, SPLITS, Reject, above, is_absent, refusal, refusal_by_name


class Csv:
    """A csv of images, whose paths are relative to it, and may be URLs.

    Parameters
    ----------
    path
        Of the csv, for messages, and for what its paths are relative to.
    rows
        The names of the columns, then each row with its line.
    """

    def __init__(self, path: Path, rows: Iterator[tuple[int, list[str]]]) -> None:
        self.path, self.above, self.where = path, above(path.parent), address(path) or path
        _, self.columns = next(rows)
        if not {"path", "label"} <= set(self.columns):
            raise DataError(
                f"{self.where} has the columns {self.columns}; needed: path,label, optional: split,group,bad."
            )
        self.images, self.rejects, self.absent = Images(), list[Reject](), list[str]()
        self._rows = rows

    def read(self, *, with_bad: bool) -> tuple[Images, list[Reject], dict[str, str]]:
        """Return the images, the rejects, and the identities of images that are URLs."""
        urls: list[tuple[ImageEntry, str]] = []
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
        known = self._remote(urls) if urls else {}
        if self.absent:
            named = len(self.images) + len(self.rejects)
            raise DataError(
                f"{len(self.absent)} of {named} files named in {self.where} do not exist, "
                f"the first is {self.absent[0]}."
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


def read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the names of the columns, and each row that is not empty with its line."""
    rows = each_row(path)
    _, columns = next(rows)
    return columns, list(rows)


def each_row(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the names of the columns, then each row that is not empty, with its line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from rows_of(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def rows_of(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield what :func:`each_row` yields, from a csv reader."""
    yield 1, next(reader, [])
    for row in reader:
        if row:
            yield reader.line_num, row


def images_of(
    path: Path, columns: Sequence[str], rows: Iterable[tuple[int, list[str]]]
) -> Iterator[tuple[int, ImageEntry]]:
    """Yield the images that rows of a csv name, each with its line."""
    place_of = {name: place for place, name in enumerate(columns)}
    places = [place_of.get(name, len(columns)) for name in ImageEntry._fields]
    padding = [""] * (len(columns) + 1)
    for line, row in rows:
        cells = row[: len(columns)] + padding if len(row) != len(columns) else [*row, ""]
        image, label, split, group, bad = (unguarded(cells[place].strip()) for place in places)
        if bad not in ("", "yes", "no"):
            raise DataError(f"{path}, line {line}: bad is {bad!r}, not yes, no or empty.")
        yield line, ImageEntry(image, label, split, group, bad=bad == "yes")
