"""The nearest-neighbours head: brute force in float64, with a grid of neighbour counts and weights from one search."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Positions
from ..data.splits import Fold
from ..solvers.class_sums import Block
from ..solvers.eigenbasis import Eigenbasis
from .base import Folds, FoldScores, GridHead, HeldScores, exported
from .calibration import from_probability

ASKED = 4096  # rows whose neighbours are searched at once
CLOSE = 1e-8  # squared distances below this share of the squared lengths are computed from differences
SPARE = 8  # more near rows than are asked for: which are nearest is decided among them
PAIRS = 2**20  # numbers in the differences that are computed at once


@exported
class Neighbours(GridHead):
    """The classes of the nearest rows, by Euclidean distance: as scikit-learn's ``KNeighborsClassifier``.

    Rows of heads have unit length, so that Euclidean and cosine distance give the same neighbours. Distances are those
    of float64. Of rows that nearly coincide they are computed again from the differences, as inner products would lose
    them; rows at the same distance are taken in their order.

    Parameters
    ----------
    n_neighbors
        How many.
    weights
        ``uniform``, or ``distance``: a neighbour counts as the reciprocal of its distance, and where some are at
        distance 0, only these count.

    Attributes
    ----------
    classes_
        Sorted labels.
    """

    def __init__(self, n_neighbors: int = 5, weights: str = "uniform") -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights

    def fit_prepared(self, basis: Eigenbasis, y: npt.NDArray[Any]) -> Self:
        """Keep prepared rows and labels ``(n,)``; of streamed rows, keep the stream.

        Raises
        ------
        ValueError
            There are fewer rows than neighbours, or an invalid parameter.
        """
        self._require(len(basis))
        self.classes_, self._y = np.unique(y, return_inverse=True)
        self.n_features_in_ = basis.dim
        self._rows = basis if basis.streamed else basis.inputs
        return self

    def predict_proba(self, X: npt.ArrayLike) -> Floats:
        """Return ``(n, classes)`` in the order of ``classes_``."""
        rows = self._checked(X)
        basis = self._rows if isinstance(self._rows, Eigenbasis) else Eigenbasis(self._rows)
        everything, shares = np.arange(len(basis)), np.empty((len(rows), len(self.classes_)))
        for first in range(0, len(rows), ASKED):
            asked = slice(first, first + ASKED)
            distance, near = _search(rows[asked], basis.blocks(everything), self.n_neighbors)
            shares[asked] = _shares(distance, self._y[near], self.weights, len(self.classes_))
        return shares

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return ``(n,)`` labels, of equal shares the first."""
        shares = self.predict_proba(X)
        return np.asarray(self.classes_[shares.argmax(axis=1)])

    def _held_scores(self, basis: Eigenbasis, y: Positions, folds: Folds, heads: Sequence[Self]) -> FoldScores:
        most, classes = max(head.n_neighbors for head in heads), int(y.max()) + 1  # one search serves all points
        for fold in folds:
            for head in heads:
                head._require(len(fold.fitted))
            parts = (fold.held[first : first + ASKED] for first in range(0, len(fold.held), ASKED))
            found = [_nearest(basis, Fold(fold.fitted, held), most) for held in parts]
            distance, near = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
            for point, head in enumerate(heads):
                count = head.n_neighbors
                shares = _shares(distance[:, :count], y[near[:, :count]], head.weights, classes)
                yield HeldScores(point, fold, from_probability(shares))

    def _require(self, rows: int) -> None:
        if not 1 <= self.n_neighbors <= rows:
            raise ValueError(f"n_neighbors={self.n_neighbors}: must be 1 up to the number of rows, n_samples={rows}.")
        if self.weights not in ("uniform", "distance"):
            raise ValueError(f"weights={self.weights!r}: must be uniform or distance.")


def _nearest(basis: Eigenbasis, fold: Fold, most: int) -> tuple[Floats, Positions]:
    """Return distances and positions of the fitted rows nearest to held ones, ``(held, most)``, the nearest first."""
    if not basis.wide:
        return _search(_in_order(basis, fold.held), basis.blocks(fold.fitted), most)
    lengths, fitted = basis.squares[fold.held][:, None], basis.squares[fold.fitted]
    all_square = lengths + fitted - 2 * basis.inner(fold.held, fold.fitted)
    columns = _candidates(all_square, most)
    near = fold.fitted[columns]
    square = np.take_along_axis(all_square, columns, axis=1)
    _recompute(square, near, basis.inputs[fold.held], basis.inputs, lengths + basis.squares[near])
    square, near = _nearest_first(square, near, most)
    return np.sqrt(square), near


def _in_order(basis: Eigenbasis, asked: Positions) -> npt.NDArray[Any]:
    """Return some rows in the order asked for."""
    if not basis.streamed:
        return np.asarray(basis.inputs[asked])
    rows = np.empty((len(asked), basis.dim), np.float32)
    for places, block in basis.selected(asked):
        rows[places] = block
    return rows


def _search(rows: npt.NDArray[Any], blocks: Iterable[Block], most: int) -> tuple[Floats, Positions]:
    """Return distances and positions of the nearest among blocks of rows, ``(len(rows), most)``, the nearest first."""
    asked = rows.astype(np.float64, copy=False)
    lengths = np.square(asked).sum(axis=1)[:, None]
    square, near = np.empty((len(asked), 0)), np.empty((len(asked), 0), np.intp)
    for places, block in blocks:
        wide = block.astype(np.float64, copy=False)
        block_lengths = np.square(wide).sum(axis=1)
        block_square = lengths + block_lengths - 2 * asked @ wide.T
        columns = _candidates(block_square, most)
        found = np.take_along_axis(block_square, columns, axis=1)
        _recompute(found, columns, asked, wide, lengths + block_lengths[columns])
        square, near = _nearest_first(np.hstack([square, found]), np.hstack([near, places[columns]]), most)
    return np.sqrt(square), near


def _nearest_first(square: Floats, near: Positions, most: int) -> tuple[Floats, Positions]:
    order = np.lexsort((near, square))[:, :most]
    return np.take_along_axis(square, order, axis=1), np.take_along_axis(near, order, axis=1)


def _candidates(square: Floats, most: int) -> Positions:
    """Return the columns of the smallest squared distances and a few more, in any order."""
    count = most + SPARE
    if count < square.shape[1]:
        return np.asarray(np.argpartition(square, count - 1, axis=1)[:, :count])
    return np.broadcast_to(np.arange(square.shape[1]), square.shape)


def _recompute(
    square: Floats, near: Positions, asked: npt.NDArray[Any], rows: npt.NDArray[Any], lengths: Floats
) -> None:
    """Compute the squared distances of pairs that nearly coincide from their differences, in place."""
    pairs = np.argwhere(square <= CLOSE * lengths)
    size = max(PAIRS // rows.shape[1], 1)
    for first in range(0, len(pairs), size):
        row, rank = pairs[first : first + size].T
        difference = asked[row].astype(np.float64) - rows[near[row, rank]]
        square[row, rank] = np.square(difference).sum(axis=1)


def _shares(distance: Floats, codes: Positions, weights: str, classes: int) -> Floats:
    """Return the share of each class among neighbours, ``(n, classes)``."""
    weight = np.ones_like(distance)
    if weights == "distance":
        same = distance == 0
        with np.errstate(divide="ignore"):
            weight = np.where(same.any(axis=1, keepdims=True), same, 1 / distance)
    shares = np.zeros((len(codes), classes))
    np.add.at(shares, (np.arange(len(codes))[:, None], codes), weight)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
