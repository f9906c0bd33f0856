"""The images of a report: predicted against true, the most confident mistakes first; and all of them on a map."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Floats, Positions
from ..maps.image_map import ImageMap
from ..pages.gallery import Gallery, Shown, Tile
from ..pages.pictures import BYTES, Pictures, addresses
from ..pages.point_map import PointMap
from ..pages.text import confident
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
    right, known, confidence = run.right, run.confidence is not None, _confidence(run)
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
        for place in order(run).tolist()
    ]
    sources = Pictures(*addresses(thumbnails, [tile.images[0].key for tile in tiles], page, most))
    return Gallery("Predicted against true", tiles, sources, "is", {"wrong": "wrong", "right": "right"})


def order(run: Run) -> Positions:
    """Return the positions of the predictions in the order of a gallery."""
    confidence = _confidence(run)
    return np.lexsort((np.where(run.right, confidence, -confidence), run.right))


def _confidence(run: Run) -> Floats:
    return np.zeros(len(run.right)) if run.confidence is None else run.confidence


def point_map(group: Mapping[str, Any], folder: Path | None, thumbnails: Path | None, page: Path) -> PointMap | None:
    """Return the map of the embeddings of the chosen run, or of the best one that has a map; None if there is none.

    Parameters
    ----------
    group
        What the page says of runs on the same images.
    folder
        Of records.
    """
    chosen: Run = group["chosen"]
    charts = (
        ImageMap.load(folder, str(run.recipe.get("id", "")), str(run.data["fingerprint"]))
        for run in (chosen, *group["runs"])
        if folder and not chosen.old
    )
    chart = next(filter(None, charts), None)
    if chart is None:
        return None
    classes, columns, known = chosen.data["classes"], chosen.predictions, group["gallery"].sources.small
    predicted = dict(zip(columns["key"], (classes[code] for code in columns["predicted"]), strict=True))
    keys = [key for key in chart.shown if not known.get(key)]
    return chart.drawn(
        predicted,
        before="predicted",
        ringed=f"wrong by {group['name']}",
        title="The fitted images nearest to it, with the cosine of their embeddings",
        pictures=Pictures(*addresses(thumbnails, keys, page, BYTES // 2)),
    )
