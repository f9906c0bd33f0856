"""Coordinates: images as points of a plane, those that are alike near each other.

PCA is exact: a block Krylov method ends when the axes are eigenvectors of the covariance, after some passes over the
rows. t-SNE and UMAP start from the leading 50 axes and are seeded: the same machine gives the same points again.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cache.embeddings import Vectors
from ..cache.store import StoredVectors
from ..errors import MissingExtra, UsageError

METHODS = ("pca", "tsne", "umap")

_AXES = 50  # that t-SNE and UMAP start from
_FEW = 10  # images, of which those two make nothing
_BESIDE = 8  # vectors in a block beside the axes that are wanted
_PASSES = 40
_SMALL = 2**23  # numbers that are multiplied in float64 in no time
_KEPT = 2**27  # numbers that stay in memory, centred, from pass to pass
_BLOCK = 2**22  # numbers read at once

Matrix = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Coordinates:
    """A point for each image."""

    points: npt.NDArray[np.float32]  # `(n, 2)` float32, finite
    words: str  # what they are, for people


def require_method(method: str) -> None:
    """Refuse a name that is none of :data:`METHODS`, and UMAP where it is not installed.

    Raises
    ------
    UsageError
        There is no such method.
    MissingExtra
        umap-learn is not installed.
    """
    from importlib.util import find_spec

    if method not in METHODS:
        raise UsageError(f"--map {method!r}: must be one of {', '.join(METHODS)}.")
    if method == "umap" and find_spec("umap") is None:
        raise MissingExtra("umap-learn", "map")


def coordinates(vectors: Vectors, method: str = "pca") -> Coordinates:
    """Return a point for each row.

    Parameters
    ----------
    vectors
        ``(n, d)``, finite, in memory or on disk, where they are read in blocks.
    method
        One of :data:`METHODS`. Fewer than ten images, and what varies along two axes only, get PCA.

    Raises
    ------
    UsageError, MissingExtra
        See :func:`require_method`.
    """
    require_method(method)
    rows = _Centred(vectors)
    if not rows.variance:
        return Coordinates(np.zeros((len(vectors), 2), np.float32), "all vectors are equal")
    values, axes = _leading(rows, 2 if method == "pca" else _AXES)
    scores = np.zeros((len(vectors), max(len(values), 2)), np.float32)
    for places, block in rows:
        scores[places, : len(values)] = block @ axes.astype(block.dtype)
    scores /= np.abs(scores).max()
    if method == "pca" or len(vectors) < _FEW or len(values) < 3:  # PCA shows all there is
        share = 100 * values[:2].sum() / rows.variance
        return Coordinates(scores[:, :2], f"PCA: the two axes have {share:.0f} % of the variance")
    name, points = ("t-SNE", _tsne(scores)) if method == "tsne" else ("UMAP", _umap(scores))
    return Coordinates(points, f"{name} of the {len(values)} leading principal axes: near is alike, far says little")


def _tsne(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="openmp"):  # several threads add up in another order each time
        return np.asarray(TSNE(perplexity=min(30, (len(scores) - 1) / 3), random_state=0).fit_transform(scores))


def _umap(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what else it could do with Tensorflow, and of more threads than one
        from umap import UMAP

    method = UMAP(n_neighbors=min(15, len(scores) - 1), init=10 * scores[:, :2], random_state=0, n_jobs=1)
    return np.asarray(method.fit_transform(scores))


class _Centred:
    """Rows without their mean, in units of their range: where all are equal, exactly 0.

    Attributes
    ----------
    variance
        The sum of the squares of all numbers.
    rounding
        Of a product, as a share of it.
    """

    def __init__(self, vectors: Vectors) -> None:
        self.vectors, numbers = vectors, len(vectors) * vectors.shape[1]
        self._dtype = np.dtype(np.float64 if numbers <= _SMALL else np.float32)
        self.rounding = 1e-12 if numbers <= _SMALL else 1e-8
        self._kept: list[tuple[npt.NDArray[np.intp], Rows]] = []
        first, total, self._range = vectors[np.arange(1)][0].astype(np.float64), np.zeros(vectors.shape[1]), 0.0
        for _, block in self._read():
            block -= first
            total += block.sum(axis=0)
            self._range = max(self._range, float(np.abs(block).max()))
        self._mean = first + total / len(vectors)
        if isinstance(vectors, np.ndarray) and numbers <= _KEPT:
            self._kept = list(self)
        self.variance = sum(float(np.vdot(block, block)) for _, block in self) if self._range else 0.0

    def __iter__(self) -> Iterator[tuple[npt.NDArray[np.intp], Rows]]:
        """Yield places and their rows, in blocks."""
        if self._kept:
            yield from self._kept
            return
        for places, block in self._read():
            block -= self._mean
            block /= self._range or 1.0
            yield places, block.astype(self._dtype, copy=False)

    def scatter(self, directions: Matrix) -> Matrix:
        """Return the product of the scatter matrix with ``(d, k)``."""
        product, directions = np.zeros(directions.shape), directions.astype(self._dtype)
        for _, block in self:
            product += block.T @ (block @ directions)
        return product

    def _read(self) -> Iterator[tuple[npt.NDArray[np.intp], Matrix]]:
        order = self.vectors.order if isinstance(self.vectors, StoredVectors) else np.arange(len(self.vectors))
        size = max(_BLOCK // self.vectors.shape[1], 1)
        for start in range(0, len(order), size):
            places = order[start : start + size]
            yield places, np.asarray(self.vectors[places], np.float64)


def _leading(rows: _Centred, count: int) -> tuple[Matrix, Matrix]:
    """Return the `count` largest eigenvalues of the scatter of rows, and its eigenvectors ``(d, count)``.

    There are fewer where the rows vary in fewer dimensions. Of each eigenvector the largest number is positive.
    """
    dim = rows.vectors.shape[1]
    block = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, min(count + _BESIDE, dim))))[0]
    basis = products = np.zeros((dim, 0))
    for _ in range(_PASSES):
        product = rows.scatter(block)
        basis, products = np.hstack([basis, block]), np.hstack([products, product])
        inside = basis.T @ products
        values, turns = np.linalg.eigh((inside + inside.T) / 2)
        values, turns = values[::-1][:count], turns[:, ::-1][:, :count]
        residual = np.linalg.norm(products @ turns - basis @ turns * values, axis=0).max()
        block, sizes, _ = np.linalg.svd(product - basis @ (basis.T @ product), full_matrices=False)
        block = block[:, sizes > rows.rounding * values[0]][:, : dim - basis.shape[1]]
        if residual <= 1e3 * rows.rounding * values[0] or not block.shape[1]:
            break
        block = np.linalg.qr(block - basis @ (basis.T @ block))[0]
    axes = basis @ turns[:, values > rows.rounding * values[0]]
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return values[: axes.shape[1]], axes * np.sign(largest)
