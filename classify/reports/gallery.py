"""The gallery of a report: predicted against true, the most confident mistakes first, with thumbnails."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..pages.text import relative
from ..pages.thumbnails import BYTES, thumbnail
from ..records.runs import Run

TILES = 400


@dataclass(frozen=True)
class Tile:
    """One image with its true and its predicted class; `source` is a ``data:`` URI or empty."""

    path: str
    true: str
    predicted: str
    confidence: float
    right: bool
    source: str


def tiles(run: Run, thumbnails: Path | None) -> tuple[list[Tile], list[Tile]]:
    """Return at most 400 tiles: wrong ones, the most confident first, and right ones, the least confident first.

    Parameters
    ----------
    thumbnails
        A folder of ``<key>.jpg``. An image without a readable thumbnail is shown by its file name.
    """
    probability = np.asarray(run.predictions["probability"], dtype=np.float64)
    confidence, predicted = probability.max(axis=1), probability.argmax(axis=1)
    order = np.lexsort((np.where(run.right, confidence, -confidence), run.right))[:TILES]
    classes, columns, embedded = run.data["classes"], run.predictions, 0
    wrong_and_right: tuple[list[Tile], list[Tile]] = [], []
    for place in (int(place) for place in order):
        source = thumbnail(thumbnails, columns["key"][place]) if thumbnails and embedded < BYTES else ""
        embedded += len(source)
        right = bool(run.right[place])
        true, taken = classes[columns["label"][place]], classes[predicted[place]]
        tile = Tile(relative(columns["path"][place]), true, taken, float(confidence[place]), right=right, source=source)
        wrong_and_right[right].append(tile)
    return wrong_and_right
