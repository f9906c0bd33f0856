"""Points of a plane: PCA is that of NumPy's SVD, the others are the same again."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fc7.cache import Recipe
from fc7.cache.shard import Shard
from fc7.cache.store import Store, StoredVectors
from fc7.classify.solvers.nearest import nearest
from fc7.errors import MissingExtra, UsageError
from fc7.extract import coordinates as module
from fc7.extract.coordinates import coordinates, require_method


def blobs(n=120, dim=30, seed=0, dtype=np.float32):
    """Return rows of three classes."""
    generator = np.random.default_rng(seed)
    centres = 3 * generator.standard_normal((3, dim))
    return (centres[np.arange(n) % 3] + generator.standard_normal((n, dim))).astype(dtype)


def by_svd(vectors):
    """Return the two leading principal components by NumPy, in the scale and with the signs of fc7's."""
    rows = vectors.astype(np.float64) - vectors.astype(np.float64).mean(axis=0)
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    scores = (left * values * signs)[:, :2]
    return scores / np.abs(scores).max(), values


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 60), st.integers(2, 40), st.integers(0, 2**16), st.sampled_from([np.float16, np.float32]))
def test_pca_is_that_of_the_svd(n, dim, seed, dtype):
    vectors = np.random.default_rng(seed).standard_normal((n, dim)) * 2.0 ** -np.arange(dim) + 5
    vectors = vectors.astype(dtype)
    expected, values = by_svd(vectors)
    found = coordinates(vectors)
    assert found.points.dtype == np.float32
    np.testing.assert_allclose(found.points, expected, atol=1e-5)
    share = 100 * (values[:2] ** 2).sum() / (values**2).sum()
    assert f"{share:.0f} %" in found.words


def test_blocks_in_float32_give_the_same(monkeypatch):
    vectors = blobs(500, 64, dtype=np.float16)
    expected = by_svd(vectors)[0]
    for kept in (2**27, 0):
        monkeypatch.setattr(module, "_SMALL", 0)
        monkeypatch.setattr(module, "_BLOCK", 64 * 7)
        monkeypatch.setattr(module, "_KEPT", kept)
        np.testing.assert_allclose(coordinates(vectors).points, expected, atol=1e-4)


def test_vectors_that_stay_on_disk(tmp_path):
    vectors = blobs(60, 8, dtype=np.float16)
    keys = [bytes([row]) * 32 for row in range(60)]
    store = Store(Recipe("made-up", "gap", 8, "0" * 64), tmp_path)
    store.append(Shard(keys[::-1], vectors[::-1]))
    stored = StoredVectors(store, keys, 0)
    np.testing.assert_allclose(coordinates(stored).points, coordinates(vectors).points, atol=1e-6)


@pytest.mark.parametrize("work", [coordinates, lambda rows: nearest(rows, 3)])
def test_rows_are_read_in_their_order_on_disk(work, tmp_path, monkeypatch):
    vectors, on_disk = blobs(60, 8, dtype=np.float16), np.roll(np.arange(60), 7)  # no order that is its own inverse
    keys = [bytes([row]) * 32 for row in range(60)]
    store = Store(Recipe("made-up", "gap", 8, "0" * 64), tmp_path)
    store.append(Shard([keys[row] for row in on_disk], vectors[on_disk]))
    read, original = [], StoredVectors.__getitem__
    monkeypatch.setattr(StoredVectors, "__getitem__", lambda self, rows: (read.append(rows), original(self, rows))[1])
    work(StoredVectors(store, keys, 0))
    passes = [rows.tolist() for rows in read if isinstance(rows, np.ndarray) and len(rows) == 60]
    assert on_disk.tolist() in passes
    assert all(rows in (on_disk.tolist(), list(range(60))) for rows in passes)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_images_so_few_or_so_alike_that_there_is_no_plane(method):
    assert coordinates(np.ones((1, 5)), method).points.tolist() == [[0, 0]]
    two = coordinates(np.array([[1.0, 2], [3, 4]]), method)
    assert np.abs(two.points).tolist() == [[1, 0], [1, 0]]
    assert "100 %" in two.words
    equal = coordinates(np.full((50, 7), 0.1, np.float32), method)
    assert not equal.points.any()
    assert equal.words == "all vectors are equal"
    line = coordinates(np.arange(20.0)[:, None], method)
    assert line.points.shape == (20, 2)
    assert np.isfinite(line.points).all()


@pytest.mark.parametrize("scale", [1e-40, 1e-20, 1e38])
def test_magnitudes_whose_squares_float32_cannot_hold(scale):
    vectors = (blobs() / 20 * scale).astype(np.float32)
    np.testing.assert_allclose(coordinates(vectors).points, by_svd(vectors)[0], atol=1e-4)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_the_same_again_and_alike_is_near(method):
    vectors = blobs(90)
    points = coordinates(vectors, method).points
    assert (points == coordinates(vectors, method).points).all()
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(axis=1) % 3 == np.arange(90) % 3).mean() > 0.9


def test_umap_is_asked_for_the_same_points_again(monkeypatch):
    """A stand-in, because UMAP itself compiles for 20 seconds: with these settings it gives the same points again."""
    asked = {}

    class UMAP:
        def __init__(self, **settings):
            asked.update(settings)

        def fit_transform(self, rows):
            return rows[:, 1:3] * 2

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP, __spec__=ModuleSpec("umap", None)))
    found = coordinates(blobs(12), "umap")
    assert (asked["random_state"], asked["n_jobs"], asked["n_neighbors"]) == (0, 1, 11)
    np.testing.assert_allclose(asked["init"] / 10, coordinates(blobs(12)).points, rtol=1e-5)
    assert found.points.shape == (12, 2)
    assert found.words.startswith("UMAP of the 11 leading")


@pytest.mark.parametrize("method", ["t-sne", "UMAP", "", "pca "])
def test_another_name_is_refused(method):
    with pytest.raises(UsageError, match="must be one of pca, tsne, umap"):
        coordinates(blobs(), method)


def test_umap_is_refused_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for method in ("pca", "tsne"):
        require_method(method)
    with pytest.raises(MissingExtra, match=r"fc7\[map\]"):
        coordinates(blobs(), "umap")
