"""Rows of the cache, read as a file is written: nothing of a data set is in memory but its packed manifest and keys."""

from collections.abc import Iterable

import numpy as np

from ...cache.embeddings import VectorTable
from ...cache.keys import Keys, Table
from ...cache.recipe import Recipe
from ...cache.store import StoredVectors
from ..manifest.hashing import Hashed


class CachedRows(VectorTable):
    """The images of a data set under one recipe, in the order of the manifest; rejected images are left out.

    Parameters
    ----------
    hashed
        The data set, and the cache.
    recipe
        Of view 0.
    weights_source
        Where the weights came from.
    partly
        Leave out whatever has no row; else all images that were not rejected must have one.

    Raises
    ------
    CacheError
        Some images have neither a row nor a recorded rejection.
    """

    def __init__(self, hashed: Hashed, recipe: Recipe, *, weights_source: str = "", partly: bool = False) -> None:
        store, images = hashed.store(recipe), hashed.manifest.images
        if partly:
            there = store.places(hashed.keys) >= 0
        else:
            there = Table(Keys.of(store.rejected)).find(hashed.keys) < 0
            there[list(hashed.unreadable)] = False
        keys = hashed.keys.where(there)
        self._rows = range(len(keys)) if len(keys) == len(images) else np.flatnonzero(there)
        self._columns = {"path": images.paths, "label": images.labels, "split": images.splits, "group": images.groups}
        self.sha256, self.vectors = keys.matrix, StoredVectors(store, keys, 0)
        self.recipe, self.weights_source = recipe, weights_source
        self.classes, self.name = hashed.manifest.classes, hashed.manifest.name
        self.seconds = store.seconds(hashed.images.where(store.places(hashed.images) >= 0))

    def column(self, column: str, rows: slice) -> Iterable[str]:
        """Return some rows of a column of texts."""
        return map(self._columns[column].__getitem__, self._rows[rows])
