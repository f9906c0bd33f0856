"""The eigenbasis changes no inner product."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import rows
from sklearn.metrics import pairwise_distances
from sklearn.preprocessing import normalize

from fc7.classify.solvers import eigenbasis
from fc7.classify.solvers.eigenbasis import Eigenbasis

shapes = st.tuples(st.integers(3, 40), st.integers(3, 60), st.integers(0, 10_000))


@settings(max_examples=40)
@given(shapes, st.sampled_from([np.float32, np.float64]))
def test_rows_keep_their_inner_products_and_distances(shape, dtype):
    X = rows(*shape, dtype)
    basis, wide = Eigenbasis(X), X.astype(np.float64)
    assert basis.rows.shape == (shape[0], min(shape[:2]))
    assert basis.rows @ basis.rows.T == pytest.approx(wide @ wide.T, abs=1e-9 * shape[1])
    assert pairwise_distances(basis.rows) == pytest.approx(pairwise_distances(wide), abs=1e-6 * shape[1])
    some, other = np.arange(2), np.arange(1, shape[0])
    assert basis.inner(some, other) == pytest.approx(wide[some] @ wide[other].T, abs=1e-9 * shape[1])
    assert basis.squares == pytest.approx((wide**2).sum(axis=1))


@settings(max_examples=40)
@given(shapes)
def test_second_moments_are_diagonal_and_sorted(shape):
    basis = Eigenbasis(rows(*shape))
    assert basis.rows.T @ basis.rows == pytest.approx(np.diag(basis.values), abs=1e-9 * basis.values[0])
    assert (np.diff(basis.values) <= 0).all()
    assert basis.left.T @ basis.left == pytest.approx(np.eye(len(basis.values)), abs=1e-6)


@settings(max_examples=40)
@given(shapes)
def test_coefficients_come_back_to_all_dimensions(shape):
    X, new = rows(*shape), rows(9, shape[1], shape[2] + 1)
    basis = Eigenbasis(X)
    inside = np.random.default_rng(0).standard_normal((2, len(basis.values)))
    outside = basis.restore(inside)
    assert outside.shape == (2, shape[1])
    assert pytest.approx(basis.rows @ inside.T, abs=1e-6 * shape[1]) == X @ outside.T
    assert np.linalg.norm(outside, axis=1) == pytest.approx(np.linalg.norm(inside, axis=1), rel=1e-6)
    across = new - new @ np.linalg.pinv(X) @ X  # what lies outside of the span of the rows scores nothing
    assert across @ outside.T == pytest.approx(np.zeros((9, 2)), abs=1e-6 * shape[1])


def test_many_small_directions_are_all_kept(monkeypatch):
    """In float32, beside a mean whose eigenvalue is a hundred times theirs; they hold most of the distances."""
    monkeypatch.setattr(eigenbasis, "SMALL", 400)
    X = np.maximum(rows(450, 401, 0, np.float32) + 1, 0)
    X = normalize(X)
    basis = Eigenbasis(X)
    assert basis._eigen[1].dtype == np.float32
    assert basis.values[0] > 100 * basis.values[200]
    assert basis.rows32.shape == X.shape
    some = slice(0, 450, 10)
    assert basis.rows32[some] @ basis.rows32[some].T == pytest.approx(X[some] @ X[some].T, abs=1e-5)


@pytest.mark.parametrize("dim", [40, 5])
def test_copies_and_zeros_lower_the_rank(dim):
    X = rows(4, dim, 0)
    basis = Eigenbasis(np.vstack([X, X[:3], np.zeros((2, dim)), 7 * X[:1]]))
    assert basis.rows.shape == (10, 4)
    assert not basis.rows[7:9].any()


def test_rows_of_zeros_have_no_dimension():
    basis = Eigenbasis(np.zeros((3, 5)))
    assert basis.rows.shape == (3, 0)
    assert basis.restore(np.zeros((2, 0))).shape == (2, 5)


@pytest.mark.parametrize("shape", [(4, 9000), (9000, 4)])
def test_blocks_add_up(shape):
    X = rows(*shape, 0, np.float32)
    basis = Eigenbasis(X)
    wide = X.astype(np.float64)
    assert basis.values == pytest.approx(np.linalg.svd(wide, compute_uv=False) ** 2)
