"""Nearest: what float64 finds by brute force, whatever the size of blocks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from fc7.classify.heads.neighbours import Neighbours
from fc7.classify.solvers import nearest as module
from fc7.classify.solvers.eigenbasis import Eigenbasis
from fc7.classify.solvers.namespaces import OnDevice
from fc7.classify.solvers.nearest import nearest


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((300, 20)).astype(np.float16)


def small(monkeypatch, numbers=7 * 20, queries=50):
    """Compare few rows and queries at a time."""
    monkeypatch.setattr(module, "_NUMBERS", numbers)
    monkeypatch.setattr(module, "_ON_DEVICE", 1)
    monkeypatch.setattr(module, "_QUERIES", (1, queries))


DEVICES = st.sampled_from([None, torch.device("cpu")])


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


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    dim=st.integers(1, 6),
    count=st.integers(1, 70),
    levels=st.integers(1, 3),
    device=DEVICES,
    dtype=st.sampled_from([np.float16, np.float32]),
)
def test_ties_and_all_are_those_of_float64(seed, n, dim, count, levels, device, dtype):
    """Few different numbers make many equal rows, and rows of zeros; torch's way is that of a device."""
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


@pytest.mark.parametrize("device", [None, torch.device("cpu")], ids=["numpy", "torch"])
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
    most, keep = [], module.Search._keep
    monkeypatch.setattr(module.Search, "_keep", lambda self, rows: (most.append(len(self._query)), keep(self, rows))[1])
    found = nearest(np.ones((2000, 3), np.float16), 2, queries=np.ones((8, 3)))
    assert max(most) <= 8 * (2 * module._WAITING + 2 * 64)
    assert found.places.tolist() == [[0, 1]] * 8


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    dim=st.integers(1, 6),
    size=st.sampled_from([1e-30, 1.0, 1e30]),
    away=st.sampled_from([0, 100]),
    device=DEVICES,
    waiting=st.sampled_from([1, 4, 1000]),
    dense=st.sampled_from([0, 1000]),
    among=st.sampled_from([1, 10**9]),
    known=st.booleans(),
)
def test_distances_and_their_ties_are_those_of_differences(
    seed, n, dim, size, away, device, waiting, dense, among, known
):
    """However long the rows are; few different numbers make many ties, and an offset hides them from float32."""
    generator = np.random.default_rng(seed)
    rows, queries = (size * (generator.integers(-2, 3, (count, dim)) + away) for count in (n, 7))
    arrays = module.NUMPY if device is None else OnDevice(device)
    count = int(generator.integers(1, n + 1))

    def blocks(places):
        return ((part, arrays.asarray(rows[part])) for part in np.array_split(generator.permutation(places), 3))

    with pytest.MonkeyPatch.context() as patch:
        small(patch, numbers=4 * dim)
        patch.setattr(module, "_WAITING", waiting)
        patch.setattr(module, "_DENSE", dense)
        inner = (lambda places: queries @ rows[places].T) if known and device is None else None
        search = module.ByDistance(queries, count, among, blocks, arrays, inner)
        for places, block in blocks(np.arange(n)):
            search.compare(places, block)
        places, score = search.found()
    square = np.square(queries[:, None] - rows).sum(axis=2)
    expected = np.argsort((square / size**2).round(6), axis=1, kind="stable")[:, :count]
    assert np.array_equal(places, expected)
    assert -score == pytest.approx(np.take_along_axis(square, expected, axis=1), rel=1e-8)


@pytest.mark.parametrize("device", [None, torch.device("cpu")], ids=["numpy", "torch"])
def test_copies_of_a_row_are_in_the_order_of_the_rows(device):
    """More than any spare: a product in blocks has other last bits for some of them."""
    generator = np.random.default_rng(0)
    rows = np.repeat(generator.standard_normal((40, 33)), 50, axis=0)[generator.permutation(2000)].astype(np.float32)
    y = np.arange(2000)
    head = Neighbours(n_neighbors=30).fit_prepared(Eigenbasis(rows, device), y)
    near = head.predict_proba(rows[:40]).nonzero()[1].reshape(40, 30)
    same = [np.flatnonzero((rows == row).all(axis=1))[:30] for row in rows[:40]]
    assert np.array_equal(near, same)


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
