"""The rows of a csv, whoever wrote it: no cell is lost, and what cannot be read is refused with the cure."""

import codecs
import csv
import itertools
import logging
import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import TypeAlias

from ...cache.files import open_regular
from ...cache.tables import counted
from ...errors import DataError
from ..text import few, plain
from .paths import refusal_by_name

logger = logging.getLogger(__name__)

Row = tuple[int, list[str]]
Pick: TypeAlias = Callable[[Sequence[str]], Collection[str]]

_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_OF_EXCEL = re.compile(r'"?sep=([^\w"]|\t)"?\s*', re.IGNORECASE)
_WINDOWS = "windows-1252"
# What Windows-1252 has and UTF-8 has not, and other encodings hardly have: few letters with accents among others. Bytes
# for signs are letters elsewhere, and words of such bytes alone are those of other alphabets.
_WESTERN = re.compile(rb"[\xc0-\xd6\xd8-\xf6\xf8-\xff]{1,2}")
_FOREIGN = re.compile(rb"(?<![A-Za-z])[\x80-\xff]{2}(?![A-Za-z])")


def read_rows(
    path: Path, needed: Sequence[str] | Pick, form: str = "", *, exact: bool = False
) -> tuple[list[str], list[Row]]:
    """Return the names of the columns, and each row that is not empty with its line; raises as :func:`rows_of`."""
    rows = each_row(path, needed, form, exact=exact)
    _, columns = next(rows)
    return columns, list(rows)


def each_row(path: Path | str, needed: Sequence[str] | Pick, form: str = "", *, exact: bool = False) -> Iterator[Row]:
    """Yield what :func:`rows_of` yields, of a file."""
    try:
        with open_regular(path, streams=True) as file:
            yield from rows_of(file, path, needed, form, exact=exact)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def rows_of(
    file: Iterable[bytes], where: Path | str, needed: Sequence[str] | Pick, form: str = "", *, exact: bool = False
) -> Iterator[Row]:
    """Yield the names of the columns, then each row that is not empty, with the line where it begins.

    Every row has as many cells as there are columns. Commas, semicolons, tabs or bars are between them: the first of
    these with which the columns have the names that are needed.

    Parameters
    ----------
    file
        Its lines: text in UTF-8, or in UTF-16 or UTF-32 with a byte-order mark. What can only be Windows-1252 is read
        as that, and the log says so.
    where
        What it is called, for messages.
    needed
        Columns that must be there; or a function that takes the names of the columns and returns those that rows are
        about, or raises DataError.
    form
        All columns that are looked for, for messages.
    exact
        Spaces after a delimiter belong to the cell.

    Raises
    ------
    DataError
        Another encoding or delimiter; a column is missing or there twice; a row has another number of cells; a
        quotation mark is not closed. The message has the line and what to do.
    """
    lines = _lines(file, where)
    first, blank = _first(lines)
    delimiters = "".join(_DELIMITERS)
    if of_excel := _OF_EXCEL.fullmatch(first):
        delimiters = of_excel[1]
        first, further = _first(lines)
        blank += 1 + further
    if not first:
        raise DataError(f"{where} is empty; {form or 'the first line names the columns'}.")

    def pick(columns: Sequence[str]) -> Collection[str]:
        return needed(columns) if callable(needed) else _required(columns, where, needed, form)

    delimiter = _delimiter(first, delimiters, pick)
    # Strict: otherwise the module makes something of each quotation mark, and rows are lost in a cell.
    reader = csv.reader(itertools.chain([first], lines), strict=True, skipinitialspace=not exact, delimiter=delimiter)
    line = blank + 1
    try:
        columns = [name.strip() for name in next(reader)]
        _require_distinct(columns, where)
        shape = _Shape(columns, pick(columns), delimiter, where)
        yield line, columns
        line = blank + reader.line_num + 1
        for row in reader:
            last = blank + reader.line_num
            if any(row):
                yield line, shape.fitted(row, line, last)
            line = last + 1
    except csv.Error as error:
        raise DataError(
            f"{where} cannot be read: in the row that begins in line {line}, {error}. A quotation mark is not closed, "
            'or stands inside of a cell: there it is written twice, "5"" nail".'
        ) from error


def _first(lines: Iterator[str]) -> tuple[str, int]:
    """Return the first line that is not empty, and how many were."""
    for number, line in enumerate(lines):
        if line.strip():
            return line, number
    return "", 0


def _delimiter(line: str, delimiters: str, pick: Pick) -> str:
    """Return the first delimiter with which a line has the names of the columns; if there is none, the commonest."""
    for delimiter in delimiters:
        try:
            names = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
            pick([name.strip() for name in names])
        except (DataError, csv.Error):
            continue
        return delimiter
    return max(delimiters, key=line.count)


def _lines(file: Iterable[bytes], where: Path | str) -> Iterator[str]:
    """Yield the lines of a text, with their ends."""
    data = iter(file)
    first = next(data, b"")
    encoding = next((name for mark, name in _MARKS.items() if first.startswith(mark)), "")
    lines = itertools.chain([first.removeprefix(codecs.BOM_UTF8)], data)
    for number, line in enumerate(_wide(lines, encoding, where) if encoding else _narrow(lines, where), start=1):
        if "\0" in line:
            raise DataError(
                f"{where} cannot be read: line {number} has a null byte, as UTF-16 and damaged text have. If it is "
                f"UTF-16: {_conversion(where, 'UTF-16LE')}"
            )
        if "\r" in line[:-2]:  # the end of a line on old machines
            yield from StringIO(line, newline="")
        else:
            yield line


def _wide(data: Iterable[bytes], encoding: str, where: Path | str) -> Iterator[str]:
    try:
        text = "".join(codecs.iterdecode(data, encoding))
    except UnicodeDecodeError as error:
        raise DataError(f"{where} cannot be read: it begins as {encoding}, but is damaged: {error.reason}.") from error
    return iter(StringIO(text, newline=""))


def _narrow(data: Iterable[bytes], where: Path | str) -> Iterator[str]:
    """Yield the lines of a text in UTF-8; or in Windows-1252, if all letters beyond ASCII can be that."""
    encoding = ""
    for number, line in enumerate(data, start=1):
        if not line.isascii():
            encoding = encoding or _encoding(line, number, where)
            if not (_is_western(line) if encoding == _WINDOWS else _is_utf_8(line)):
                raise DataError(
                    f"{where} cannot be read: line {number} is not UTF-8 (byte 0x{_odd_byte(line):02x}), but perhaps "
                    f"Windows-1252 (the name of another one goes after -f). {_conversion(where, 'WINDOWS-1252')}"
                )
        yield line.decode(encoding or "ascii")


def _encoding(line: bytes, number: int, where: Path | str) -> str:
    """Return the encoding of a text, given its first line that is not ASCII."""
    if _is_utf_8(line) or not _is_western(line):
        return "utf-8"
    words = re.split(r"[\s,;|\"]+", line.decode(_WINDOWS))
    logger.warning(
        "fc7: %s is not UTF-8 and was read as Windows-1252: line %d has %s. If that is wrong, save it as UTF-8.",
        *(plain(str(where)), number, plain(next(word for word in words if not word.isascii()))),
    )
    return _WINDOWS


def _is_utf_8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_western(line: bytes) -> bool:
    return all(map(_WESTERN.fullmatch, re.findall(rb"[\x80-\xff]+", line))) and not _FOREIGN.search(line)


def _odd_byte(line: bytes) -> int:
    """Return the first byte that is not UTF-8; or that is not ASCII, where the lines before are not UTF-8."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return line[error.start]
    return next(byte for byte in line if byte > 127)


def _conversion(where: Path | str, encoding: str) -> str:
    copy = f"{Path(where).stem}-utf-8.csv"
    return f"Save it as UTF-8, or: iconv -f {encoding} -t UTF-8 {shlex.quote(str(where))} > {shlex.quote(copy)}"


def column_list(columns: Sequence[str]) -> str:
    """Return columns for a message: ``['path', 'label']``, and of many the first."""
    return f"[{few([repr(name) for name in columns])}]"


def _required(columns: Sequence[str], where: Path | str, needed: Sequence[str], form: str) -> Sequence[str]:
    missing = [name for name in needed if name not in columns]
    if missing:
        capital = [name for name in columns if name.lower() in missing]
        hint = f" Write {', '.join(capital)} in small letters." if capital else ""
        raise DataError(f"{where} has the columns {column_list(columns)}; {form}.{hint}")
    return needed


def _require_distinct(columns: Sequence[str], where: Path | str) -> None:
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    if twice:
        names = few(list(map(repr, twice)), between=" and ")
        raise DataError(f"{where} has {names} twice among its columns: rename or remove one.")


class _Shape:
    """What each row of a csv has to look like.

    Parameters
    ----------
    columns
        Their names.
    main
        Those that rows are about.
    """

    def __init__(self, columns: Sequence[str], main: Collection[str], delimiter: str, where: Path | str) -> None:
        self._columns, self._main, self._delimiter, self._where = columns, main, delimiter, where
        # The first column may have no name: pandas writes the numbers of rows there.
        self._unnamed = [place for place, name in enumerate(columns) if place and not name]
        self._between = _DELIMITERS.get(delimiter, repr(delimiter))
        self._cure = (
            f"A cell that has a {self._between} is written in quotation marks, "
            f'"maple{delimiter} red"; an empty one has its {self._between}, too.'
        )

    def fitted(self, row: list[str], line: int, last: int) -> list[str]:
        """Return the row of some lines with a cell for each column; refuse one that cannot be right."""
        if len(row) != len(self._columns) or self._unnamed:
            row = self._in_columns(row, f"{self._where}, line {line}")
        if last > line:
            self._require_one(row, f"{self._where}, line {line}")
        return row

    def _in_columns(self, row: list[str], where: str) -> list[str]:
        """Return a row with a cell for each column; refuse one whose cells may stand in the wrong columns.

        Commas at the end are no cells; unless there are columns that may be empty: a name with a comma moves what comes
        after it into the next column.
        """
        columns = self._columns
        cells, further = row[: len(columns)], row[len(columns) :]
        if (
            len(row) < len(columns)
            or any(map(str.strip, further))
            or (further and not set(columns) <= {*self._main, ""})
        ):
            raise DataError(
                f"{where} has {counted(len(row), 'cell')}, {_cut(row)}, but there are "
                f"{counted(len(columns), 'column')}, {few(columns)}. {self._cure}"
            )
        unnamed = [row[place] for place in self._unnamed if row[place].strip()]
        if unnamed:
            raise DataError(f"{where}: {_cut(unnamed[0])} stands in a column without a name. {self._cure}")
        return cells

    def _require_one(self, row: Sequence[str], where: str) -> None:
        """Refuse a cell with line breaks that looks like rows, which a quotation mark has swallowed."""
        for name, cell in zip(self._columns, row, strict=True):
            lines = cell.splitlines()
            rows = [line for line in lines if self._delimiter in line] if len(lines) > 1 else []
            pieces = (piece for line in rows for piece in line.split(self._delimiter))
            if rows and (name in self._main or not all(map(refusal_by_name, pieces))):
                raise DataError(
                    f"{where}: the cell {_cut(cell)} has {len(lines)} lines and {self._between}s, as rows that a "
                    "quotation mark has swallowed. Close the mark before it, or leave out the line breaks."
                )


def _cut(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}..."
