"""The rows of a csv, whoever wrote it: no cell is lost, and what cannot be read is refused with the cure."""

import codecs
import csv
import itertools
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path

from ...cache.file_blocks import open_regular
from ...errors import DataError
from ..text import few
from .paths import refusal_by_name

Row = tuple[int, list[str]]

_MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_OF_EXCEL = re.compile(r'"?sep=.?"?\s*', re.IGNORECASE)
_CELLS = 'A cell that has a comma is written in quotation marks, "maple, red"; an empty one has its comma, too.'


def read_rows(path: Path, needed: Sequence[str], form: str) -> tuple[list[str], list[Row]]:
    """Return the names of the columns, and each row that is not empty with its line; raises as :func:`rows_of`."""
    rows = each_row(path, needed, form)
    _, columns = next(rows)
    return columns, list(rows)


def each_row(path: Path | str, needed: Sequence[str], form: str) -> Iterator[Row]:
    """Yield what :func:`rows_of` yields, of a file."""
    try:
        with open_regular(path, streams=True) as file:
            yield from rows_of(file, path, needed, form)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def rows_of(file: Iterable[bytes], where: Path | str, needed: Sequence[str], form: str) -> Iterator[Row]:
    """Yield the names of the columns, then each row that is not empty, with the line where it begins.

    Every row has as many cells as there are columns.

    Parameters
    ----------
    file
        Its lines: text in UTF-8, with or without a byte-order mark.
    where
        What it is called, for messages.
    needed
        Columns that must be there.
    form
        All columns that are looked for, for messages.

    Raises
    ------
    DataError
        Another encoding or delimiter; a column is missing or there twice; a row has another number of cells; a
        quotation mark is not closed. The message has the line and what to do.
    """
    lines = _lines(file, where)
    blank = 0
    for first in lines:
        if first.strip():
            break
        blank += 1
    else:
        raise DataError(f"{where} is empty; {form}.")
    _require_commas(first, where, needed)
    # Strict: otherwise the module makes something of each quotation mark, and rows are lost in a cell.
    reader = csv.reader(itertools.chain([first], lines), strict=True, skipinitialspace=True)
    line = blank + 1
    try:
        columns = [name.strip() for name in next(reader)]
        _require_columns(columns, where, needed, form)
        yield line, columns
        # The first column may have no name: pandas writes the numbers of rows there.
        unnamed = [place for place, name in enumerate(columns) if place and not name]
        line = blank + reader.line_num + 1
        for row in reader:
            last = blank + reader.line_num
            if any(row):
                if len(row) != len(columns) or unnamed:
                    row = _fitted(row, columns, unnamed, needed, f"{where}, line {line}")
                if last > line:
                    _require_one_row(row, columns, needed, f"{where}, line {line}")
                yield line, row
            line = last + 1
    except csv.Error as error:
        raise DataError(
            f"{where} cannot be read: in the row that begins in line {line}, {error}. A quotation mark is not closed, "
            'or stands inside of a cell: there it is written twice, "5"" nail".'
        ) from error


def _lines(file: Iterable[bytes], where: Path | str) -> Iterator[str]:
    """Yield the lines of a text in UTF-8, with their ends."""
    for number, data in enumerate(file, start=1):
        if number == 1:
            encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "")
            if encoding:
                raise DataError(
                    f"{where} cannot be read: its text is {encoding}, not UTF-8. {_conversion(where, encoding)}"
                )
            data = data.removeprefix(codecs.BOM_UTF8)
        try:
            line = data.decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where} cannot be read: line {number} is not UTF-8 (byte 0x{data[error.start]:02x}), but perhaps "
                f"Windows-1252. {_conversion(where, 'WINDOWS-1252')}"
            ) from error
        if "\0" in line:
            raise DataError(
                f"{where} cannot be read: line {number} has a null byte, as UTF-16 and damaged text have. If it is "
                f"UTF-16: {_conversion(where, 'UTF-16LE')}"
            )
        if "\r" in line[:-2]:  # the end of a line on old machines
            yield from StringIO(line, newline="")
        else:
            yield line


def _conversion(where: Path | str, encoding: str) -> str:
    copy = f"{Path(where).stem}-utf-8.csv"
    return f"Save it as UTF-8, or: iconv -f {encoding} -t UTF-8 {shlex.quote(str(where))} > {shlex.quote(copy)}"


def _require_commas(line: str, where: Path | str, needed: Sequence[str]) -> None:
    """Refuse another delimiter, as spreadsheets write it where the comma stands in numbers."""
    if _OF_EXCEL.fullmatch(line):
        raise DataError(f"{where} begins with {line.strip()!r}, not with the names of columns. Remove this line.")

    def split(delimiter: str) -> set[str]:
        return {name.strip().strip("\"'").lower() for name in line.split(delimiter)}

    for delimiter, name in _DELIMITERS.items():
        if set(needed) <= split(delimiter) and not set(needed) <= split(","):
            raise DataError(
                f"{where}: its columns are separated by {name}, not by commas. Save it with commas, and with quotation "
                "marks around cells that have one."
            )


def listed(columns: Sequence[str]) -> str:
    """Return columns for a message: ``['path', 'label']``, and of many the first."""
    return f"[{few([repr(name) for name in columns])}]"


def _require_columns(columns: Sequence[str], where: Path | str, needed: Sequence[str], form: str) -> None:
    missing = [name for name in needed if name not in columns]
    if missing:
        capital = [name for name in columns if name.lower() in missing]
        hint = f" Write {', '.join(capital)} in small letters." if capital else ""
        raise DataError(f"{where} has the columns {listed(columns)}; {form}.{hint}")
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    if twice:
        names = few(list(map(repr, twice)), between=" and ")
        raise DataError(f"{where} has {names} twice among its columns: rename or remove one.")


def _fitted(
    row: list[str], columns: Sequence[str], unnamed: Sequence[int], needed: Sequence[str], where: str
) -> list[str]:
    """Return a row with a cell for each column; refuse one whose cells may stand in the wrong columns.

    Commas at the end are no cells; unless there are columns that may be empty: a name with a comma moves what comes
    after it into the next column.
    """
    cells, further = row[: len(columns)], row[len(columns) :]
    if len(row) < len(columns) or any(map(str.strip, further)) or (further and not set(columns) <= {*needed, ""}):
        raise DataError(
            f"{where} has {len(row)} cells, {_cut(row)}, but there are {len(columns)} columns, {few(columns)}. {_CELLS}"
        )
    lost = [row[place] for place in unnamed if row[place].strip()]
    if lost:
        raise DataError(f"{where}: {_cut(lost[0])} stands in a column without a name. {_CELLS}")
    return cells


def _require_one_row(row: Sequence[str], columns: Sequence[str], needed: Sequence[str], where: str) -> None:
    """Refuse a cell with line breaks that looks like rows, which a quotation mark has swallowed."""
    for name, cell in zip(columns, row, strict=True):
        lines = cell.splitlines()
        pieces = [line.split(",") for line in lines if "," in line] if len(lines) > 1 else []
        if pieces and (name in needed or any(not refusal_by_name(piece) for cells in pieces for piece in cells)):
            raise DataError(
                f"{where}: the cell {_cut(cell)} has {len(lines)} lines and commas, as rows that a quotation mark has "
                "swallowed. Close the mark before it, or leave out the line breaks."
            )


def _cut(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}..."
