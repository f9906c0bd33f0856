"""The nearest-neighbours head: scikit-learn's, with a grid of neighbours and weights answered from one sort."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import KNeighborsClassifier

from .bank import Fold, OutOfFold, Point, Tell, silent
from .eigenbasis import Eigenbasis, Floats
from .scores import from_probability
from .splits import Positions

SAME = 1e-13  # a squared distance between unit rows that is rounding


class Neighbours(KNeighborsClassifier):
    """``KNeighborsClassifier`` with the methods of the bank.

    Rows come here with unit length, so that Euclidean and cosine distance name the same neighbours.
    """

    def fit_prepared(self, basis: Eigenbasis, y: npt.NDArray[Any]) -> Self:
        """Keep the rows and labels."""
        self.fit(basis.inputs, y)
        return self

    def out_of_fold(
        self, basis: Eigenbasis, y: Positions, folds: Sequence[Fold], points: Sequence[Point], tell: Tell = silent
    ) -> OutOfFold:
        """Find the most neighbours that a point asks for, once; see :class:`fc7.classify.bank.Banked`."""
        asked = [
            (int(point.get("n_neighbors", self.n_neighbors)), point.get("weights", self.weights)) for point in points
        ]
        found = OutOfFold.empty(points, folds, int(y.max()) + 1)
        for number, fold in enumerate(folds):
            distance, codes = _nearest(basis, y, fold, max(count for count, _ in asked))
            for place, (count, weights) in enumerate(asked):
                near = distance[:, :count]
                weight = np.ones_like(near) if weights == "uniform" else _by_distance(near)
                found.scores[place, fold.held] = from_probability(_shares(weight, codes[:, :count], int(y.max()) + 1))
            tell((number + 1) * len(points))
        return found


def _nearest(basis: Eigenbasis, y: Positions, fold: Fold, most: int) -> tuple[Floats, Positions]:
    """Return distances and codes of the nearest fitted rows, ``(held, most)`` each, the nearest first."""
    square = basis.squares[fold.held][:, None] + basis.squares[fold.fitted] - 2 * basis.products(fold.held, fold.fitted)
    square[square < SAME] = 0
    most = min(most, len(fold.fitted))
    near = np.argpartition(square, most - 1, axis=1)[:, :most]
    order = np.argsort(np.take_along_axis(square, near, axis=1), axis=1, kind="stable")
    near = np.take_along_axis(near, order, axis=1)
    return np.sqrt(np.take_along_axis(square, near, axis=1)), y[fold.fitted][near]


def _by_distance(distance: Floats) -> Floats:
    """Return reciprocals; where a row is at no distance, only such rows count."""
    same = distance == 0
    with np.errstate(divide="ignore"):
        return np.where(same.any(axis=1, keepdims=True), same, 1 / distance)


def _shares(weight: Floats, codes: Positions, classes: int) -> Floats:
    found = np.zeros((len(codes), classes))
    np.add.at(found, (np.arange(len(codes))[:, None], codes), weight)
    return np.asarray(found / found.sum(axis=1, keepdims=True))
