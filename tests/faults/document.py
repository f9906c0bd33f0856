"""Write the table of docs/reliability.md from the figures of a run: ``document.py FIGURES.json DOCUMENT.md``."""

import json
import sys
from pathlib import Path

BEGIN, END = "<!-- figures: written by `make faults` -->\n", "<!-- end of figures -->\n"


def table(run):
    """Return the figures as a Markdown table."""
    rows = [(one["fault"], one["done"], one["found"]) for one in run["figures"]]
    lines = [("Fault", "What was done", "What was found"), ("---",) * 3, *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def document(text, run):
    """Return the document with the figures of a run in place of those that it had.

    Raises
    ------
    ValueError
        The run was not at full size, or the document has no place for the figures.
    """
    if not run["full"]:
        raise ValueError("These figures are of a small run; the document states those of `make faults`.")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The document lacks the lines {BEGIN!r} and {END!r}.")
    return f"{before}{BEGIN}\n{table(run)}\n{END}{after}"


if __name__ == "__main__":
    figures, path = map(Path, sys.argv[1:])
    new = document(path.read_text(encoding="utf-8"), json.loads(figures.read_text(encoding="utf-8")))
    path.write_text(new, encoding="utf-8")
