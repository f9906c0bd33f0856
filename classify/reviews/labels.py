"""Labels that a person decided: a csv manifest beside the images, which are never changed.

The csv has every image of the data set, so that ``fc7 fit LABELS.csv`` reads it like any other. ``bad`` is ``yes`` for
images that are left out of everything. ``reviewed`` numbers the decisions, the latest last, so that a review resumes
where the last one ended. The file depends on the decisions only; without any decision there is none.
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

from ...cache.atomic_write import make_folder, sync_folder
from ...cache.file_blocks import read_regular
from ...cache.output_file import OutputFile, remove_leftovers
from ...errors import DataError
from ...extract.manifest.columns import ImageEntry
from ...extract.manifest.csv_rows import listed, read_rows, rows_of
from ...extract.manifest.csv_table import FORM, NEEDED, images_of
from ...extract.manifest.manifest import Manifest
from ...extract.text import csv_row

logger = logging.getLogger(__name__)

REVIEWED = "reviewed"
COLUMNS = ("path", "label", "group", "bad", REVIEWED)
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
    path
        The csv. It need not exist.

    Raises
    ------
    DataError
        A csv cannot hold a name of this data set, or cannot be written there.
    """

    def __init__(self, manifest: Manifest, path: Path | str | OutputFile) -> None:
        self._output = path if isinstance(path, OutputFile) else OutputFile(path)
        if self._output.written_through:  # it could not be read again, and a second decision not be written
            raise DataError(f"{self._output.path} is no regular file. Name another file with -o.")
        self.manifest, self.path = manifest, self._output.path
        self._target = Path(os.path.realpath(self.path))
        splits = ["split"] if any(image.split for image in manifest.images) else []
        self._columns = (*COLUMNS[:2], *splits, *COLUMNS[2:])
        self._names = list(self._relative())
        # Kept, because a decision changes one line of maybe 20,000, and is written within the time of a click.
        self._plain = [self._line(image, name) for image, name in zip(manifest.images, self._names, strict=True)]
        self._seen: bytes | None = None
        self._require_round_trip()

    def read(self) -> dict[str, Decision]:
        """Return the decisions in the csv by path in the data set, the earliest first.

        A label that somebody has changed by hand is a decision, too; it comes after the numbered ones.

        Raises
        ------
        DataError
            No review of this data set wrote the csv.
        """
        remove_leftovers(self._target)
        self._seen = self._bytes()
        if self._seen is None:
            return {}
        columns, rows = read_rows(self.path, NEEDED, "no review of this data set wrote it. Name another file with -o")
        if set(columns) != set(self._columns):
            raise DataError(
                f"{self.path} has the columns {listed(columns)}, not {list(self._columns)}: no review of this data set "
                "wrote it. Name another file with -o."
            )
        by_name: dict[str, deque[ImageEntry]] = defaultdict(deque)  # a csv may name one path twice
        for name, image in zip(self._names, self.manifest.images, strict=True):
            by_name[name].append(image)
        decided: list[tuple[float, int, str, Decision]] = []
        for (line, image), (_, row) in zip(images_of(self.path, columns, rows), rows, strict=True):
            if not by_name.get(image.path):
                raise DataError(
                    f"{self.path}, line {line}: {image.path} is not in {self.manifest.name}. Put it back, remove the "
                    "line, or name another file with -o."
                )
            original = by_name[image.path].popleft()
            number = self._number(line, row[columns.index(REVIEWED)])
            if not image.label:
                raise DataError(f"{self.path}, line {line}: the label is empty.")
            if number is not None or (image.label, image.bad) != (original.label, original.bad):
                order = float("inf") if number is None else number
                decided.append((order, line, original.path, Decision(image.label, image.bad)))
        return {path: decision for _, _, path, decision in sorted(decided, key=lambda entry: entry[:2])}

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
        data = self._text(decided).encode() if decided else None
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
        import fcntl

        try:
            make_folder(self._target.parent)
            descriptor = os.open(self._target.parent, os.O_RDONLY)
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written: {error.strerror or error}. Nothing was changed."
            ) from error
        try:
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
        above = os.path.relpath(root, folder)
        for image in self.manifest.images:
            inside = image.path if above == os.curdir else f"{above}/{image.path}"
            yield image.path if image.path.startswith(os.sep) else inside

    def _line(self, image: ImageEntry, name: str, number: int | None = None) -> str:
        bad, reviewed = "yes" if image.bad else "", "" if number is None else number
        cells = image._asdict() | {"path": name, "bad": bad, REVIEWED: reviewed}
        return csv_row([cells[column] for column in self._columns]) + "\n"

    def _text(self, decided: Mapping[str, tuple[Decision, int]]) -> str:
        lines = [csv_row(self._columns) + "\n"]
        for image, name, line in zip(self.manifest.images, self._names, self._plain, strict=True):
            if image.path in decided:
                decision, number = decided[image.path]
                line = self._line(image._replace(label=decision.label or image.label, bad=decision.bad), name, number)
            lines.append(line)
        return "".join(lines)

    def _require_round_trip(self) -> None:
        """Refuse names that change when the csv is written and read: bytes that are no text, spaces at the ends."""
        text = self._text({}).encode("utf-8", "replace")
        rows = rows_of(io.BytesIO(text), self.path, NEEDED, FORM)
        _, columns = next(rows)
        for (_, reread), image, name in zip(
            images_of(self.path, columns, rows), self.manifest.images, self._names, strict=True
        ):
            if reread != image._replace(path=name):
                raise DataError(
                    f"A csv cannot hold the path {image.path!r} with the label {image.label!r}: spaces at the ends, or "
                    "bytes that are no text. Rename it."
                )

    def _number(self, line: int, cell: str) -> int | None:
        cell = cell.strip()
        if cell and not (cell.isascii() and cell.isdigit() and len(cell) < 10):
            raise DataError(f"{self.path}, line {line}: reviewed is {cell!r}, not a number or empty.")
        return int(cell) if cell else None


def default_path(data: Path) -> Path:
    """Return the csv of a review of `data`, in the current folder."""
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
