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
    """One image: what it is, what it was taken for, how surely; `source` is a ``data:`` URI or empty."""

    path: str
    true: str
    predicted: str
    confidence: float
    right: bool
    source: str


def tiles(run: Run, thumbnails: Path | None) -> tuple[list[Tile], list[Tile]]:
    """Return at most 400 tiles: the wrong ones, the surest first, and the right ones, the least sure first.

    Parameters
    ----------
    thumbnails
        A folder of ``<key>.jpg``. What is missing there, or is no image, is shown by its file name.
    """
    probability = np.asarray(run.predictions["probability"], dtype=np.float64)
    confidence, predicted = probability.max(axis=1), probability.argmax(axis=1)
    order = np.lexsort((np.where(run.right, confidence, -confidence), run.right))[:TILES]
    classes, columns, spent = run.data["classes"], run.predictions, 0
    made: tuple[list[Tile], list[Tile]] = [], []
    for place in (int(place) for place in order):
        source = thumbnail(thumbnails, columns["key"][place]) if thumbnails and spent < BYTES else ""
        spent += len(source)
        right = bool(run.right[place])
        true, taken = classes[columns["label"][place]], classes[predicted[place]]
        made[right].append(Tile(relative(columns["path"][place]), true, taken, float(confidence[place]), right, source))
    return made
