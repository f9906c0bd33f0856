"""Nearest: what scikit-learn finds by brute force, block by block."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from fc7.classify.audits import nearest as module
from fc7.classify.audits.nearest import nearest


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((300, 20)).astype(np.float16)


@pytest.mark.parametrize("block", [1, 300 * 7, 2**24])
def test_the_same_as_scikit_learn_in_blocks_of_any_size(vectors, monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    found = nearest(vectors, 6)
    rows = normalize(vectors.astype(np.float64))
    distance, places = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(rows).kneighbors(rows)
    assert np.array_equal(found.places, places[:, 1:])
    assert found.cosines == pytest.approx(1 - distance[:, 1:] ** 2 / 2, abs=1e-6)


def test_pairs_are_there_once_and_above_the_threshold(vectors):
    vectors[7] = 2 * vectors[200]
    pairs, cosines = nearest(vectors, 5).pairs(0.99)
    assert pairs.tolist() == [[7, 200]]
    assert cosines == pytest.approx(1, abs=1e-5)


def test_no_matrix_of_all_pairs_is_held(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 4000)
    sizes, argpartition = [], np.argpartition
    monkeypatch.setattr(
        module.np, "argpartition", lambda a, *rest, **kw: (sizes.append(a.size), argpartition(a, *rest, **kw))[1]
    )
    nearest(np.random.default_rng(0).standard_normal((1000, 3)), 5)
    assert max(sizes) <= 4000
    assert len(sizes) == 250


@pytest.mark.parametrize(("rows", "kept"), [(0, 0), (1, 0), (2, 1), (4, 3)])
def test_few_rows_have_few_neighbours(rows, kept):
    found = nearest(np.eye(rows, 4, dtype=np.float32), 5)
    assert found.places.shape == found.cosines.shape == (rows, kept)
    assert len(found.pairs(0.5)[0]) == 0


def test_a_row_of_zeros_is_like_none():
    found = nearest(np.array([[0, 0], [0, 0], [1, 0], [1, 0]], np.float32), 1)
    assert found.cosines[:, 0].tolist() == [0, 0, 1, 1]


def test_progress_rises_to_all_rows(vectors, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 300 * 100)
    told = []
    nearest(vectors, 3, progress=lambda *step: told.append(step))
    assert told == [("compare embeddings", done, 300) for done in (100, 200, 300)]
