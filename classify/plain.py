"""Text from records made fit to show: whatever a file or class is called, it stays one line of text."""

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from ..extract.text import guarded

# Direction overrides and isolates reorder what stands beside them; real right-to-left letters need none.
_REORDER = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# An absolute path inside other words: after the start, a space, a quote or "file:", but not the // of a URL.
_FOLDERS = re.compile(r"""(?:(?<=^)|(?<=[\s"'(=,:]))(?:[A-Za-z]:[\\/]|/(?!/)|\\\\|~/)(?:[^\\/\s"'<>|:]+[\\/])*""")


def shown(text: str) -> str:
    r"""Return `text` with what is not printable written out, a newline as ``\n``, so that nothing hides or moves.

    >>> shown("a\nb")
    'a\\nb'
    """
    return "".join(_escaped(letter) if _hides(letter) else letter for letter in text)


def without_folders(text: str) -> str:
    """Return `text` with absolute paths cut to their last part: a report must not say where things lay.

    >>> without_folders("file:/home/ann/vgg16.pth")
    'file:vgg16.pth'
    """
    return _FOLDERS.sub("", text)


def relative(path: str) -> str:
    """Return a recorded path, cut to its last two parts where it is absolute.

    >>> relative("/home/ann/data/ants/1.jpg"), relative("ants/1.jpg")
    ('ants/1.jpg', 'ants/1.jpg')
    """
    for kind in (PurePosixPath, PureWindowsPath):
        parsed = kind(path)
        if parsed.anchor or path.startswith("~"):
            return "/".join(part for part in parsed.parts[-2:] if part != parsed.anchor)
    return path


def value(item: Any) -> str:
    """Return a hyper-parameter or the like in a few characters: ``0.001``, ``uniform``, ``[1, 2]``."""
    if isinstance(item, bool) or item is None:
        return str(item)
    if isinstance(item, int | float):
        return f"{item:g}"
    if isinstance(item, list | tuple):
        return "[" + ", ".join(value(part) for part in item) + "]"
    if isinstance(item, dict):
        return pairs(item)
    return without_folders(str(item))


def pairs(items: dict[str, Any]) -> str:
    """Return ``C = 1, solver = lbfgs``."""
    return ", ".join(f"{without_folders(str(name))} = {value(item)}" for name, item in items.items())


def csv_lines(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return csv that a spreadsheet will not execute: a header, then a line per row; what a row lacks is empty.

    >>> print(csv_lines(["path", "score"], [{"path": "=1+1", "score": -1}]), end="")
    path,score
    '=1+1,-1
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({name: _cell(item) for name, item in row.items()} for row in rows)
    return buffer.getvalue()


def _cell(item: Any) -> Any:
    """Return a csv cell; text that a spreadsheet would take for a formula gets an apostrophe, numbers stay numbers."""
    return guarded(shown(item)) if isinstance(item, str) else item


def _hides(letter: str) -> bool:
    return letter in _REORDER or unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"}


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
