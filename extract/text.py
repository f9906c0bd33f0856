"""Text made harmless, in one place for each medium: terminals here, csv here, HTML in :mod:`fc7.classify.pages`."""

import csv
import io
import itertools
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

# Spreadsheets read these as the start of a formula, unless an apostrophe stands before them.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"-[0-9]+(\.[0-9]+)?")  # is what it says, and no formula
_WIDE = 150  # letters of all texts that a message shows
# What stands neither for a character nor for a byte of a name that is no Unicode.
_NOTHING = re.compile("[\ud800-\udc7f\udd00-\udfff]")
# Direction overrides and isolates reorder the text around them; real right-to-left letters need none.
_REORDER = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain(text: str) -> str:
    r"""Return one line that any terminal can show: control characters and undecodable bytes are escaped.

    >>> plain("a\x1b[31m\nb")
    'a\\x1b[31m\\nb'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def storable(text: str) -> str:
    """Return text that a file can hold: in UTF-8, and names that are no Unicode as their bytes."""
    return _NOTHING.sub(lambda found: _escaped(found[0]), text)


def is_unicode(text: str) -> bool:
    """Return whether text is that of letters alone, and has none of the bytes of a name that is no Unicode."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def csv_text(
    columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, harmless: Callable[[str], str] = storable
) -> str:
    r"""Return a csv that a program reads exactly and a spreadsheet does not calculate; a missing value is empty.

    Parameters
    ----------
    harmless
        What makes a row harmless for where it goes: :func:`storable` for a file, where a name with a line feed has it
        inside of quotation marks; :func:`plain` for a terminal, where each row is one line.

    >>> csv_text(["path", "score"], [{"path": "=1+1", "score": -1}, {"path": "a\nb, c"}])
    'path,score\n\'=1+1,-1\n"a\nb, c",\n'
    """
    cells = itertools.chain([columns], ([row.get(name, "") for name in columns] for row in rows))
    return "".join(f"{harmless(csv_row(row))}\n" for row in cells)


def csv_row(cells: Sequence[Any]) -> str:
    r"""Return a row of a csv, without its end; text that is a formula gets an apostrophe, see :func:`unguarded`.

    >>> csv_row(["=1+1", "a\nb", "ants, red", -1])
    '\'=1+1,"a\nb","ants, red",-1'
    """
    buffer = io.StringIO()
    texts = [guarded(cell) if isinstance(cell, str) else cell for cell in cells]
    # Written one by one with this end, so that a cell with either half of it is quoted, and the row itself can end with
    # a line feed alone.
    csv.writer(buffer, lineterminator="\r\n").writerow(texts)
    return buffer.getvalue()[:-2]


def guarded(text: str) -> str:
    """Return a cell that holds `text` and is no formula.

    >>> guarded("=1+1"), guarded("'=1+1"), guarded("ants"), guarded("-1")
    ("'=1+1", "''=1+1", 'ants', '-1')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unguarded(cell: str) -> str:
    """Return the text that a guarded cell holds.

    >>> unguarded("'=1+1"), unguarded("=1+1"), unguarded("'ants'")
    ('=1+1', '=1+1', "'ants'")
    """
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def hides(letter: str) -> bool:
    """Return whether a letter would not be seen as itself: a control character, half a character, a direction."""
    return letter in _REORDER or unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"}


def few(texts: Sequence[str], most: int = 5, between: str = ", ") -> str:
    """Return the first texts, each cut short, and the number of the others: a message has to be read, however many.

    >>> few(["ants", "bees", "wasps"], 2)
    'ants, bees and 1 more'
    """
    shown = texts[:most]
    wide = _WIDE // max(len(shown), 1)
    first = between.join(text if len(text) <= wide else f"{text[: wide - 3]}..." for text in shown)
    return f"{first} and {len(texts) - most:,} more" if len(texts) > most else first


def listed(names: Sequence[str], most: int = sys.maxsize) -> str:
    """Return names as they stand in a sentence; of more than `most` what :func:`few` returns.

    >>> listed(["ants", "bees", "wasps"]), listed(["ants"])
    ('ants, bees and wasps', 'ants')
    """
    if len(names) > most:
        return few(names, most)
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, not too much of it; the name of its class if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
