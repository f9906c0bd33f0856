"""Labels that a person decided: a csv manifest beside the images, which are never changed.

The csv has every image of the data set, so that ``fc7 fit LABELS.csv`` reads it like any other. ``sha256`` is that of
the image's bytes: a decision follows its image wherever that is moved. ``bad`` is ``yes`` for images that are left out
of everything. ``reviewed`` numbers the decisions, the latest last, so that a review resumes where the last one ended.
The file depends on the decisions only; without any decision there is none.
"""

import contextlib
import io
import logging
import os
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...cache.files import make_folder, read_regular, sync_folder
from ...cache.keys import Keys
from ...cache.output_file import OutputFile, remove_leftovers
from ...cache.system import is_absolute, lock, open_lock_of
from ...cache.tables import counted
from ...errors import DataError
from ...extract.manifest.columns import ImageEntry
from ...extract.manifest.csv_rows import column_list, read_rows, rows_of
from ...extract.manifest.csv_table import images_of
from ...extract.manifest.given import LISTED
from ...extract.manifest.manifest import Manifest
from ...extract.manifest.paths import relative
from ...extract.text import csv_row, unguarded

logger = logging.getLogger(__name__)

SHA256, REVIEWED = "sha256", "reviewed"
COLUMNS = ("path", SHA256, "label", "group", "bad", REVIEWED)
_NEEDED = ("path", "label")
_NO_REVIEW = "no review of this data set wrote it. Name another file with -o"
PATIENCE = 10.0  # seconds for another review to write; it takes a few milliseconds


@dataclass(frozen=True)
class Decision:
    """A person's decision on an image: its label, and whether it is left out of everything."""

    label: str
    bad: bool = False


class Labels:
    """The csv of a review.

    Parameters
    ----------
    manifest
        The images under review, including bad ones.
    keys
        Of each image; zeros where it could not be read.
    path
        The csv. It need not exist.

    Attributes
    ----------
    outdated
        Whether the csv that was read lacks images or hashes, or has other paths.
    news
        What has changed since it was written, in a line.

    Raises
    ------
    DataError
        A csv cannot hold a name of this data set, or cannot be written there.
    """

    def __init__(self, manifest: Manifest, keys: Keys, path: Path | str | OutputFile) -> None:
        self._output = path if isinstance(path, OutputFile) else OutputFile(path)
        if self._output.written_through:  # it could not be read again, and a second decision not be written
            raise DataError(f"{self._output.path} is not a regular file. Name another file with -o.")
        self.manifest, self.path = manifest, self._output.path
        self._target = Path(os.path.realpath(self.path))
        splits = ["split"] if any(image.split for image in manifest.images) else []
        self._columns = (*COLUMNS[:3], *splits, *COLUMNS[3:])
        self._names = list(self._relative())
        self._keys = [key.hex() if any(key) else "" for key in keys]
        # Kept, because a decision changes one line of maybe 20,000, and is written within the time of a click.
        self._plain = [self._line(place, image) for place, image in enumerate(manifest.images)]
        self._absent: list[str] = []  # lines of decisions on images that are not there now
        self._seen: bytes | None = None
        self.outdated, self.news = False, ""
        self._require_round_trip(manifest.images)

    def read(self) -> dict[str, Decision]:
        """Return the decisions in the csv by path in the data set, the earliest first.

        A row belongs to the image that has its path and its bytes, else to those that have its bytes, else, if the csv
        has no bytes for it, to the one that has its path. A label that somebody has changed by hand is a decision, too;
        it comes after the numbered ones.

        Raises
        ------
        DataError
            No review of this data set wrote the csv.
        """
        remove_leftovers(self._target)
        self._seen = self._bytes()
        if self._seen is None:
            return {}
        images = self.manifest.images
        rows = self._rows()
        own, others = self._by_path(rows)
        by_key: dict[str, list[int]] = defaultdict(list)
        for place, key in enumerate(self._keys):
            if key and place not in own:
                by_key[key].append(place)
        decided = [
            (row.order, row.line, place, row.decision) for place, row in own.items() if self._is_decision(place, row)
        ]
        moved, absent, known = 0, list[_Row](), {self._keys[place] for place in own}
        for row in others:
            places = by_key.get(row.key, [])
            moved += bool(places)
            known |= {row.key} if places else set()
            if row.number is None:  # the label was that of its folder
                continue
            if places:
                decided += [(row.order, row.line, place, row.decision) for place in places]
            elif row.key not in known:
                absent.append(row)
        if not own and not moved:
            raise DataError(
                f"{self.path}: none of its {counted(len(rows), 'image')} is in {self.manifest.name}: {_NO_REVIEW}."
            )
        names = set(self._names)
        self._absent = [row.text for row in absent if row.image.path not in names]
        added = sum(place not in own and key not in known for place, key in enumerate(self._keys))
        self.outdated = bool(moved or added) or not any(row.key for row in rows)
        self.news = self._news(moved, added, absent)
        return {images[place].path: decision for *_, place, decision in sorted(decided, key=lambda entry: entry[:2])}

    def _rows(self) -> "list[_Row]":
        columns, rows = read_rows(self.path, _NEEDED, _NO_REVIEW)
        if set(columns) | {SHA256} != set(self._columns):  # reviews of before wrote no hashes
            raise DataError(
                f"{self.path} has the columns {column_list(columns)}, not {list(self._columns)}: {_NO_REVIEW}."
            )
        images = images_of(self.path, columns, rows)
        return [
            self._row(line, image, dict(zip(columns, map(unguarded, map(str.strip, cells)), strict=True)))
            for (line, image), (_, cells) in zip(images, rows, strict=True)
        ]

    def _row(self, line: int, image: ImageEntry, cells: Mapping[str, str]) -> "_Row":
        number, key = cells[REVIEWED], cells.get(SHA256, "")
        if number and not (number.isascii() and number.isdigit() and len(number) < 10):
            raise DataError(f"{self.path}, line {line}: reviewed is {number!r}, not a number or empty.")
        text = csv_row([cells.get(column, "") for column in self._columns]) + "\n"
        return _Row(line, image, key, int(number) if number else None, text)

    def _by_path(self, rows: "Sequence[_Row]") -> "tuple[dict[int, _Row], list[_Row]]":
        """Return the rows of images that are where they were, by place; and the others."""
        by_name: dict[str, deque[int]] = defaultdict(deque)  # a csv may name one path twice
        for place, name in enumerate(self._names):
            by_name[name].append(place)
        own, others = {}, []
        for row in rows:
            places = by_name.get(row.image.path)
            if places and (not row.key or self._keys[places[0]] in ("", row.key)):
                own[places.popleft()] = row
            else:
                others.append(row)
        return own, others

    def _is_decision(self, place: int, row: "_Row") -> bool:
        original = self.manifest.images[place]
        if not row.image.label and original.label:
            raise DataError(f"{self.path}, line {row.line}: the label is empty.")
        return row.number is not None or row.decision != Decision(original.label, original.bad)

    def _news(self, moved: int, added: int, absent: "Sequence[_Row]") -> str:
        """Return what has changed since the csv was written."""
        said = [f"images with other names or folders now, which keep their decisions: {moved}"] if moved else []
        said += [f"images that were not in it and are taken in: {added}"] if added else []
        if absent:
            kept = "is" if len(absent) == 1 else "are"
            said.append(
                f"{len(absent)} that {kept} decided on {kept} not in {self.manifest.name} as they were, the first is "
                f"{absent[0].image.path}"
            )
        return f"{self.path}: {'; '.join(said)}." if said else ""

    def write(self, decided: Mapping[str, tuple[Decision, int]]) -> str:
        """Write the decisions to the csv, whole and durably; without decisions, remove it.

        Any number of reviews may have the csv: one writes at a time, and only if the csv is as it last saw it.

        Parameters
        ----------
        decided
            Decisions with their numbers, by path in the data set.

        Returns
        -------
        str
            A warning where the csv has the decisions, but the disk does not confirm that they would survive a power
            loss; else empty.

        Raises
        ------
        DataError
            It cannot be written, or another program has changed it. The csv is unchanged then.
        """
        data = self._text(decided).encode() if decided or self._absent else None
        with self._alone():
            if self._bytes() != self._seen:
                raise DataError(
                    f"{self.path} was changed by another program, perhaps a second review, after this one had read it. "
                    "This decision was not stored. End this review and start it again: it goes on from what the csv "
                    "says."
                )
            warning = self._put(data)
            self._seen = data
        return warning

    def _put(self, data: bytes | None) -> str:
        """Write the csv, or remove it; return a warning where that was done, but is not durable."""
        try:
            if data is not None:
                self._output.write(data)
            elif self._seen is not None:
                self._target.unlink()
                sync_folder(self._target.parent)
        except (DataError, OSError) as error:
            reason = getattr(error.__cause__ or error, "strerror", None) or error
            if self._bytes() != data:
                raise DataError(f"{self.path} cannot be written: {reason}. Nothing was changed.") from error
            warning = (
                f"{self.path} has this decision, but the disk does not confirm it ({reason}): it may be gone after a "
                "power loss. The next decision writes all of them again."
            )
            logger.warning("fc7: %s", warning)
            return warning
        return ""

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of the csv's folder, which the system releases when the process ends, even by a crash.

        The folder is locked because each write puts another file in the place of the csv. A file system without locks
        has none; there a csv that has changed is still noticed, except within a few milliseconds.
        """
        try:
            make_folder(self._target.parent)
            descriptor = open_lock_of(self._target.parent)
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written: {error.strerror or error}. Nothing was changed."
            ) from error
        try:
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    lock(descriptor)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > end:
                        raise DataError(
                            f"Another review has locked {self.path} for {PATIENCE:.0f} s. Nothing was changed. Decide "
                            "again when that one has ended."
                        ) from error
                    time.sleep(0.005)
                except OSError as error:
                    logger.debug("%s has no locks: %s", self._target.parent, error.strerror)
                    break
            yield
        finally:
            os.close(descriptor)

    def _bytes(self) -> bytes | None:
        try:
            return read_regular(self._target)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}. Name another file with -o.") from error

    def _relative(self) -> Iterator[str]:
        """Yield the path of each image relative to the csv."""
        root, folder = Path(self.manifest.root).resolve(), self.path.parent.resolve()
        above = relative(root, folder)
        for image in self.manifest.images:
            inside = image.path if above == os.curdir else f"{above}/{image.path}"
            yield image.path if is_absolute(image.path) else inside

    def _line(self, place: int, image: ImageEntry, number: int | None = None) -> str:
        bad, reviewed = "yes" if image.bad else "", "" if number is None else number
        cells = image._asdict() | {
            "path": self._names[place],
            SHA256: self._keys[place],
            "bad": bad,
            REVIEWED: reviewed,
        }
        return csv_row([cells[column] for column in self._columns]) + "\n"

    def _text(self, decided: Mapping[str, tuple[Decision, int]]) -> str:
        lines = [csv_row(self._columns) + "\n"]
        for place, (image, line) in enumerate(zip(self.manifest.images, self._plain, strict=True)):
            if image.path in decided:
                decision, number = decided[image.path]
                line = self._line(place, image._replace(label=decision.label or image.label, bad=decision.bad), number)
            lines.append(line)
        return "".join([*lines, *self._absent])

    def require_holdable(self, label: str) -> None:
        """Refuse a label that changes when the csv is written and read; raises DataError."""
        if "\0" in label:  # it would make the csv unreadable
            raise DataError(f"A csv cannot hold the label {label!r}. Name it otherwise.")
        self._require_round_trip([self.manifest.images[0]._replace(label=label)])

    def _require_round_trip(self, images: Sequence[ImageEntry]) -> None:
        """Refuse names that change when the csv is written and read: bytes that are not text, spaces at the ends."""
        lines = [csv_row(self._columns) + "\n", *(self._line(place, image) for place, image in enumerate(images))]
        rows = rows_of(io.BytesIO("".join(lines).encode("utf-8", "replace")), self.path, _NEEDED, _NO_REVIEW)
        _, columns = next(rows)
        for (_, reread), image, name in zip(images_of(self.path, columns, rows), images, self._names, strict=False):
            if reread != image._replace(path=name):
                raise DataError(
                    f"A csv cannot hold the path {image.path!r} with the label {image.label!r}: spaces at the ends, or "
                    "bytes that are not text. Rename it."
                )


class _Row(NamedTuple):
    """A row of the csv."""

    line: int
    image: ImageEntry
    key: str  # sha256 in hex, empty if the csv has none
    number: int | None  # of the decision
    text: str  # the row as this review would write it

    @property
    def order(self) -> float:
        return float("inf") if self.number is None else self.number

    @property
    def decision(self) -> Decision:
        return Decision(self.image.label, self.image.bad)


def default_path(data: Path) -> Path:
    """Return the csv of a review of `data`, in the current folder."""
    if data == LISTED:
        return Path("paths-labels.csv")
    return Path(f"{data.resolve().stem if data.suffix.lower() == '.csv' else data.resolve().name}-labels.csv")


def require_apart(data: Path, path: Path) -> None:
    """Refuse to overwrite the csv that is under review."""
    if path.exists() and data.exists() and path.samefile(data):
        raise DataError(
            f"{data} is both what is reviewed and where labels go. Name the data set that it was made from, or another "
            "csv with -o."
        )


def numbered(decided: Sequence[tuple[list[str], Decision]]) -> dict[str, tuple[Decision, int]]:
    """Return decisions by path, with their numbers from 1; the copies of an image share one."""
    return {path: (decision, number) for number, (paths, decision) in enumerate(decided, start=1) for path in paths}
