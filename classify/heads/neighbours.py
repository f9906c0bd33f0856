"""The nearest-neighbours head: brute force in float64, with a grid of neighbour counts and weights from one search."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Positions
from ..data.splits import Fold
from ..solvers.eigenbasis import Eigenbasis
from ..solvers.namespaces import NUMPY, Array, NumPy
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
        self._on_device = None if basis.device is None else basis
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process, or a file, needs: it searches on its processor."""
        return {name: value for name, value in super().__getstate__().items() if name != "_on_device"}

    def predict_proba(self, X: npt.ArrayLike) -> Floats:
        """Return ``(n, classes)`` in the order of ``classes_``."""
        rows = self._checked(X)
        basis = getattr(self, "_on_device", None) or self._rows
        basis = basis if isinstance(basis, Eigenbasis) else Eigenbasis(basis)
        everything, shares = np.arange(len(basis)), np.empty((len(rows), len(self.classes_)))
        for first in range(0, len(rows), ASKED):
            asked = slice(first, first + ASKED)
            distance, near = _search(rows[asked], basis, everything, self.n_neighbors)
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
        return _search(_in_order(basis, fold.held), basis, fold.fitted, most)
    lengths, fitted = basis.squares[fold.held][:, None], basis.squares[fold.fitted]
    all_square = lengths + fitted - 2 * basis.inner(fold.held, fold.fitted)
    columns = _candidates(all_square, most, NUMPY)
    near = fold.fitted[columns]
    square = np.take_along_axis(all_square, columns, axis=1)
    _recompute(square, near, basis.inputs[fold.held], basis.inputs, lengths + basis.squares[near], NUMPY)
    square, near = _nearest_first(square, near, most, NUMPY)
    return np.sqrt(square), near


def _in_order(basis: Eigenbasis, asked: Positions) -> npt.NDArray[Any]:
    """Return some rows in the order asked for."""
    if not basis.streamed:
        return np.asarray(basis.inputs[asked])
    rows = np.empty((len(asked), basis.dim), np.float32)
    for places, block in basis.selected(asked):
        rows[places] = block
    return rows


def _search(rows: npt.NDArray[Any], basis: Eigenbasis, fitted: Positions, most: int) -> tuple[Floats, Positions]:
    """Return distances and positions of the nearest fitted rows, ``(len(rows), most)``, the nearest first.

    The rows of the basis are on its device, and so are the distances.
    """
    arrays = basis.arrays
    asked = arrays.asarray(rows, np.float64)
    lengths = (asked * asked).sum(axis=1)[:, None]
    square, near = arrays.empty((len(asked), 0), np.float64), arrays.empty((len(asked), 0), np.int64)
    blocks = basis.blocks(fitted) if basis.device is None else basis.there.blocks(fitted, np.float64)
    for places, block in blocks:
        wide = arrays.asarray(block, np.float64)
        block_lengths = (wide * wide).sum(axis=1)
        block_square = lengths + block_lengths - 2 * asked @ wide.T
        columns = _candidates(block_square, most, arrays)
        found = arrays.take_along(block_square, columns)
        _recompute(found, columns, asked, wide, lengths + block_lengths[columns], arrays)
        square = arrays.concatenate([square, found], axis=1)
        near = arrays.concatenate([near, arrays.index(places)[columns]], axis=1)
        square, near = _nearest_first(square, near, most, arrays)
    return np.sqrt(arrays.host(square)), arrays.host(near)


def _nearest_first(square: Array, near: Array, most: int, arrays: NumPy) -> tuple[Array, Array]:
    order = arrays.ranked(square, near)[:, :most]
    return arrays.take_along(square, order), arrays.take_along(near, order)


def _candidates(square: Array, most: int, arrays: NumPy) -> Array:
    """Return the columns of the smallest squared distances and a few more, in any order."""
    count = min(most + SPARE, square.shape[1])
    return arrays.smallest(square, count)


def _recompute(square: Array, near: Array, asked: Array, rows: Array, lengths: Array, arrays: NumPy) -> None:
    """Compute the squared distances of pairs that nearly coincide from their differences, in place."""
    pairs = arrays.places_where(square <= CLOSE * lengths)
    size = max(PAIRS // rows.shape[1], 1)
    for first in range(0, pairs.shape[1], size):
        row, rank = pairs[:, first : first + size]
        difference = arrays.asarray(asked[row], np.float64) - rows[near[row, rank]]
        square[row, rank] = (difference * difference).sum(axis=1)


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
