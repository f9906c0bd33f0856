"""Statistics agree with scipy and statsmodels."""

import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired import answers, interval_of, p_of
from scipy.stats import binomtest, bootstrap
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from fc7.classify.evaluation.paired_tests import ALPHA, holm, smallest_detectable

table = st.tuples(*[st.integers(0, 60)] * 4).filter(lambda counts: sum(counts) > 0)


# McNemar, bootstrap, Holm


@given(table)
def test_mcnemar_is_the_exact_test_of_statsmodels_and_scipy(counts):
    both, b, c, neither = counts
    found = p_of(*answers(*counts))
    assert found == pytest.approx(statsmodels_mcnemar([[both, b], [c, neither]], exact=True).pvalue, abs=1e-12)
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    assert found == pytest.approx(expected, abs=1e-12)


def test_mcnemar_by_hand():
    assert p_of(*answers(10, 6, 0, 0)) == pytest.approx(2 * 0.5**6)
    assert p_of(*answers(10, 0, 0, 5)) == 1.0


@settings(max_examples=15)
@given(st.tuples(*[st.integers(3, 40)] * 4))
def test_bootstrap_is_the_limit_of_scipys(counts):
    first, second = answers(*counts)
    differences = first.astype(float) - second.astype(float)
    drawn = bootstrap((differences,), np.mean, n_resamples=4000, method="percentile", random_state=0)
    found = interval_of(first, second)
    # Two steps of the lattice 1/n: the noise of 4,000 draws.
    assert found == pytest.approx(tuple(drawn.confidence_interval), abs=2.5 / len(first))


@settings(max_examples=30)
@given(st.tuples(*[st.integers(0, 9)] * 4).filter(lambda counts: counts[1] + counts[2] > 0))
def test_bootstrap_is_the_convolution(counts):
    both, b, c, neither = counts
    n = sum(counts)
    one, total = np.array([c, both + neither, b]) / n, np.ones(1)
    for _ in range(n):
        total = np.convolve(total, one)
    cumulative = np.cumsum(total)
    low, high = (float(np.searchsorted(cumulative, q + 1e-12) - n) / n for q in (0.025, 0.975))
    assert interval_of(*answers(*counts)) == pytest.approx((low, high), abs=1e-12)


def test_bootstrap_without_a_discordant_image_is_a_point():
    assert interval_of(*answers(5, 0, 0, 5)) == (0.0, 0.0)


@given(table)
def test_bootstrap_is_antisymmetric_and_holds_the_difference(counts):
    first, second = answers(*counts)
    low, high = interval_of(first, second)
    other_low, other_high = interval_of(second, first)
    step = 1 / len(first)  # the quantile of a lattice may sit on either side of a tie
    assert low - 1e-12 <= first.mean() - second.mean() <= high + 1e-12
    assert (low, high) == pytest.approx((-other_high, -other_low), abs=step + 1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels(p_values):
    with mock.patch("gc.collect"):  # which statsmodels does on each call; beside torch it takes a second
        expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(list(expected), abs=1e-12)


def test_holm_of_nothing():
    assert holm([]) == []


# What n could have shown


@pytest.mark.parametrize("n", [1, 5, 6, 7, 60])
def test_smallest_detectable_is_the_first_significant_count(n):
    significant = [k for k in range(1, n + 1) if binomtest(k, k).pvalue <= ALPHA]
    expected = significant[0] / n if significant else math.inf
    assert smallest_detectable(n) == expected


def test_six_images_of_153():
    assert smallest_detectable(153) == 6 / 153
    assert smallest_detectable(5) == math.inf


@settings(max_examples=10)
@given(st.integers(200, 2000), st.floats(0.1, 0.4))
def test_the_likely_difference_is_found_about_four_times_in_five(n, share):
    difference = smallest_detectable(n, share)
    generator = np.random.default_rng(0)
    weights = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    draws = generator.multinomial(n, weights, size=2000)
    found = [mcnemar_of(b, c) <= 0.05 for b, c, _ in draws]
    assert 0.7 < np.mean(found) < 0.9  # the exact test is a little shyer than the approximation


def mcnemar_of(b, c):
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(b, c), int(b + c), 0.5))) if b + c else 1.0


def test_what_cannot_be_found_is_infinite():
    assert smallest_detectable(20, 0.0) == math.inf
    assert smallest_detectable(20, 0.05) == math.inf
