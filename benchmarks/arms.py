"""Write the verdict and the table of the three arms into docs/ants_bees.md, from the records of examples/ants_bees.py.

Usage: python benchmarks/arms.py ants-bees docs/ants_bees.md
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for an interpreter that is safe from what lies beside a script

from marked import replaced

from fc7.classify import load_runs
from fc7.classify.reports.report import markdown

MARKS = "<!-- arms: written by benchmarks/arms.py -->", "<!-- end of arms -->"


def written(text, runs):
    """Return the document with what these runs say."""
    return replaced(text, MARKS, f"\n\n{markdown(runs).strip()}\n\n")


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
