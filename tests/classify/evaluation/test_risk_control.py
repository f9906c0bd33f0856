"""What is promised about new images holds over many fitted data sets; tests of it are the exact ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from fc7.classify.evaluation.risk_control import (
    answered_images,
    largest_error,
    least_probability,
    needed_images,
    tail,
)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.01, 0.5))
def test_the_tail_is_the_binomial_and_the_bound_is_clopper_and_pearsons(counts, error):
    wrong, answered = counts
    assert tail(wrong, answered, error) == pytest.approx(binom.cdf(wrong, answered, error), abs=1e-12)
    expected = beta.ppf(0.9, wrong + 1, answered - wrong) if wrong < answered else 1
    assert largest_error(wrong, answered, 0.9) == pytest.approx(expected)


@pytest.mark.parametrize(("error", "wrong", "needed"), [(0.02, 0, 114), (0.02, 1, 194), (0.05, 0, 45), (0.01, 0, 230)])
def test_no_error_in_114_shows_two_percent(error, wrong, needed):
    assert needed_images(error, 0.9, wrong=wrong) == needed
    assert binom.cdf(wrong, needed, error) <= 0.1 < binom.cdf(wrong, needed - 1, error)
    assert needed_images(error, 0.9, effect=2.0) == pytest.approx(2 * needed_images(error, 0.9), abs=1)
    assert needed_images(0, 0.9) == 0


@settings(max_examples=30)
@given(st.integers(1, 400), st.floats(0.02, 0.4), st.integers(0, 99))
def test_what_is_answered_passes_its_test_and_leaves_no_step_out(n, error, seed):
    generator = np.random.default_rng(seed)
    probability = generator.random(n).astype(np.float32)
    right = generator.random(n) < probability
    answered = answered_images(probability, right, error, 0.9)
    wrong = np.cumsum(~right[np.argsort(-probability)])
    if answered:
        assert binom.cdf(wrong[answered - 1], answered, error) <= 0.1
    steps = [needed for mistakes in range(n) if (needed := needed_images(error, 0.9, wrong=mistakes)) <= n]
    sequence = [*steps[len(steps) // 8 :], n] if steps else []
    passed = [binom.cdf(wrong[count - 1], count, error) <= 0.1 for count in sequence]
    first = passed.index(False) if False in passed else len(passed)
    assert answered == (sequence[first - 1] if first else 0)


def test_promises_hold_over_data_sets():
    """Images whose chance to be right is their probability, less two points: labels are noisy."""
    generator = np.random.default_rng(0)
    broken, covered = [], []
    new = np.sort(generator.beta(6, 1, 20_000))
    errors = np.cumsum((1 - (new - 0.02))[::-1])[::-1] / np.arange(len(new), 0, -1)  # of those from each on
    for _ in range(400):
        probability = generator.beta(6, 1, 300)
        right = generator.random(300) < probability - 0.02
        stored = probability.astype(np.float32)
        answered = answered_images(stored, right, 0.1, 0.9)
        least = np.sort(probability)[-answered] if answered else 1.0
        broken.append(answered > 0 and errors[min(np.searchsorted(new, least), len(new) - 1)] > 0.1)
        own, fresh = (generator.random(n) ** 0.3 for n in (300, 2000))  # of the true class
        covered.append((fresh >= least_probability(own.astype(np.float32), np.arange(300), 0.9)).mean())
    assert 0 < np.mean(broken) <= 0.1
    assert np.mean(covered) == pytest.approx(0.9, abs=0.005)
