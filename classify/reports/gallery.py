"""The gallery of a report: predicted against true, the most confident mistakes first, with thumbnails."""

from pathlib import Path

import numpy as np

from ..pages.gallery import Gallery, Shown, Tile
from ..pages.text import confident
from ..pages.thumbnails import BYTES, addresses
from ..records.runs import Run


def gallery(run: Run, thumbnails: Path | None, page: Path, most: int = BYTES) -> Gallery | None:
    """Return the evaluated images: wrong ones, the most confident first, then right ones, the least confident first.

    None of an old record, which does not say what was predicted.

    Parameters
    ----------
    thumbnails
        A folder of ``<key>.jpg``. An image without a readable thumbnail is shown by its file name.
    most
        Bytes of thumbnails to embed.
    """
    if run.old:
        return None
    right, known = run.right, run.confidence is not None
    confidence = np.zeros(len(right)) if run.confidence is None else run.confidence
    order = np.lexsort((np.where(right, confidence, -confidence), right)).tolist()
    classes, columns = run.data["classes"], run.predictions
    tiles = [
        Tile(
            (
                Shown(
                    columns["path"][place],
                    classes[columns["predicted"][place]],
                    confident(float(confidence[place])) if known else "",
                    columns["key"][place],
                ),
            ),
            mark="right" if right[place] else "wrong",
            other="" if right[place] else classes[columns["label"][place]],
        )
        for place in order
    ]
    sources = addresses(thumbnails, [tile.images[0].key for tile in tiles], page, most)
    return Gallery("Predicted against true", tiles, sources, "is", {"wrong": "wrong", "right": "right"})
