"""Figures of single classes are scikit-learn's; their intervals hold what they should and know of groups and folds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, jaccard_score, precision_recall_fscore_support

from fc7.classify.evaluation.class_means import balanced_accuracy, macro_f1
from fc7.classify.evaluation.effective_size import agresti_coull, effective_size
from fc7.classify.evaluation.metrics import measure
from fc7.classify.evaluation.per_class import by_class, unequal


def drawn(n, classes, seed):
    """Return labels and predictions, of which about a half agree; some classes may lack either."""
    generator = np.random.default_rng(seed)
    y, other = generator.integers(0, classes, (2, n))
    return y, np.where(generator.random(n) < 0.5, y, other)


cases = given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 10_000))


@settings(max_examples=40)
@cases
def test_recall_precision_and_f1_are_scikit_learns(n, classes, seed):
    y, predicted = drawn(n, classes, seed)
    found = by_class(y, predicted, classes)
    theirs = precision_recall_fscore_support(y, predicted, labels=range(classes), zero_division=np.nan)
    for ours, precision, recall, f1, images in zip(found, *theirs, strict=True):
        assert ours.images == images
        for estimate, value in (ours.precision, precision), (ours.recall, recall), (ours.f1, f1):
            assert (np.nan if estimate is None else estimate.value) == pytest.approx(value, nan_ok=True)
            assert estimate is None or 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@settings(max_examples=40)
@cases
def test_intervals_are_those_of_shares(n, classes, seed):
    y, predicted = drawn(n, classes, seed)
    for place, ours in enumerate(by_class(y, predicted, classes)):
        if ours.recall:
            assert (ours.recall.low, ours.recall.high) == pytest.approx(agresti_coull(ours.right, ours.images))
        if ours.f1:
            union = int(((y == place) | (predicted == place)).sum())
            jaccard = jaccard_score(y == place, predicted == place)
            ends = agresti_coull(round(jaccard * union), union)
            assert (ours.f1.low, ours.f1.high) == pytest.approx([2 * end / (1 + end) for end in ends])


@settings(max_examples=40)
@given(st.integers(2, 80), st.integers(2, 8), st.integers(0, 10_000))
def test_means_are_scikit_learns_and_those_of_the_record(n, classes, seed):
    y, predicted = drawn(n, classes, seed)
    y[:2] = 0, 1
    predicted = np.where(np.isin(predicted, y), predicted, 0)  # scikit-learn warns otherwise
    recall, f1 = balanced_accuracy(y, predicted), macro_f1(y, predicted)
    assert recall.value == pytest.approx(balanced_accuracy_score(y, predicted))
    assert f1.value == pytest.approx(f1_score(y, predicted, average="macro"))
    recorded = measure(y, None, predicted)
    assert (recall.value, f1.value) == pytest.approx((recorded.balanced_accuracy, recorded.macro_f1))
    for estimate in recall, f1:
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        assert estimate.low < estimate.high


def test_balanced_accuracy_of_equal_classes_has_about_the_interval_of_the_accuracy():
    y = np.repeat([0, 1, 2, 3], 50)
    predicted = np.where(np.arange(200) % 10 == 0, (y + 1) % 4, y)
    found = balanced_accuracy(y, predicted)
    assert (found.low, found.high) == pytest.approx(agresti_coull(180, 200), abs=0.003)


def test_a_class_of_five_makes_the_interval_wide():
    y = np.repeat([0, 1], [120, 5])
    found = balanced_accuracy(y, np.zeros(125, int))
    assert found.value == 0.5
    assert 0.3 < found.low < 0.4
    assert 0.6 < found.high < 0.75
    assert measure(y, None, np.zeros(125, int)).interval[0] > 0.9


def test_all_right_is_no_certainty():
    y = np.repeat([0, 1], [40, 40])
    for found in balanced_accuracy(y, y), macro_f1(y, y):
        assert found.value == 1 == found.high
        assert 0.9 < found.low < 0.97


def test_groups_and_folds_make_intervals_longer():
    y = np.repeat([0, 1], 50)
    right = np.arange(100) // 10 % 3 > 0  # whole groups are right or wrong
    predicted, groups = np.where(right, y, 1 - y), np.arange(100) // 10
    for figure in balanced_accuracy, macro_f1:
        alone, grouped, folded = (
            figure(y, predicted, **settings) for settings in ({}, {"groups": groups}, {"folds": 5})
        )
        assert alone.value == grouped.value == folded.value
        for wider in grouped, folded:
            assert wider.low < alone.low
            assert wider.high > alone.high
    (own, _) = by_class(y, predicted, 2, groups=groups)
    size = effective_size(right[:50], groups[:50])
    assert (own.recall.low, own.recall.high) == pytest.approx(agresti_coull(int(right[:50].sum()), 50, size))


def test_groups_of_one_image_are_no_groups():
    y, predicted = drawn(50, 4, 0)
    groups = np.arange(50)
    assert balanced_accuracy(y, predicted, groups=groups) == balanced_accuracy(y, predicted)
    assert macro_f1(y, predicted, groups=groups) == macro_f1(y, predicted)
    assert by_class(y, predicted, 4, groups=groups) == by_class(y, predicted, 4)


def test_a_single_group_says_nothing():
    y, predicted = drawn(30, 3, 1)
    found = balanced_accuracy(y, predicted, groups=np.zeros(30, int))
    assert found.low < 0.1
    assert found.high > 0.9


def test_unequal_classes():
    assert unequal(np.repeat([0, 1], [120, 5]))
    assert not unequal(np.repeat([0, 1], [70, 83]))
    assert not unequal(np.repeat([0, 3], [10, 10]))  # a class that is not evaluated does not count
    assert not unequal(np.zeros(4, int))


def test_a_thousand_classes_with_groups_take_no_minute():
    y, predicted = drawn(8000, 1000, 0)
    found = by_class(y, predicted, 1000, groups=np.arange(8000) // 4)
    assert len(found) == 1000
    assert found[3].to_dict()["images"] == found[3].images
