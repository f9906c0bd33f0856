"""Splits: which rows are fitted on and which are predicted, so that no image is ever on both sides."""

import logging
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..cache.embeddings import Embeddings
from ..errors import DataError, LeakageError

logger = logging.getLogger(__name__)

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Protocol:
    """How a data set is fitted and evaluated.

    Attributes
    ----------
    evaluated
        ``val``, ``test`` or ``5-fold cross-validation``.
    pairs
        ``(fitted rows, predicted rows)``: one pair for a given split, one per fold otherwise. Every evaluated row is
        predicted exactly once.
    folds
        Folds in which hyper-parameters are chosen, inside the fitted rows.
    """

    evaluated: str
    pairs: tuple[tuple[Rows, Rows], ...]
    folds: int
    random_state: int

    @property
    def rows(self) -> Rows:
        """All predicted rows, in order."""
        return np.sort(np.concatenate([predicted for _, predicted in self.pairs]))


def protocol(
    embeddings: Embeddings,
    *,
    on: str | None = None,
    folds: int | None = None,
    random_state: int = 0,
    allow_leakage: bool = False,
) -> Protocol:
    """Decide what is fitted and what is predicted.

    Parameters
    ----------
    on
        The split to evaluate on; default ``val``, else ``test``. A data set without splits is cross-validated.
    folds
        Default 5, fewer where the smallest class has fewer images.

    Raises
    ------
    LeakageError
        An image is on both sides of the split.
    DataError
        A class has too few images for the folds, one image has two labels, or there is nothing to evaluate on.
    """
    _refuse_two_labels(embeddings)
    present = set(embeddings.split) - {""}
    if not present:
        if on:
            raise DataError(f"There is no split {on!r}: the data set has no splits, so it is cross-validated.")
        everything = np.arange(len(embeddings))
        folds = _affordable(embeddings, everything, folds)
        pairs = tuple(cut(embeddings, everything, folds, random_state))
        return Protocol(f"{folds}-fold cross-validation", pairs, folds, random_state)
    on = on or ("val" if "val" in present else "test")
    if on not in present - {"train"} or "train" not in present:
        raise DataError(f"Cannot fit on train and evaluate on {on!r}: the data set has {sorted(present)}.")
    fitted, predicted = np.flatnonzero(embeddings.split == "train"), np.flatnonzero(embeddings.split == on)
    _refuse_leakage(embeddings, fitted, predicted, allow_leakage)
    return Protocol(on, ((fitted, predicted),), _affordable(embeddings, fitted, folds), random_state)


def cut(embeddings: Embeddings, rows: Rows, folds: int, random_state: int) -> list[tuple[Rows, Rows]]:
    """Return stratified folds of some rows; copies of an image and images of a group stay together."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    groups = _groups(embeddings, rows)
    y = embeddings.y[rows]
    if len(set(groups)) == len(rows):
        pairs = StratifiedKFold(folds, shuffle=True, random_state=random_state).split(rows, y)
    else:
        pairs = StratifiedGroupKFold(folds, shuffle=True, random_state=random_state).split(rows, y, groups)
    return [(rows[fitted], rows[held]) for fitted, held in pairs]


def _groups(embeddings: Embeddings, rows: Rows) -> Rows:
    """Return a group number per row: rows are together if they share a key or a named group, directly or by others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    keys = np.unique(embeddings.sha256[rows], axis=0, return_inverse=True)[1].reshape(-1)
    names = embeddings.group[rows]
    named = np.unique(names, return_inverse=True)[1] + keys.max(initial=0) + 1
    links = np.where(names == "", keys, named)
    size = int(links.max(initial=0)) + 1
    graph = coo_array((np.ones(len(rows)), (keys, links)), shape=(size, size))
    component = connected_components(graph, directed=False)[1]
    return np.asarray(component[keys], dtype=np.intp)


def _affordable(embeddings: Embeddings, rows: Rows, folds: int | None) -> int:
    counts = Counter(dict.fromkeys(embeddings.classes, 0))
    counts.update(str(label) for label in embeddings.labels[rows])
    name, smallest = min(counts.items(), key=lambda item: item[1])
    if smallest < max(folds or 2, 2):
        raise DataError(
            f"Class {name!r} has {smallest} images to fit on, too few for {folds or 2} folds. All classes: "
            f"{dict(sorted(counts.items()))}. Add images, or lower --folds."
        )
    return folds or min(5, smallest)


def _refuse_two_labels(embeddings: Embeddings) -> None:
    first: dict[bytes, int] = {}
    for row, key in enumerate(embeddings.sha256):
        other = first.setdefault(key.tobytes(), row)
        if embeddings.labels[other] != embeddings.labels[row]:
            raise DataError(
                f"One image has two labels: {embeddings.paths[other]} is {embeddings.labels[other]}, its copy "
                f"{embeddings.paths[row]} is {embeddings.labels[row]}. Remove one of them."
            )


def _refuse_leakage(embeddings: Embeddings, fitted: Rows, predicted: Rows, allowed: bool) -> None:
    seen = {embeddings.sha256[row].tobytes(): row for row in fitted}
    pairs = [(seen[key], row) for row in predicted if (key := embeddings.sha256[row].tobytes()) in seen]
    if pairs:
        message = (
            f"{len(pairs)} images are on both sides of the split, the first is {embeddings.paths[pairs[0][0]]} = "
            f"{embeddings.paths[pairs[0][1]]}. Remove one side"
        )
        if not allowed:
            raise LeakageError(f"{message}, or accept an optimistic figure with --allow-leakage.")
        logger.warning("%s: the figures below are optimistic.", message)
