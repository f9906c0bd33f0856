"""Write the verdict and the table of the three arms into docs/ants_bees.md, from the records of examples/ants_bees.py.

Usage: python benchmarks/arms.py ants-bees docs/ants_bees.md
"""

import argparse
from pathlib import Path

from fc7.classify import load_runs
from fc7.classify.reports.report import markdown

BEGIN, END = "<!-- arms: written by benchmarks/arms.py -->", "<!-- end of arms -->"


def written(text, runs):
    """Return the document with what these runs say."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"The document lacks the lines {BEGIN!r} and {END!r}.")
    return f"{before}{BEGIN}\n\n{markdown(runs).strip()}\n\n{END}{after}"


def main():
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("document", type=Path)
    arguments = parser.parse_args()
    text = arguments.document.read_text(encoding="utf-8")
    arguments.document.write_text(written(text, load_runs(arguments.records)), encoding="utf-8")


if __name__ == "__main__":
    main()
