"""What each extra brings and weighs, written into docs/install.md; needs an environment with `fc7[dev]`.

    python benchmarks/extras.py docs/install.md

The weight of an extra is the sum of the installed files of all packages that it asks for, directly or not, and that fc7
without extras does not have.
"""

import importlib.metadata
import re
import sys
from pathlib import Path

from marked import replaced
from packaging.requirements import Requirement

from fc7.extract.commands.doctor import EXTRAS

MARKS = "<!-- benchmarks/extras.py begins -->\n", "<!-- benchmarks/extras.py ends -->\n"


def needed(name, extras=frozenset([""]), found=None):
    """Return the installed packages that one needs with some of its extras, itself included; None for those missing."""
    found, key = {} if found is None else found, re.sub(r"[-_.]+", "-", name).lower()
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        found[key] = None
        return found
    if extras <= found.get(key, (None, set()))[1]:
        return found
    found[key] = distribution, extras | found.get(key, (None, set()))[1]
    for line in distribution.requires or []:
        requirement = Requirement(line)
        if any(requirement.marker is None or requirement.marker.evaluate({"extra": extra}) for extra in extras):
            needed(requirement.name, frozenset(requirement.extras) | {""}, found)
    return found


def megabytes(distribution):
    """Return what the files of an installed package take."""
    paths = (Path(str(distribution.locate_file(file))) for file in distribution.files or [])
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def rounded(size):
    """Return a size as it is written: no one needs to know more."""
    return f"{size:.0f} MB" if size >= 1 else "under 1 MB" if size else "nothing"


def table():
    """Return the table, and a sentence about fc7 without extras."""
    core, torch = needed("fc7"), needed("torch") | needed("torchvision")
    lines = ["| Extra | Brings | Packages | Weighs |", "|---|---|---|---|"]
    for extra, purpose in sorted(EXTRAS.items()):
        new = {name: found for name, found in needed("fc7", frozenset(["", extra])).items() if name not in core}
        weight = "not measured" if None in new.values() else rounded(sum(megabytes(found[0]) for found in new.values()))
        lines.append(f"| `fc7[{extra}]` | {purpose} | {len(new)} | {weight} |")
    own = {name: found for name, found in core.items() if found and name not in torch and name != "fc7"}
    size = rounded(sum(megabytes(found[0]) for found in own.values()))
    return "\n".join(lines), f"Besides torch, torchvision and what these need, fc7 needs {len(own)} packages of {size}."


def main():
    """Write the table into the document."""
    path = Path(sys.argv[1])
    rows, sentence = table()
    path.write_text(replaced(path.read_text("utf-8"), MARKS, f"\n{sentence}\n\n{rows}\n\n"), "utf-8")


if __name__ == "__main__":
    main()
