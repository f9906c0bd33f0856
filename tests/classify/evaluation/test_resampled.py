"""The corrected resampled t interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t, ttest_1samp

from fc7.classify.evaluation.resampled import corrected_interval


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.integers(1, 500), st.integers(1, 500))
def test_it_is_the_published_formula(figures, fitted, evaluated):
    """Nadeau and Bengio 2003, section 3: the variance over J splits times 1/J + n2/n1."""
    found = corrected_interval(figures, fitted, evaluated)
    count = len(figures)
    variance = sum((value - sum(figures) / count) ** 2 for value in figures) / (count - 1)
    reach = t.ppf(0.975, count - 1) * (variance * (1 / count + evaluated / fitted)) ** 0.5
    assert found.mean == pytest.approx(np.mean(figures))
    assert (found.low, found.high) == pytest.approx((found.mean - reach, found.mean + reach))


def test_with_next_to_nothing_evaluated_it_is_the_plain_t_interval():
    figures = np.random.default_rng(0).random(10)
    low, high = ttest_1samp(figures, 0).confidence_interval(0.95)
    assert corrected_interval(figures, 10**12, 1)[1:3] == pytest.approx((low, high))


def test_one_split_has_no_interval():
    with pytest.raises(ValueError, match="1 splits: an interval needs two"):
        corrected_interval([0.9], 100, 50)
