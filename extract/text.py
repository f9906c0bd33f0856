"""Text for csv cells, which a spreadsheet must not calculate, and for terminals."""

import re
import sys

# Spreadsheets read these as the start of a formula, unless an apostrophe stands before them.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
# What stands neither for a character nor for a byte of a name that is no Unicode.
_NOTHING = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def guarded(text: str) -> str:
    """Return a cell that holds `text` and is no formula.

    >>> guarded("=1+1"), guarded("'=1+1"), guarded("ants")
    ("'=1+1", "''=1+1", 'ants')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """Return the text that a guarded cell holds.

    >>> unguarded("'=1+1"), unguarded("=1+1"), unguarded("'ants'")
    ('=1+1', '=1+1', "'ants'")
    """
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def storable(text: str) -> str:
    """Return text that a file can hold: in UTF-8, and names that are no Unicode as their bytes."""
    return _NOTHING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, not too much of it; the name of its class if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def plain(text: str) -> str:
    """Return text that any terminal can show: control characters and undecodable bytes are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    escaped = text.encode("utf-8", "backslashreplace").decode()
    escaped = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in escaped)
    return escaped.encode(encoding, "backslashreplace").decode(encoding)
