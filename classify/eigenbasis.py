"""The eigenbasis of rows: an isometry after which second moments are diagonal, computed once for every head."""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .splits import Positions

Floats = npt.NDArray[np.float64]

BLOCK = 4096  # rows or columns that are held in float64 at once


class Eigenbasis:
    """Rows ``(n, d)`` turned into the eigenbasis of their second moment, in ``r <= min(n, d)`` dimensions.

    No distance and no inner product between the rows changes, and no label is looked at: L2-penalised linear heads,
    neighbours, centroids, RBF and linear kernels answer as in all dimensions (the representer theorem), and folds may
    be cut afterwards. Whatever a head needs is computed when it is first asked for: with fewer rows than dimensions
    through the ``(n, n)`` Gram matrix, otherwise through the ``(d, d)`` second moment, in float64.

    Parameters
    ----------
    inputs
        ``(n, d)`` float32 or float64, kept as they are.
    """

    def __init__(self, inputs: npt.NDArray[Any]) -> None:
        self.inputs = inputs
        self.wide = inputs.shape[0] < inputs.shape[1]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.inputs)

    @property
    def dim(self) -> int:
        """The number of columns before the rotation."""
        return int(self.inputs.shape[1])

    @cached_property
    def gram(self) -> Floats:
        """All inner products, ``(n, n)``."""
        parts = (self.inputs[:, first : first + BLOCK].astype(np.float64) for first in range(0, self.dim, BLOCK))
        return np.asarray(sum((part @ part.T for part in parts), np.zeros((len(self), len(self)))))

    @property
    def values(self) -> Floats:
        """Eigenvalues of the second moment, ``(r,)``, the largest first: the squared lengths of the columns of rows."""
        return self._eigen[0]

    @cached_property
    def rows(self) -> Floats:
        """The rotated rows, ``(n, r)``; their columns are at right angles."""
        values, vectors = self._eigen
        return vectors * np.sqrt(values) if self.wide else np.asarray(self.inputs.astype(np.float64) @ vectors)

    @cached_property
    def rows32(self) -> npt.NDArray[np.float32]:
        """The rotated rows in float32, for a search that float64 will finish."""
        return self.rows.astype(np.float32)

    @cached_property
    def left(self) -> Floats:
        """Left singular vectors ``(n, r)``: the rotated rows with columns of unit length."""
        return self._eigen[1] if self.wide else np.asarray(self.rows / np.sqrt(self.values))

    def restore(self, coefficients: Floats) -> Floats:
        """Return coefficients ``(k, r)`` of the rotated rows as coefficients ``(k, d)`` of the inputs."""
        values, vectors = self._eigen
        if not self.wide:
            return np.asarray(coefficients @ vectors.T)
        return np.asarray(((coefficients / np.sqrt(values)) @ vectors.T) @ self.inputs)

    def products(self, one: Positions, other: Positions) -> Floats:
        """Return the inner products of some rows with others, ``(len(one), len(other))``."""
        if self.wide or "gram" in vars(self):
            return np.asarray(self.gram[np.ix_(one, other)])
        return np.asarray(self.inputs[one].astype(np.float64) @ self.inputs[other].T.astype(np.float64))

    @cached_property
    def squares(self) -> Floats:
        """Squared lengths ``(n,)``."""
        if "gram" in vars(self):
            return self.gram.diagonal().copy()
        return np.asarray(np.square(self.inputs, dtype=np.float64).sum(axis=1))

    @cached_property
    def _eigen(self) -> tuple[Floats, Floats]:
        """Eigenvalues ``(r,)``, and eigenvectors ``(n, r)`` of the Gram matrix or ``(d, r)`` of the second moment."""
        values, vectors = np.linalg.eigh(self.gram if self.wide else self._moment())
        least = values.max(initial=0) * len(values) * np.finfo(np.float64).eps
        kept = np.flatnonzero(values > least)[::-1]
        return values[kept], np.ascontiguousarray(vectors[:, kept])

    def _moment(self) -> Floats:
        parts = (self.inputs[first : first + BLOCK].astype(np.float64) for first in range(0, len(self), BLOCK))
        return np.asarray(sum((part.T @ part for part in parts), np.zeros((self.dim, self.dim))))
