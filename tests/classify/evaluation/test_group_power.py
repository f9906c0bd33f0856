"""What the test over groups is likely to find: it is found four times in five, by the test itself."""

import math

import numpy as np
import pytest

from fc7.classify.evaluation.effective_size import ALPHA, fold_inflation
from fc7.classify.evaluation.group_power import MANY, likely_in_groups
from fc7.classify.evaluation.paired_tests import POWER, likely_difference, sign_flip


def drawn(mean, correlation, sizes, repeats):
    generator = np.random.default_rng(1)
    alpha = np.array(mean) * (1 - correlation) / correlation
    shares = generator.dirichlet(alpha, (repeats, len(sizes)))
    return generator.multinomial(sizes, shares)


@pytest.mark.parametrize(("groups", "size"), [(40, 10), (100, 4)])
@pytest.mark.parametrize("alpha", [ALPHA, ALPHA / 3])
def test_it_is_found_four_times_in_five(groups, size, alpha):
    share, correlation = 0.2, 0.3
    difference = likely_in_groups((size,) * groups, correlation, share, alpha)
    counts = drawn([(share + difference) / 2, (share - difference) / 2, 1 - share], correlation, [size] * groups, 1000)
    found = np.mean([sign_flip(row[:, 0] - row[:, 1]) <= alpha for row in counts])
    assert found == pytest.approx(POWER, abs=0.05)


def test_groups_of_one_image_are_images():
    assert likely_in_groups((1,) * 300, 0.0, 0.3) == pytest.approx(likely_difference(300, 0.3), abs=0.01)


def test_many_groups_are_worth_independent_images():
    assert likely_in_groups((5,) * (MANY + 1), 0.5, 0.3) == likely_difference(5 * (MANY + 1) / 3, 0.3)
    few = likely_in_groups((5,) * MANY, 0.5, 0.3)
    assert few == pytest.approx(likely_difference(5 * MANY / 3, 0.3), rel=0.1)


def test_folds_are_worth_fewer_groups():
    fewer = round(100 / fold_inflation(5))
    expected = likely_in_groups((4,) * fewer, 0.2, 0.3)
    assert likely_in_groups((4,) * 100, 0.2, 0.3, folds=5) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("case", [((4,) * 5, 0.5, 0.3), ((4,) * 40, 0.5, 0.0), ((7,), 1.0, 1.0)])
def test_what_cannot_be_found_is_infinite(case):
    assert likely_in_groups(*case) == math.inf
