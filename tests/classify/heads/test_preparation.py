"""Rows of unit length and on one scale."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import rows
from sklearn.preprocessing import StandardScaler, normalize

from fc7.classify.arrays import unit
from fc7.classify.heads.preparation import OneScale, StandardRows, UnitRows, on_raw_rows


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_unit_rows_are_those_of_scikit_learn(dtype):
    X = rows(8, 30, 0, dtype)
    found = UnitRows().fit(X).transform(X)
    assert found == pytest.approx(normalize(X.astype(np.float64)), abs=1e-6)
    assert found.dtype == np.promote_types(dtype, np.float32)


@pytest.mark.parametrize("factor", [1e-3, 1, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_on_one_scale_have_unit_length_on_average(dtype, factor):
    X = factor * rows(8, 30, 0, dtype)
    found = OneScale().fit(X).transform(X)
    assert found.dtype == X.dtype
    assert np.square(found).sum(axis=1).mean() == pytest.approx(1, rel=1e-5)
    assert found / found[0, 0] == pytest.approx(X / X[0, 0], rel=1e-5)
    assert np.array_equal(OneScale().fit(0 * X).transform(X), X)


@pytest.mark.parametrize("shape", [(4, 25088), (40, 8)])
def test_the_largest_float16_does_not_overflow(shape):
    X = np.full(shape, 65504, np.float16)
    X[:, 0] = -65504
    X[0, :] = 6e-8  # and the smallest does not vanish
    found = UnitRows().fit(X).transform(X)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(len(X)), abs=1e-5)


@pytest.mark.parametrize(
    ("dtype", "largest"), [("f4", 1e19), ("f4", 3e38), ("f4", 1e-25), ("f8", 1e200), ("f8", 1e-200)]
)
def test_rows_whose_squares_overflow_or_vanish_have_unit_length(dtype, largest):
    """They became zeros, beside which the others must stay what they are."""
    X = rows(8, 30, 0, dtype)
    expected = UnitRows().fit(X).transform(X)
    mixed = X.copy()
    mixed[1] = X[1] / np.abs(X[1]).max() * np.dtype(dtype).type(largest)
    mixed[2] = 0
    found = UnitRows().fit(mixed).transform(mixed)
    assert found[1] == pytest.approx(expected[1], abs=1e-6)
    assert not found[2].any()
    assert np.array_equal(found[3:], expected[3:])
    assert np.array_equal(unit(mixed, out=mixed), found)
    mixed[1] = np.dtype(dtype).type(largest)
    scaled = OneScale().fit(mixed).transform(mixed)
    assert np.isfinite(scaled).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 30), st.sampled_from([1e-30, 1e-3, 1.0, 1e3, 1e15]), st.integers(0, 99))
def test_standard_rows_are_those_of_scikit_learn(n, dim, factor, seed):
    generator = np.random.default_rng(seed)
    X = factor * (generator.standard_normal((n, dim)) + 5 * generator.standard_normal(dim))
    X[:, 0] = X[0, 0]  # constant
    found = StandardRows().fit(X).transform(X)
    assert found * np.sqrt(dim) == pytest.approx(StandardScaler().fit_transform(X), abs=1e-6)
    small = StandardRows().fit(X.astype(np.float32)).transform(X.astype(np.float32))
    assert small.dtype == np.float32
    if factor > 1e-20:  # squares of less are below float64's least spread beside 0
        assert small[:, 1:] == pytest.approx(
            found[:, 1:], abs=1e-3
        )  # of equal numbers the rounding of their mean stays


def test_standard_rows_are_the_same_one_by_one():
    X = rows(70, 30, 0, np.float32)
    prepared = StandardRows().fit(X)
    assert np.array_equal(
        np.concatenate([prepared.transform(X[[place]]) for place in range(70)]), prepared.transform(X)
    )


@pytest.mark.parametrize("kind", [OneScale, StandardRows])
def test_coefficients_of_raw_rows_give_the_same_margins(kind):
    X, generator = rows(20, 8, 0, np.float64) + 3, np.random.default_rng(0)
    weight, bias = generator.standard_normal((3, 8)), generator.standard_normal(3)
    preparation = kind().fit(X)
    raw, offset = on_raw_rows(preparation, weight, bias)
    assert X @ raw.T + offset == pytest.approx(preparation.transform(X) @ weight.T + bias)


@pytest.mark.parametrize("largest", [1e19, 1e36])
def test_standard_rows_of_the_largest_numbers_are_finite(largest):
    X = np.float32(largest) * np.random.default_rng(0).random((8, 30), np.float32)
    found = StandardRows().fit(X).transform(X)
    assert np.isfinite(found).all()
    assert np.square(found).sum(axis=1).mean() == pytest.approx(1, rel=1e-5)
