"""Statistics agree with scipy and statsmodels."""

import itertools
import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired import answers, interval_of, p_of
from scipy.stats import binom, binomtest, norm
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from fc7.classify.evaluation.effective_size import ALPHA
from fc7.classify.evaluation.paired_tests import (
    POWER,
    allow_for,
    difference_interval,
    holm,
    likely_difference,
    mcnemar,
    power,
    sign_flip,
    smallest_significant,
)

table = st.tuples(*[st.integers(0, 60)] * 4).filter(lambda counts: sum(counts) > 0)


# McNemar, groups, intervals, Holm


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


@given(table)
def test_the_interval_is_walds_of_the_enlarged_table_and_agrees_with_the_test(counts):
    first, second = answers(*counts)
    low, high = interval_of(first, second)
    _, b, c, _ = counts
    drawn = np.concatenate([first.astype(float) - second, [1, -1]])  # the two images that Bonett and Price add
    middle, half = drawn.mean(), 1.959963984540054 * drawn.std() / math.sqrt(len(drawn))
    assert low <= (b - c) / len(first) <= high
    if low not in (0, 1 / (2 * len(first))):
        assert low == pytest.approx(max(middle - half, -1))
    if high not in (0, -1 / (2 * len(first))):
        assert high == pytest.approx(min(middle + half, 1))
    assert (low <= 0 <= high) == (p_of(first, second) > ALPHA)
    assert (low, high) == pytest.approx(tuple(-end for end in reversed(interval_of(second, first))))


@pytest.mark.parametrize("n", [50, 100, 153])
def test_the_interval_holds_the_difference(n):
    """Every table of n images, weighted by its probability: no simulation."""
    from scipy.stats import multinomial

    counts = np.array([(b, c) for b in range(n + 1) for c in range(n + 1 - b) if b + c <= 0.5 * n])
    p_values = mcnemar(counts[:, 0], counts[:, 1])
    ends = np.array([difference_interval(b, c, n, p) for (b, c), p in zip(counts.tolist(), p_values, strict=True)])
    for share, difference in [(0.02, 0.005), (0.02, 0.02), (0.05, 0), (0.1, 0.1), (0.2, 0.05), (0.2, 0.15)]:
        truth = [(share + difference) / 2, (share - difference) / 2, 1 - share]
        chances = multinomial.pmf(np.column_stack([counts, n - counts.sum(axis=1)]), n, truth)
        assert chances.sum() == pytest.approx(1, abs=1e-4)
        held = (ends[:, 0] <= difference) & (difference <= ends[:, 1])
        assert chances[held].sum() >= 0.93


@given(st.lists(st.integers(-6, 6), max_size=9))
def test_the_test_over_groups_counts_every_choice_of_signs(differences):
    groups = np.array(differences, int)
    signs = np.array(list(itertools.product([-1, 1], repeat=len(groups))))
    expected = np.mean(np.abs(signs @ groups) >= abs(groups.sum())) if len(groups) else 1.0
    assert sign_flip(groups) == pytest.approx(expected, abs=1e-12)


@given(table)
def test_over_groups_of_one_image_it_is_mcnemars(counts):
    first, second = answers(*counts)
    assert sign_flip(first.astype(int) - second) == pytest.approx(p_of(first, second), abs=1e-12)


@given(st.floats(1e-9, 0.999), st.floats(1, 2))
def test_a_variance_that_is_allowed_for_makes_p_larger(p, inflation):
    found = allow_for(p, inflation)
    assert found == pytest.approx(2 * norm.sf(norm.isf(p / 2) / math.sqrt(inflation)))
    assert found >= p * (1 - 1e-6)
    assert allow_for(found, 1 / inflation) == pytest.approx(p)
    assert allow_for(p, 1) == p
    assert (allow_for(1.0, inflation), allow_for(0.0, inflation)) == (1, 0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels(p_values):
    with mock.patch("gc.collect"):  # which statsmodels does on each call; beside torch it takes a second
        expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(list(expected), abs=1e-12)


def test_holm_of_nothing():
    assert holm([]) == []


# What n could have shown


@pytest.mark.parametrize("n", [1, 5, 6, 7, 60])
@pytest.mark.parametrize("alpha", [ALPHA, ALPHA / 6])
def test_the_smallest_difference_is_the_first_significant_count(n, alpha):
    significant = [k for k in range(1, n + 1) if binomtest(k, k).pvalue <= alpha]
    expected = significant[0] / n if significant else math.inf
    assert smallest_significant(n, alpha) == expected


def test_six_images_of_153():
    assert smallest_significant(153) == 6 / 153
    assert smallest_significant(5) == math.inf


@pytest.mark.parametrize("case", [(1, 0.5, 0.1), (12, 0.5, 0.5), (40, 0.3, 0.2), (40, 0.1, 0.1), (25, 0.5, 0)])
@pytest.mark.parametrize("alpha", [ALPHA, ALPHA / 3])
def test_power_is_the_sum_over_all_tables(case, alpha):
    n, share, difference = case
    total = 0.0
    for discordant in range(n + 1):
        b = np.arange(discordant + 1)
        chances = binom.pmf(b, discordant, (1 + difference / share) / 2)
        total += binom.pmf(discordant, n, share) * chances[mcnemar(b, discordant - b) <= alpha].sum()
    assert power(n, share, difference, alpha) == pytest.approx(total, abs=1e-6)


@settings(max_examples=10)
@given(st.integers(200, 2000), st.floats(0.1, 0.4), st.sampled_from([ALPHA, ALPHA / 2]))
def test_the_likely_difference_is_found_four_times_in_five(n, share, alpha):
    difference = likely_difference(n, share, alpha)
    weights = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    draws = np.random.default_rng(0).multinomial(n, weights, size=4000)
    assert np.mean(mcnemar(draws[:, 0], draws[:, 1]) <= alpha) == pytest.approx(POWER, abs=0.03)


def test_what_cannot_be_found_is_infinite():
    assert likely_difference(20, 0.0) == math.inf
    assert likely_difference(20, 0.05) == math.inf
