"""Joint embeddings: those of several backbones or layers, side by side."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cache.embeddings import Embeddings
from ...cache.keys import Table
from ...cache.recipe import AND, ForeignRecipe, JointRecipe
from ...cache.store import StoredVectors
from ...errors import DataError, UsageError
from ...extract.text import few
from ..arrays import unit

logger = logging.getLogger(__name__)


def in_common(tables: Sequence[Embeddings]) -> list[Embeddings]:
    """Return embeddings of one data set with the images only that all of them have; what is left out is said.

    A backbone may have rejected an image whose embedding cannot be stored. Runs are compared on the same images.

    Raises
    ------
    DataError
        There is no such image.
    """
    first = tables[0].sha256
    if all(np.array_equal(table.sha256, first) for table in tables):
        return list(tables)
    known = [Table(table.keys) for table in tables]
    kept = [np.all([other.find(table.keys) >= 0 for other in known], axis=0) for table in tables]
    lacking = [table for table in tables if len(table) < max(map(len, tables))]
    names = few([f"{table.recipe.backbone} {table.recipe.layer}" for table in lacking])
    if not kept[0].any():
        raise DataError(f"No image has embeddings of all backbones: see what {names} rejected, or leave it out.")
    logger.warning("fc7: images that %s rejected are left out of all, so that runs are compared on the same: %s left",
                   names, f"{kept[0].sum():,}")  # fmt: skip
    return [table[np.flatnonzero(rows)] for table, rows in zip(tables, kept, strict=True)]


def join(tables: Sequence[Embeddings]) -> Embeddings:
    """Return one table whose rows are those of several, each of unit length, side by side.

    Unit length keeps one table from outweighing another by its scale; the rows are float32.

    Raises
    ------
    DataError
        The tables are not of the same images in the same order, or differ in their number of views.
    UsageError
        Some tables stay on disk, or were made elsewhere.
    """
    first = tables[0]
    for table in tables[1:]:
        if not np.array_equal(table.sha256, first.sha256) or len(table.views) != len(first.views):
            raise DataError(
                f"Only embeddings of the same images can be put side by side: {first.recipe.backbone} has {len(first)} "
                f"images in {1 + len(first.views)} views, {table.recipe.backbone} {len(table)} in "
                f"{1 + len(table.views)}."
            )
    if any(isinstance(table.vectors, StoredVectors) for table in tables):
        raise UsageError("Embeddings that stay on disk cannot be put side by side. Raise --max-ram.")
    if any(isinstance(table.recipe, ForeignRecipe) for table in tables):
        raise UsageError("Vectors that were made elsewhere cannot be put side by side. Write them as one matrix.")
    for source in (table.weights_source for table in tables):
        if AND in source:
            raise UsageError(f"The weights {source} have {AND!r} in their name; rename the file.")
    views = zip(*(table.views for table in tables), strict=True)
    return replace(
        first,
        vectors=side_by_side([table.vectors[:] for table in tables]),
        views=tuple(side_by_side([vectors[:] for vectors in view]) for view in views),
        recipe=JointRecipe(tuple(recipe for table in tables for recipe in table.recipe.parts)),
        weights_source=AND.join(table.weights_source for table in tables),
        seconds=sum(table.seconds for table in tables),
    )


def side_by_side(rows: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return tables side by side, ``(n, d1 + d2 + ...)`` float32, rows of unit length; a single one as it is."""
    if len(rows) == 1:
        return rows[0]
    return np.hstack([unit(table.astype(np.float32)) for table in rows])
