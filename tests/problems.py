"""Problems of classification that are made up, and folds of them."""

import numpy as np
from sklearn.datasets import make_blobs
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import normalize

from fc7.classify.data.splits import Fold
from fc7.classify.heads.table import HEADS

NAMES = tuple(name for name, head in HEADS.items() if not head.layer)  # fit any embedding


def blobs(classes=3, n=90, seed=0, spread=2.0):
    """Return blobs in five dimensions, of unit length."""
    X, y = make_blobs(n, centers=3 * np.eye(classes, 5), cluster_std=spread, random_state=seed)
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32), y


def unit_blobs(classes=3, n=90, dim=20, seed=0, spread=1.0):
    """Return overlapping classes on the unit sphere."""
    generator = np.random.default_rng(seed)
    y = generator.permutation(np.arange(n) % classes)
    X = generator.standard_normal((classes, dim))[y] + spread * generator.standard_normal((n, dim))
    return normalize(X).astype(np.float32), y


def folds_of(y, count=3):
    found = StratifiedKFold(count, shuffle=True, random_state=0).split(y, y)
    return [Fold(fitted, held) for fitted, held in found]


def overlapping(shape, classes, seed):
    """Return overlapping classes on the unit sphere, like embeddings after ReLU, with copies and a constant column."""
    generator = np.random.default_rng(seed)
    n, dim = shape
    y = generator.permutation(np.arange(n) % classes)
    X = np.maximum(generator.standard_normal((n, dim)) + generator.standard_normal((classes, dim))[y] / 2, 0)
    X += 0.05 * generator.random((n, dim))  # few columns: without this two rows may be equal, and neighbours tied
    X[:, 0] = 0
    X[1], y[1] = X[0], y[0]
    return normalize(X), y


def rows(n, dim, seed, dtype=np.float64):
    """Return rows around a point that is not the origin."""
    generator = np.random.default_rng(seed)
    return (generator.standard_normal((n, dim)) + generator.standard_normal(dim)).astype(dtype)
