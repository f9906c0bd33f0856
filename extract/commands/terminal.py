"""The terminal: tables and text as a person sees them, whatever file and class names hold."""

import re
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..text import plain


class Answer(NamedTuple):
    """What a verb answers: to programs with --json, to people, as an exit code, and to what reads its stdout.

    `data` is printed instead of `text` where stdout is no terminal.
    """

    payload: dict[str, Any]
    text: str
    code: int = 0
    data: str = ""


WIDEST = 100  # columns: longer lines are hard to read
# What a person pastes into a shell, after a colon and to the end of its sentence: it stays on one line.
_COMMAND = re.compile(
    r"(?<=: )(?:[A-Z_]+=\S+ )?(?:fc7|pip|git|ulimit|python) .*?(?=[.;,)]?(?:\s+[A-Z(]|\s*$)|; |, (?:then|or|and) )"
)
_COLUMNS = re.compile(r"\S {2,}\S")


def columns() -> int:
    """Return how wide sentences are: the terminal's width, but not too wide to read."""
    return min(shutil.get_terminal_size().columns, WIDEST)


def wrapped(line: str, width: int, indent: str = "") -> str:
    """Return a line with breaks between words, so that none is longer than `width`; a row of a table is left.

    A command stays whole, however long it is: broken, it could not be pasted.

    Parameters
    ----------
    indent
        In front of the second line and all that follow.
    """
    if len(line) <= width or (not indent and _COLUMNS.search(line)):
        return line
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", "\0"), line)
    start = indent or " " * (len(line) - len(line.lstrip()))
    filler = textwrap.TextWrapper(
        width, subsequent_indent=start, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    filler.replace_whitespace = filler.expand_tabs = False
    return filler.fill(whole).replace("\0", " ")


WIDE = 10_000  # columns of a file or a pipe: nothing is cut short there


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned columns; on a terminal too narrow for all, the last ones are left out and named.

    Parameters
    ----------
    rows
        Cells, of which any text may be hostile: it is shown as text.
    """
    from rich.cells import cell_len, set_cell_size
    from rich.console import Console

    console = Console()
    available = console.width if console.is_terminal else WIDE
    cells = [[plain(cell) for cell in row] for row in [heads, *rows]]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    fitting = len(heads)
    while fitting > 1 and sum(widths[:fitting]) + 2 * (fitting - 1) > available:
        fitting -= 1
    numeric = [all((row[column] or "0").replace(".", "").isdigit() for row in rows) for column in range(fitting)]
    lines = [plain(title)] if title else []
    for row in cells:
        pads = [" " * (width - cell_len(cell)) for cell, width in zip(row[:fitting], widths, strict=False)]
        filled = [pad + cell if right else cell + pad for cell, pad, right in zip(row, pads, numeric, strict=False)]
        line = "  ".join(filled).rstrip()
        lines.append(line if cell_len(line) <= available else f"{set_cell_size(line, available - 1)}…")
    lines += [f"(a wider terminal also shows: {', '.join(heads[fitting:])})"] if fitting < len(heads) else []
    return "\n".join(lines)
