"""EfficientNet-Lite0 on ants against bees: the table and the sentence in docs/ants_bees.md are written by this.

    python benchmarks/lite.py hymenoptera_data docs/ants_bees.md

The protocol is that of ``fc7 compare``. The log losses of VGG16's heads are read from the document's first table.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for an interpreter that is safe from what lies beside a script

from marked import replaced

from fc7.classify import compare
from fc7.classify.reports.report import markdown
from fc7.extract import extract, load_backbone, read_manifest

BACKBONE, WEIGHTS = "timm:tf_efficientnet_lite0", "efficientnet-lite"
MARKS = "<!-- lite0: written by benchmarks/lite.py -->\n", "<!-- end of lite0 -->\n"
LEFT_OUT = ("fit + predict", "notes")  # of the table


def cells(table):
    """Return the lines of a Markdown table as lists of cells, without the line below the header."""
    header, _, *rows = [[cell.strip() for cell in line.strip().removeprefix("|").split("|")[:-1]] for line in table]
    return [header, *rows]


def losses(table):
    """Return the least and the largest log loss of heads that were fitted."""
    header, *rows = cells(table)
    place = header.index("log loss")  # the first is that on val
    found = sorted(row[place] for row in rows if not row[0].endswith("baseline"))
    return found[0], found[-1]


def written(text, runs):
    """Return the document with the table and the sentence of these runs, first that which was chosen."""
    table = [line for line in markdown(runs).splitlines() if line.startswith("|")]
    header, *rows = cells(table)
    kept = [place for place, name in enumerate(header) if name not in LEFT_OUT]
    lines = [[row[place] for place in kept] for row in (header, ["---"] * len(header), *rows)]
    new = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    before = text.partition(MARKS[0])[0]
    first = before[before.index("| run |") :].splitlines()
    vgg = [*first[:2], *(line for line in first if line.startswith("| vgg16 gap "))]
    (low, high), (below, above), metrics = losses(table), losses(vgg), runs[0].metrics
    sentence = (
        f"The head that train alone would choose, {runs[0].name.split()[-1]}, is right on {metrics['correct']} of "
        f"{metrics['n']}, the published VGG16 on 144.\nThe log loss of each head is {low} to {high} here, and "
        f"{below} to {above} on VGG16's [`gap`](glossary.md) above.\n"
    )
    return replaced(text, MARKS, f"\n{new}\n{sentence}\n")


def main():
    """Compare all heads, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("document", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        backbone = load_backbone(BACKBONE, weights=WEIGHTS, cache=folder)
        table = extract(read_manifest(arguments.data), backbone, cache=folder)
        runs = list(compare(table, images=arguments.data, learning_curve=False))
    arguments.document.write_text(written(arguments.document.read_text("utf-8"), runs), "utf-8")


if __name__ == "__main__":
    main()
