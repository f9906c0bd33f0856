"""The terminal: tables and text as a person sees them, whatever file and class names hold."""

import io
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


WIDE = 10_000  # columns of a file or a pipe: nothing is cut short there


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned columns; on a terminal too narrow for all, the last ones are left out and named.

    Parameters
    ----------
    rows
        Cells, of which any text may be hostile: it is shown as text.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    available = console.width if console.is_terminal else WIDE
    widths = [max(len(plain(row[column])) for row in [heads, *rows]) for column in range(len(heads))]
    fitting = len(heads)
    while fitting > 1 and sum(widths[:fitting]) + 2 * (fitting - 1) > available:
        fitting -= 1
    grid = Table(box=None, pad_edge=False)
    for column, head in enumerate(heads[:fitting]):
        numeric = all((row[column] or "0").replace(".", "").isdigit() for row in rows)
        grid.add_column(head, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(plain(cell)) for cell in row[:fitting]))
    buffer = io.StringIO()
    Console(file=buffer, width=available, force_terminal=False).print(grid)
    lines = [plain(title)] if title else []
    lines += [line.rstrip() for line in buffer.getvalue().splitlines()]
    lines += [f"(a wider terminal also shows: {', '.join(heads[fitting:])})"] if fitting < len(heads) else []
    return "\n".join(lines)
