"""The nearest-neighbours head: scikit-learn's, with a grid of neighbour counts and weights answered by one sort."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import KNeighborsClassifier

from ..arrays import Floats, Positions
from ..data.splits import Fold
from ..solvers.eigenbasis import Eigenbasis
from .base import CountDone, Folds, Grid, OutOfFold, exported, silent
from .calibration import from_probability

SAME = {np.dtype("f8"): 1e-13, np.dtype("f4"): 1e-6}  # squared distances between unit rows that are rounding errors
ASKED = 4096  # rows whose neighbours are searched at once


@exported
class Neighbours(KNeighborsClassifier):
    """``KNeighborsClassifier`` with the methods of a grid head.

    Rows have unit length here, so that Euclidean and cosine distance give the same neighbours.
    """

    def fit_prepared(self, basis: Eigenbasis, y: npt.NDArray[Any]) -> Self:
        """Store the rows and labels; of streamed rows, store the stream."""
        if not basis.streamed:
            self.fit(basis.inputs, y)
            return self
        self.classes_, self._y = np.unique(y, return_inverse=True)
        self.n_features_in_, self.streamed_ = basis.dim, basis
        return self

    def predict_proba(self, X: npt.ArrayLike) -> Any:
        """Return ``(n, classes)`` in the order of ``classes_``."""
        basis = getattr(self, "streamed_", None)
        if basis is None:
            return super().predict_proba(X)
        rows = np.asarray(X, np.float32)
        most = min(int(self.n_neighbors), len(basis))
        square, codes = _search(basis, self._y, rows, among=np.arange(len(basis)), most=most)
        return _shares(np.sqrt(square, dtype=np.float64), codes, self.weights, len(self.classes_))

    def out_of_fold(
        self, basis: Eigenbasis, y: Positions, folds: Folds, points: Grid, count_done: CountDone = silent
    ) -> OutOfFold:
        """Search once, for the most neighbours of any point; see :class:`fc7.classify.heads.base.GridHead`."""
        asked = [
            (int(point.get("n_neighbors", self.n_neighbors)), point.get("weights", self.weights)) for point in points
        ]
        predictions = OutOfFold.empty(points, folds, int(y.max()) + 1)
        for number, fold in enumerate(folds):
            distance, codes = _nearest(basis, y, fold, max(count for count, _ in asked))
            for place, (count, weights) in enumerate(asked):
                shares = _shares(distance[:, :count], codes[:, :count], weights, int(y.max()) + 1)
                predictions.scores[place, fold.held] = from_probability(shares)
            count_done((number + 1) * len(points))
        return predictions


def _nearest(basis: Eigenbasis, y: Positions, fold: Fold, most: int) -> tuple[Floats, Positions]:
    """Return distances and codes of the nearest fitted rows, ``(held, most)`` each, the nearest first."""
    most = min(most, len(fold.fitted))
    if basis.wide:
        square = basis.squares[fold.held][:, None] + basis.squares[fold.fitted]
        square -= 2 * basis.inner(fold.held, fold.fitted)
        near = _first(square, np.broadcast_to(y[fold.fitted], square.shape), most)
    else:
        blocks = []
        for first in range(0, len(fold.held), ASKED):
            asked = fold.held[first : first + ASKED]
            blocks.append(_search(basis, y, _rows_in_order(basis, asked), among=fold.fitted, most=most))
        near = np.concatenate([block[0] for block in blocks]), np.concatenate([block[1] for block in blocks])
    return np.sqrt(near[0], dtype=np.float64), near[1]


def _rows_in_order(basis: Eigenbasis, asked: Positions) -> npt.NDArray[Any]:
    """Return some rows in the order asked for."""
    if not basis.streamed:
        return np.asarray(basis.inputs[asked])
    rows, order = np.empty((len(asked), basis.dim), np.float32), np.argsort(asked)
    for places, block in basis.blocks(asked):
        rows[order[np.searchsorted(asked, places, sorter=order)]] = block
    return rows


def _search(
    basis: Eigenbasis, y: Positions, rows: npt.NDArray[Any], *, among: Positions, most: int
) -> tuple[npt.NDArray[Any], Positions]:
    """Return squared distances and codes of the rows `among` that are nearest to some rows, searched in blocks."""
    length = np.square(rows).sum(axis=1)[:, None]
    square, codes = np.empty((len(rows), 0), rows.dtype), np.empty((len(rows), 0), np.intp)
    for places, block in basis.blocks(among):
        block_square = length + np.square(block).sum(axis=1) - 2 * rows @ block.T
        all_codes = np.hstack([codes, np.broadcast_to(y[places], block_square.shape)])
        square, codes = _first(np.hstack([square, block_square]), all_codes, most)
    return square, codes


def _first(square: npt.NDArray[Any], codes: Positions, most: int) -> tuple[npt.NDArray[Any], Positions]:
    """Return the smallest squared distances with their codes, ``(asked, most)`` each, in ascending order."""
    square[square < SAME[square.dtype]] = 0
    near = np.arange(square.shape[1])[None].repeat(len(square), axis=0)
    if most < square.shape[1]:
        near = np.argpartition(square, most - 1, axis=1)[:, :most]
    order = np.argsort(np.take_along_axis(square, near, axis=1), axis=1, kind="stable")
    near = np.take_along_axis(near, order, axis=1)
    return np.take_along_axis(square, near, axis=1), np.take_along_axis(codes, near, axis=1)


def _by_distance(distance: Floats) -> Floats:
    """Return reciprocals; where a neighbour is at distance 0, only such neighbours count."""
    same = distance == 0
    with np.errstate(divide="ignore"):
        return np.where(same.any(axis=1, keepdims=True), same, 1 / distance)


def _shares(distance: Floats, codes: Positions, weights: str, classes: int) -> Floats:
    """Return the share of each class among neighbours, ``(n, classes)``."""
    weight = np.ones_like(distance) if weights == "uniform" else _by_distance(distance)
    shares = np.zeros((len(codes), classes))
    np.add.at(shares, (np.arange(len(codes))[:, None], codes), weight)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
