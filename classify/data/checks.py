"""Checks of embeddings before anything is fitted on them."""

import logging
from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

import numpy as np

from ...cache.embeddings import Embeddings, Rows, chunks
from ...cache.tables import counted
from ...errors import DataError
from ...extract.manifest.manifest import Manifest
from ..arrays import Positions

logger = logging.getLogger(__name__)

AnyRows = TypeVar("AnyRows", bound=Rows)


def labelled(rows: AnyRows) -> AnyRows:
    """Return the rows that have a label; what is left out is said."""
    present = np.flatnonzero(rows.labels != "")
    if len(present) == len(rows):
        return rows
    say_unlabelled(len(rows) - len(present), len(rows))
    return rows[present]


def labelled_images(manifest: Manifest) -> tuple[Manifest, int]:
    """Return the images that have a label, and the number of those that have none; refuse fewer than two classes."""
    if manifest.unclear:
        raise DataError(manifest.unclear)
    require_classes(manifest.images.labels)
    say_missing(manifest.images.labels, manifest.images.groups)
    with_label = manifest.labelled()
    unlabelled = len(manifest) - len(with_label)
    say_unlabelled(unlabelled, len(manifest))
    return with_label, unlabelled


def say_unlabelled(number: int, images: int) -> None:
    """Say how many images have no label, if any."""
    if number:
        of = f"{number:,} of {images:,}"
        logger.info("fc7: %s images have no label. They are neither fitted nor evaluated.", of)


def say_missing(labels: Iterable[str], groups: Iterable[str]) -> None:
    """Warn of what programs write where there is nothing: it would be a class, or the group of images of no group."""
    for what, texts, nothing in ("class", labels, {"nan", "<na>"}), ("group", groups, {"nan", "<na>", "none", "null"}):
        for text, number in Counter(text for text in texts if text.lower() in nothing).items():
            images = counted(number, "image is", "images are")
            logger.warning("fc7: %s of the %s %s. If that stands for none, leave the cell empty.", images, what, text)


def require_classes(labels: Iterable[str], cure: str = "Label them: fc7 review DATA") -> None:
    """Refuse labels of fewer than two classes; raises DataError with the command that gives labels."""
    every = list(labels)
    classes = set(every) - {""}
    if len(classes) < 2:
        having = "all that have a label are" if "" in every else "all are"
        lack = f"{having} of one class, {min(classes)!r}" if classes else "none has a label"
        found = f"of {counted(len(every), 'image')} {lack}" if every else "no image has a label"
        raise DataError(f"A head is fitted on two classes; {found}. {cure}")


def require_finite(embeddings: Embeddings, rows: Positions) -> None:
    """Refuse rows with numbers that are not finite; raises DataError with their number and the path of the first."""
    for vectors in (embeddings.vectors, *embeddings.views):
        bad = [chunk[~np.isfinite(vectors[chunk]).all(axis=1)] for chunk in chunks(vectors, rows)]
        bad_rows = np.concatenate(bad)
        if len(bad_rows):
            raise DataError(
                f"Numbers that are not finite are in {len(bad_rows)} of {len(rows)} embeddings; the first is that of "
                f"{embeddings.paths[bad_rows[0]]}. Extract them again, or leave these images out."
            )
