"""The gallery of a report: predicted against true, the most confident mistakes first, with thumbnails."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..pages.text import relative
from ..pages.thumbnails import BYTES, thumbnail
from ..records.runs import Run

TILES = 400


@dataclass(frozen=True)
class Tile:
    """One image with its true and its predicted class.

    `source` is a ``data:`` URI or empty; `confidence` is None where there are no probabilities.
    """

    path: str
    true: str
    predicted: str
    confidence: float | None
    right: bool
    source: str


class Gallery(NamedTuple):
    """Images that a run got wrong and right, and whether any has a picture."""

    wrong: list[Tile]
    right: list[Tile]
    pictures: bool


def tiles(run: Run, thumbnails: Path | None, most: int = BYTES) -> Gallery:
    """Return at most 400 tiles: wrong ones, the most confident first, and right ones, the least confident first.

    There are none of an old record, which does not say what was predicted.

    Parameters
    ----------
    thumbnails
        A folder of ``<key>.jpg``. An image without a readable thumbnail is shown by its file name.
    most
        Bytes of thumbnails to embed.
    """
    if run.old:
        return Gallery([], [], pictures=False)
    known = run.confidence is not None
    confidence = run.confidence if run.confidence is not None else np.zeros(len(run.right))
    order = np.lexsort((np.where(run.right, confidence, -confidence), run.right))[:TILES]
    classes, columns, embedded = run.data["classes"], run.predictions, 0
    wrong_and_right: tuple[list[Tile], list[Tile]] = [], []
    for place in (int(place) for place in order):
        source = thumbnail(thumbnails, columns["key"][place]) if thumbnails and embedded < most else ""
        embedded += len(source)
        right = bool(run.right[place])
        true, taken = (classes[columns[name][place]] for name in ("label", "predicted"))
        sure = float(confidence[place]) if known else None
        tile = Tile(relative(columns["path"][place]), true, taken, sure, right=right, source=source)
        wrong_and_right[right].append(tile)
    return Gallery(*wrong_and_right, pictures=embedded > 0)
