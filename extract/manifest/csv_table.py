"""A csv of images: their paths, and optionally label, split, group and bad."""

import logging
import shlex
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ...cache.urls import Location
from ...errors import DataError, words
from ..text import few, plain, unguarded
from .columns import Found, ImageEntry
from .csv_rows import Row, column_list, each_row, rows_of
from .paths import refusal_by_name
from .table import OF_IMAGES, USUAL, Columns, choose, images_in

logger = logging.getLogger(__name__)

NEEDED = ("path", "label")
OF_REVIEWS = ("sha256", "reviewed")  # columns of a csv whose labels are those of bytes, whatever these are called


def read_csv(
    path: Location,
    lines: Iterable[bytes] | None = None,
    *,
    with_bad: bool,
    columns: Mapping[str, str] | None = None,
) -> Found:
    """Return the images of a csv.

    Parameters
    ----------
    path
        Of the csv, and what its paths are relative to.
    lines
        Those of the csv, if it is not on this machine.
    columns
        What columns are called that have none of the usual names, by what they hold: see :func:`choose`.
    """
    chosen = Columns()

    def pick(names: Sequence[str]) -> list[str]:
        chosen.update(choose_images(names, path, columns))
        return [chosen[what] for what in NEEDED if what in chosen]

    rows = each_row(path, pick) if lines is None else rows_of(lines, path, pick)
    _, header = next(rows)
    say_unlabelled(header, chosen, path)
    if {"sha256", "e0"} <= set(header):
        logger.warning(
            "fc7: %s has vectors, which are not read from a csv: its images are looked for. fc7 cache export writes "
            "vectors that can be fitted as .parquet, .npz or .h5.",
            plain(str(path)),
        )
    purposes = {name: what for what, name in chosen.items()}
    place = header.index("sha256") if set(OF_REVIEWS) <= set(header) else None
    hashes, stated = deque[str](), dict[str, str]()

    def noted() -> Iterator[Row]:
        for line, row in rows:
            if place is not None:
                hashes.append(row[place].strip().lower())
            yield line, row

    def entries() -> Iterator[tuple[str, ImageEntry]]:
        for line, image in images_of(path, [purposes.get(name, "") for name in header], noted()):
            if not image.path and not image.bad:
                raise DataError(f"{path}, line {line}: the path is empty.")
            if hashes and (digits := hashes.popleft()):
                stated[image.path] = digits
            yield f"line {line}", image

    return images_in(path, path.parent, entries(), with_bad=with_bad)._replace(stated=stated)


def choose_images(names: Sequence[str], where: Location | str, columns: Mapping[str, str] | None = None) -> Columns:
    """Return which column of a table of images holds what; raises as :func:`choose`, and where none has paths."""
    chosen = choose(names, OF_IMAGES, where, columns)
    if "path" not in chosen:
        if not all(map(refusal_by_name, names)):
            raise DataError(f"{where} has no names of columns in its first line. Write one before it: path,label")
        raise DataError(
            f"{where} has the columns {column_list(names)}. Which one has the paths? They are found by usual names "
            f"({few(USUAL['path'])}), or named: --columns path=NAME,label=NAME"
        )
    return chosen


def say_unlabelled(names: Sequence[str], chosen: Mapping[str, str], where: Location | str) -> None:
    """Log that a table has no labels, if a column may have them under another name."""
    usual = {word.lower() for words in USUAL.values() for word in words} | {OF_REVIEWS[1]}
    others = [name for name in names if name and name not in chosen.values() and name.lower() not in usual]
    if "label" not in chosen and others:
        said = few([repr(plain(name)) for name in others])
        option = plain(f"--columns {shlex.quote(f'label={others[0]}')}")
        logger.warning("fc7: %s has no labels. If %s has them: %s", plain(str(where)), said, words(option))


def images_of(path: Path | str, columns: Sequence[str], rows: Iterable[Row]) -> Iterator[tuple[int, ImageEntry]]:
    """Yield the images that rows of a csv name, each with its line; `columns` are called like the fields of images."""
    place_of = {name: place for place, name in enumerate(columns)}
    places = [place_of.get(name, len(columns)) for name in ImageEntry._fields]
    for line, row in rows:
        cells = [*row, ""]
        image, label, split, group, bad = (unguarded(cells[place].strip()) for place in places)
        if bad not in ("", "yes", "no"):
            raise DataError(f"{path}, line {line}: bad is {bad!r}, not yes, no or empty.")
        yield line, ImageEntry(image, label, split, group, bad=bad == "yes")
