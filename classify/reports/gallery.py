"""The gallery of a report: predicted against true, the most confident mistakes first, with thumbnails."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..pages.text import relative
from ..pages.thumbnails import BYTES, embedded
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


def tiles(run: Run, thumbnails: Path | None, most: int = BYTES) -> list[Tile]:
    """Return at most 400 tiles: wrong ones, the most confident first, then right ones, the least confident first.

    There are none of an old record, which does not say what was predicted.

    Parameters
    ----------
    thumbnails
        A folder of ``<key>.jpg``. An image without a readable thumbnail is shown by its file name.
    most
        Bytes of thumbnails to embed.
    """
    if run.old:
        return []
    right, known = run.right, run.confidence is not None
    confidence = np.zeros(len(right)) if run.confidence is None else run.confidence
    order = np.lexsort((np.where(right, confidence, -confidence), right))[:TILES].tolist()
    classes, columns = run.data["classes"], run.predictions
    sources = embedded(thumbnails, [columns["key"][place] for place in order], most)
    return [
        Tile(
            path=relative(columns["path"][place]),
            true=classes[columns["label"][place]],
            predicted=classes[columns["predicted"][place]],
            confidence=float(confidence[place]) if known else None,
            right=bool(right[place]),
            source=sources[columns["key"][place]],
        )
        for place in order
    ]
