"""A map of images in a page: a point for each, its label, and the images nearest to those that can be opened."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .pictures import Pictures
from .text import relative, shown

MOST = 20_000  # points that a browser moves without a stutter
NONE = 2**16 - 1  # the number of an image without a label


@dataclass(frozen=True)
class Near:
    """An image, its label, and the images nearest to it, each a path, a label and a cosine."""

    path: str
    label: str
    words: str
    nearest: Sequence[tuple[str, str, float]]


@dataclass(frozen=True, eq=False)
class PointMap:
    """Points for images, as what the script of a page draws."""

    points: npt.NDArray[np.floating[Any]]  # `(n, 2)`, finite
    # Of each image; a label may be empty.
    paths: Sequence[str]
    labels: Sequence[str]
    others: Sequence[str]  # a class that speaks against the label, for a ring; empty where there is none
    words: str = ""  # what the points are, for people
    before: str = ""  # what stands before the other class, such as `predicted`
    ringed: str = ""  # what a ring says
    near: Sequence[Near] = ()  # what is shown beside images that are opened, under a title
    title: str = ""
    pictures: Pictures = field(default_factory=Pictures)  # addresses of pictures by path

    @property
    def beside(self) -> str:
        """The address of the folder with the pictures that are not in the page; empty if all are."""
        return self.pictures.beside

    def data(self) -> dict[str, Any]:
        """Return plain values: numbers as base64 of little-endian uint16, x and y in the same scale."""
        classes = sorted({*self.labels, *self.others} - {""})
        numbers = {name: min(number, NONE - 1) for number, name in enumerate(classes)} | {"": NONE}
        low = self.points.min(axis=0, initial=np.inf)
        span = float((self.points - low).max(initial=0)) or 1.0
        x, y = ((self.points - low) / span * NONE).T
        return {
            "x": _packed(x),
            "y": _packed(y),
            "label": _packed([numbers[label] for label in self.labels]),
            "other": _packed([numbers[other] for other in self.others]),
            "classes": [shown(name) for name in classes],
            "paths": [_path(path) for path in self.paths],
            "before": self.before,
            "title": self.title,
            "near": [
                (
                    _path(one.path),
                    shown(one.label),
                    shown(one.words),
                    [(_path(path), shown(label), round(cosine, 3)) for path, label, cosine in one.nearest],
                )
                for one in self.near
            ],
            "pictures": {_path(path): source for path, source in self.pictures.small.items()},
            "large": {_path(path): source for path, source in self.pictures.large.items()},
        }


def _path(path: str) -> str:
    return shown(relative(path))


def _packed(numbers: npt.ArrayLike) -> str:
    return base64.b64encode(np.asarray(np.rint(numbers), "<u2").tobytes()).decode("ascii")
