"""The nearest-neighbours head: exact, with a grid of neighbour counts and weights from one search."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Positions
from ..solvers.eigenbasis import Eigenbasis
from ..solvers.namespaces import Array
from ..solvers.nearest import ByDistance, batches
from .base import Folds, FoldScores, GridHead, HeldScores, exported
from .calibration import from_probability


@exported
class Neighbours(GridHead):
    """The classes of the nearest rows, by Euclidean distance: as scikit-learn's ``KNeighborsClassifier``.

    Rows of heads have unit length, so that Euclidean and cosine distance give the same neighbours. Distances are those
    of float64, also of rows that nearly coincide; rows at the same distance are taken in their order.

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
        for part in batches(len(rows), basis.dim):
            distance, near = _nearest(basis, rows[part], everything, self.n_neighbors)
            shares[part] = _shares(distance, self._y[near], self.weights, len(self.classes_))
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
            parts = [fold.held[part] for part in batches(len(fold.held), basis.dim)]
            known = basis.wide and basis.device is None  # all inner products, which other heads use, too
            found = [
                _nearest(
                    basis, _in_order(basis, held), fold.fitted, most, partial(basis.inner, held) if known else None
                )
                for held in parts
            ]
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


def _nearest(
    basis: Eigenbasis,
    rows: npt.NDArray[Any],
    fitted: Positions,
    most: int,
    products: Callable[[Positions], Floats] | None = None,
) -> tuple[Floats, Positions]:
    """Return distances and positions of the fitted rows nearest to some rows, ``(n, most)``, the nearest first."""

    def blocks(places: Positions) -> Iterator[tuple[Positions, Array]]:
        return basis.blocks(places) if basis.device is None else basis.there.blocks(places, basis.there.dtype)

    search = ByDistance(rows, most, len(fitted), blocks, basis.arrays, products)
    for places, block in blocks(fitted):
        search.compare(places, block)
    near, score = search.found()
    return np.sqrt(-score), near


def _in_order(basis: Eigenbasis, asked: Positions) -> npt.NDArray[Any]:
    """Return some rows in the order asked for."""
    if not basis.streamed:
        return np.asarray(basis.inputs[asked])
    rows = np.empty((len(asked), basis.dim), np.float32)
    for places, block in basis.selected(asked):
        rows[places] = block
    return rows


def _shares(distance: Floats, codes: Positions, weights: str, classes: int) -> Floats:
    """Return the share of each class among neighbours, ``(n, classes)``."""
    weight = np.ones_like(distance)
    if weights == "distance":
        same = distance == 0
        with np.errstate(divide="ignore"):
            weight = np.where(same.any(axis=1, keepdims=True), same, 1 / distance)
    cells = np.arange(len(codes))[:, None] * classes + codes
    shares = np.bincount(cells.ravel(), weight.ravel(), len(codes) * classes).reshape(len(codes), classes)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
