"""Nearest: what float64 finds by brute force, whatever the size of blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from fc7.classify.solvers import nearest as module
from fc7.classify.solvers.nearest import nearest


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((300, 20)).astype(np.float16)


def small(monkeypatch, numbers=7 * 20, queries=50):
    """Compare few rows and queries at a time."""
    monkeypatch.setattr(module, "_NUMBERS", numbers)
    monkeypatch.setattr(module, "_ON_DEVICE", 1)
    monkeypatch.setattr(module, "_QUERIES", queries)


def brute_force(vectors, queries, count):
    """Return places and cosines in float64; of ties the first row first."""
    rows, asked = (normalize(np.asarray(one, np.float64)) for one in (vectors, queries))
    cosines = np.array([(rows * row).sum(axis=1) for row in asked]).reshape(len(asked), len(rows)).round(12)
    places = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return places, np.take_along_axis(cosines, places, axis=1)


@pytest.mark.parametrize("numbers", [1, 7 * 20, 2**24])
def test_the_same_as_scikit_learn_in_blocks_of_any_size(vectors, monkeypatch, numbers):
    small(monkeypatch, numbers)
    found = nearest(vectors, 6)
    rows = normalize(vectors.astype(np.float64))
    distance, places = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(rows).kneighbors(rows)
    assert np.array_equal(found.places, places[:, 1:])
    assert found.cosines == pytest.approx(1 - distance[:, 1:] ** 2 / 2, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    dim=st.integers(1, 6),
    count=st.integers(1, 70),
    levels=st.integers(1, 3),
    device=st.sampled_from(["cpu", "cpu:0"]),
    dtype=st.sampled_from([np.float16, np.float32]),
)
def test_ties_and_all_are_those_of_float64(seed, n, dim, count, levels, device, dtype):
    """Few different numbers make many equal rows, and rows of zeros; ``cpu:0`` is torch's way."""
    generator = np.random.default_rng(seed)
    vectors = generator.integers(-levels, levels + 1, (n, dim)).astype(dtype)
    queries = generator.integers(-levels, levels + 1, (5, dim)).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        small(patch, numbers=4 * dim, queries=3)
        patch.setattr(module, "_WAITING", 1)
        found = nearest(vectors, count, queries=queries, device=device)
    places, cosines = brute_force(vectors, queries, count)
    assert found.cosines == pytest.approx(cosines, abs=1e-11)
    assert np.array_equal(found.places, places)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize("spread", [1, 1e-3])
def test_long_rows_that_float32_cannot_tell_apart_are_in_the_order_of_float64(monkeypatch, device, spread):
    generator = np.random.default_rng(1)
    vectors = np.float32(1) + np.float32(spread) * generator.standard_normal((500, 1000)).astype(np.float32)
    small(monkeypatch, numbers=100_000, queries=64)
    found = nearest(vectors, 20, device=device)
    places, cosines = brute_force(vectors, vectors, 500)
    itself = places == np.arange(500)[:, None]
    assert np.array_equal(found.places, places[~itself].reshape(500, 499)[:, :20])
    assert found.cosines == pytest.approx(cosines[~itself].reshape(500, 499)[:, :20], abs=1e-11)


def test_rows_that_are_all_alike_take_no_more_memory(monkeypatch):
    small(monkeypatch, numbers=64 * 3, queries=8)
    most = []
    decide = module._Search._decide
    monkeypatch.setattr(module._Search, "_decide", lambda self: (most.append(len(self._query)), decide(self))[1])
    found = nearest(np.ones((2000, 3), np.float16), 2, queries=np.ones((8, 3)))
    assert max(most) <= 8 * (2 * module._WAITING + 64)
    assert found.places.tolist() == [[0, 1]] * 8


def test_pairs_are_there_once_and_above_the_threshold(vectors):
    vectors[7] = 2 * vectors[200]
    pairs, cosines = nearest(vectors, 5).pairs(0.99)
    assert pairs.tolist() == [[7, 200]]
    assert cosines == pytest.approx(1, abs=1e-5)


def test_no_matrix_of_all_pairs_is_held(monkeypatch):
    small(monkeypatch, numbers=3 * 40, queries=50)
    sizes, nonzero = [], np.nonzero
    monkeypatch.setattr(module.np, "nonzero", lambda a: (sizes.append(a.size), nonzero(a))[1])
    nearest(np.random.default_rng(0).standard_normal((1000, 3)).astype(np.float32), 5)
    assert max(sizes) == 50 * 40
    assert sizes.count(50 * 40) == 20 * 25


@pytest.mark.parametrize(("rows", "kept"), [(0, 0), (1, 0), (2, 1), (4, 3)])
def test_few_rows_have_few_neighbours(rows, kept):
    found = nearest(np.eye(rows, 4, dtype=np.float32), 5)
    assert found.places.shape == found.cosines.shape == (rows, kept)
    assert len(found.pairs(0.5)[0]) == 0


def test_a_row_of_zeros_is_like_none():
    found = nearest(np.array([[0, 0], [0, 0], [1, 0], [1, 0]], np.float32), 1)
    assert found.cosines[:, 0].tolist() == [0, 0, 1, 1]


def test_progress_rises_to_all_queries(vectors, monkeypatch):
    small(monkeypatch, numbers=150 * 20, queries=100)
    told = []
    nearest(vectors, 3, progress=lambda *step: told.append(step))
    assert told == [("compare embeddings", done, 300) for done in (50, 100, 150, 200, 250, 300)]
