"""What images in groups and in folds are worth: the design effect by its definition, and coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from fc7.classify.evaluation.effective_size import (
    ALPHA,
    Z,
    agresti_coull,
    effective_size,
    fold_inflation,
    group_correlation,
    group_effect,
)
from fc7.classify.evaluation.metrics import measure
from fc7.classify.evaluation.paired_tests import allow_for, mcnemar


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_images_without_groups_are_worth_themselves(right):
    every = np.arange(len(right))
    assert effective_size(right) == effective_size(right, every) == len(right)
    assert group_effect(right, every) == 1
    y, predicted = np.zeros(len(right), int), 1 - np.array(right, int)
    assert measure(y, None, predicted).interval == measure(y, None, predicted, groups=every).interval
    assert measure(y, None, predicted).interval == agresti_coull(sum(right), len(right))


def test_images_of_a_group_that_are_all_alike_are_worth_about_one():
    groups = np.repeat(np.arange(100), 10)
    right = np.repeat(np.arange(100) % 2, 10)
    student = t.ppf(0.975, 99)
    assert group_effect(right, groups) == pytest.approx(10, abs=0.2)
    assert effective_size(right, groups) == pytest.approx(100 * (Z / student) ** 2, rel=0.02)
    assert group_effect(np.ones(1000), groups) == 10, "nothing shows that they are not alike"
    assert group_effect(np.arange(4) % 2, np.zeros(4, int)) == 4, "of one group nothing is known"


def test_the_effect_is_one_plus_the_pairs_in_a_group_times_their_correlation():
    """Many groups of equal size: the correlation is Fisher's, over all pairs of images of a group."""
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(2000), 5)
    right = generator.random(10_000) < np.repeat(generator.beta(2, 1, 2000), 5)
    table = right.reshape(-1, 5) - right.mean()
    pairs = [(table[:, i] * table[:, j]).mean() for i in range(5) for j in range(5) if i != j]
    assert group_effect(right, groups) == pytest.approx(1 + 4 * np.mean(pairs) / right.var(), abs=0.01)


def test_the_correlation_is_that_which_was_seen():
    right, groups = np.arange(120) % 12 < 11, np.arange(120) // 12
    assert group_correlation(right, groups) == 0
    assert group_correlation(np.repeat(np.arange(30) % 3 > 0, 4), np.repeat(np.arange(30), 4)) == pytest.approx(
        1, abs=0.01
    )
    assert group_correlation(right, np.arange(120)) == 0


def test_copies_count_once():
    right = np.array([True] * 90 + [False] * 10)
    doubled = np.repeat(np.arange(100), 2)
    assert group_effect(np.repeat(right, 2), doubled) == pytest.approx(2, abs=0.02)


def test_folds_are_corrected_as_by_nadeau_and_bengio():
    """Their variance of a mean over k folds is (1/k + held/fitted) times that of a fold, which is k times that of n."""
    expected = [folds * (1 / folds + 1 / (folds - 1)) for folds in (2, 5, 10)]
    assert [fold_inflation(folds) for folds in (0, 1, 2, 5, 10)] == pytest.approx([1, 1, *expected])
    assert effective_size(np.ones(90), folds=5) == pytest.approx(40)
    found = measure(np.zeros(90, int), None, np.arange(90) % 3 // 2, folds=5)
    assert found.interval == agresti_coull(60, 90, 40)
    assert (found.groups, found.effective) == (90, pytest.approx(40))


@pytest.mark.parametrize("size", [4, 10])
@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("accuracy", [0.8, 0.95])
def test_the_interval_holds_the_accuracy_of_40_groups(size, correlation, accuracy):
    generator = np.random.default_rng(0)
    groups, held, shape = np.repeat(np.arange(40), size), [], (600, 40)
    chances = np.full(shape, accuracy) if not correlation else (generator.random(shape) < accuracy).astype(float)
    if 0 < correlation < 1:
        odds = (1 - correlation) / correlation
        chances = generator.beta(accuracy * odds, (1 - accuracy) * odds, shape)
    for row in chances:
        right = generator.random(40 * size) < np.repeat(row, size)
        low, high = agresti_coull(int(right.sum()), len(right), effective_size(right, groups))
        held.append(low <= accuracy <= high)
    assert np.mean(held) >= 0.93


def test_cross_validated_intervals_hold_chance_and_tests_find_no_winner():
    """Nearest centroids on noise, 5 folds of 100 images: the case in which folds depend on each other most."""
    generator, y, fold = np.random.default_rng(0), np.arange(100) % 2, np.arange(100) // 2 % 5
    held, alone, winners = [], [], []
    for _ in range(500):
        right = []
        for _ in range(2):
            rows, answers = generator.standard_normal((100, 8)), np.empty(100, bool)
            for number in range(5):
                inside, out = fold != number, fold == number
                centres = [rows[inside & (y == label)].mean(axis=0) for label in (0, 1)]
                margin = (rows[out] - sum(centres) / 2) @ (centres[1] - centres[0])
                answers[out] = (margin > 0) == (y[out] == 1)
            right.append(answers)
        low, high = agresti_coull(int(right[0].sum()), 100, effective_size(right[0], folds=5))
        held.append(low <= 0.5 <= high)
        low, high = agresti_coull(int(right[0].sum()), 100)
        alone.append(low <= 0.5 <= high)
        p = float(mcnemar(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())))
        winners.append(allow_for(p, fold_inflation(5)) <= ALPHA)
    assert np.mean(held) >= 0.93
    assert np.mean(alone) < 0.9, "without the correction"
    assert np.mean(winners) <= 0.06
