"""The page of predictions: every image with its answer, and how many there are of each."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence

from ...cache.output_file import OutputFile
from ...cache.tables import counted
from ...extract.progress import Progress, silent
from ...extract.text import few
from ..pages.gallery import Gallery, Shown, Tile
from ..pages.page import render, write
from ..pages.pictures import pictures
from ..pages.text import confident
from .prediction import Prediction, counts

MARKS = {"answered": "answered", "unsure": "not sure", "unlike": "unlike the fitted ones", "rejected": "rejected"}
_CLASSES = 30  # in the table
_NEAREST = 3  # neighbours that a tile names


def write_predictions(
    predictions: Sequence[Prediction], output: OutputFile, read: Iterable[str] = (), *, progress: Progress = silent
) -> None:
    """Write one page, with pictures of the images that are at hand.

    Parameters
    ----------
    read
        The files and folders that were predicted, see :func:`fc7.classify.pages.pictures.pictures`.

    Raises
    ------
    DataError, MissingExtra
        See :mod:`fc7.classify.pages.page`.
    """
    tiles = [_tile(prediction) for prediction in predictions]
    paths = {_key(prediction.path): prediction.path for prediction in predictions if not prediction.rejected}
    with pictures(output, paths, read, checked=False, progress=progress) as sources:
        gallery = Gallery("Predictions", tiles, sources, marks=MARKS)
        number = counts(predictions)
        answered = Counter(prediction.label for prediction in predictions if prediction.sure and prediction.label)
        others = Counter(prediction.label for prediction in predictions if not prediction.sure and prediction.label)
        rows = [(name, answered[name], others[name]) for name, _ in (answered + others).most_common()]
        words = ("answered", number["answered"]), ("not sure", number["not_sure"]), ("rejected", number["rejected"])
        values = {
            "headline": f"{counted(number['files'], 'image')}: "
            + ", ".join(f"{count:,} {word}" for word, count in words if count or word == "answered"),
            "rows": rows[:_CLASSES],
            "left_out": len(rows) - len(rows[:_CLASSES]),
            "unlike": number["unlike"],
            "gallery": gallery,
            "records": number,
        }
        write(output, render("bundles/predictions.html.jinja", values, gallery))


def _key(path: str) -> str:
    """Return a name for the picture of a path, which may be any bytes."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _tile(prediction: Prediction) -> Tile:
    if prediction.rejected:
        return Tile((Shown(prediction.path),), "rejected", line=prediction.rejected)
    mark = "unsure" if not prediction.sure else "unlike" if prediction.unlike else "answered"
    lines = ["not sure"] if not prediction.sure else []
    lines += ["unlike the fitted ones"] if prediction.unlike else []
    lines += [f"one of {few(prediction.classes)}"] if prediction.classes and len(prediction.classes) > 1 else []
    near = [f"{image.label} {image.score:.2f}" for image in prediction.neighbours or []]
    lines += [f"nearest: {few(near, _NEAREST)}"] if near else []
    shown = Shown(prediction.path, prediction.label, confident(prediction.probability), _key(prediction.path))
    return Tile((shown,), mark, line="; ".join(lines))
