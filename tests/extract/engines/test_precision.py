import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fc7.extract.engines.precision import MAX_ERROR, imprecise, in_stored_type

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 7)), elements=FLOATS))
def test_the_error_is_that_of_the_definition_in_float64(matrix):
    stored, error = in_stored_type(matrix, "float16")
    with np.errstate(all="ignore"):
        assert np.array_equal(stored, matrix.astype(np.float16))
        exact = matrix.astype(np.float64)
        length = np.linalg.norm(exact, axis=1)
        lost = np.linalg.norm(stored.astype(np.float64) - exact, axis=1)
        expected = np.where(length > 0, lost / np.where(length > 0, length, 1), 0)
    np.testing.assert_allclose(error, expected, rtol=1e-3, atol=1e-7)


def test_what_float16_cannot_hold():
    rows = np.array([[0, 0], [1, 2], [1e-8, 0], [3e-6, 1e-6], [1e-30, 1e-30], [7e4, 1], [3e38, 3e38]], np.float32)
    error = in_stored_type(rows, "float16")[1]
    assert (error > MAX_ERROR).tolist() == [False, False, True, True, True, True, True]
    assert error[0] == 0
    assert error[4] == pytest.approx(1)
    assert np.isinf(error[5:]).all()


def test_numbers_of_a_network_lose_less_than_half_a_unit_in_the_last_place():
    rows = np.random.default_rng(0).normal(size=(64, 4096)).astype(np.float32)
    rows[rows < 0] = 0
    assert in_stored_type(rows, "float16")[1].max() < 2**-11


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rows_that_are_not_finite_themselves_have_no_error(dtype):
    rows = np.array([[np.nan, 1], [np.inf, 1], [1, 1]], np.float32)
    assert np.isnan(in_stored_type(rows, dtype)[1]).tolist() == [True, True, False]


def test_float32_keeps_all():
    rows = np.array([[1e-45, 3e38], [0, 0]], np.float32)
    stored, error = in_stored_type(rows, "float32")
    assert stored is not rows
    assert np.array_equal(stored, rows)
    assert not error.any()


def test_numpy_that_raises_changes_nothing():
    rows = np.array([[1e-8, 1e-45], [7e4, 1], [0, 0]], np.float32)
    before = in_stored_type(rows, "float16")
    with np.errstate(all="raise"):
        after = in_stored_type(rows, "float16")
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (7e4, "float16 cannot hold its embedding: it has numbers above 65504, the largest of the type; "),
        (4e-8, "float16 cannot hold its embedding: its numbers are too small, "),
    ],
)
def test_the_reason_says_what_is_lost_and_what_keeps_it(number, reason):
    (error,) = in_stored_type(np.full((1, 3), number, np.float32), "float16")[1]
    assert imprecise(error, "float16").startswith(reason)
    assert imprecise(error, "float16").endswith("; use --dtype float32")
