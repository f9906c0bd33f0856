"""Galleries: tiles of images as data in a page, of which its script draws a window at a time.

The first tiles are markup, for who reads without a script or prints. The others are rows of numbers and names, so that
a page of 100,000 images has as few elements as one of a hundred.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .pictures import Pictures
from .text import relative, shown
from .thumbnails import LARGE

FIRST = 60  # tiles in the markup


@dataclass(frozen=True)
class Shown:
    """One image: its path, its class if it has one, a number that is said after it, and the key of its picture."""

    path: str
    label: str = ""
    note: str = ""
    key: str = ""


@dataclass(frozen=True)
class Tile:
    """What is seen of one image, or of several side by side."""

    images: tuple[Shown, ...]
    mark: str = ""  # the style of the tile, such as `wrong`; by it tiles are filtered
    other: str = ""  # another class of the first image, said after the words of the gallery
    line: str = ""  # what else is to be said

    @property
    def paths(self) -> str:
        """The paths of the images, in one line."""
        return " = ".join(relative(image.path) for image in self.images)


@dataclass(frozen=True)
class Gallery:
    """Tiles in their order, with what a template needs."""

    name: str  # what is shown, for screen readers
    tiles: Sequence[Tile]
    sources: Pictures = field(default_factory=Pictures)  # the addresses of pictures by key
    words: str = ""  # what stands before the other class of a tile, such as `is`
    # What the marks of tiles are called in a list to choose from.
    marks: Mapping[str, str] = field(default_factory=dict)
    layout: str = ""  # `pairs` of images, or `rows` of an image and others; empty where each tile is of one image

    @property
    def first(self) -> Sequence[Tile]:
        """The tiles in the markup."""
        return self.tiles[:FIRST]

    @property
    def pictures(self) -> bool:
        """Whether there is any picture."""
        return bool(self.sources.small)

    @property
    def beside(self) -> str:
        """The address of the folder with the pictures that are not in the page; empty if all are."""
        return self.sources.beside

    def source(self, image: Shown) -> str:
        """Return the address of a thumbnail; empty if there is none."""
        return self.sources.small.get(image.key, "")

    def data(self) -> dict[str, Any]:
        """Return what the script draws: words once, and a row for each tile.

        A row is its mark, other class and line, and of each image its folder, name, label, note, thumbnail and larger
        picture: what is often said as numbers of words. Thumbnails of the first tiles are in the markup, and not
        repeated; of files there are names only.
        """
        numbers: dict[str, int] = {}

        def word(text: str) -> int:
            return numbers.setdefault(shown(text), len(numbers))

        rows = []
        for place, tile in enumerate(self.tiles):
            row: list[int | str] = [word(tile.mark), word(tile.other), word(tile.line)]
            for image in tile.images:
                folder, slash, name = relative(image.path).rpartition("/")
                sources = self.source(image) if place >= FIRST else "", self.sources.large.get(image.key, "")
                small, large = (source if source[:5] == "data:" else source.rpartition("/")[2] for source in sources)
                row += [word(folder + slash), shown(name), word(image.label), word(image.note), small, large]
            rows.append(row)
        count = Counter(tile.mark for tile in self.tiles)
        marks = [(mark, f"{name}: {count[mark]}") for mark, name in self.marks.items() if count[mark]]
        return {
            "words": list(numbers),
            "rows": rows,
            "before": self.words,
            "marks": marks,
            "beside": f"{self.beside}/",
            "large": f"{self.beside}/{LARGE}/",
            "pictures": self.pictures,
        }
