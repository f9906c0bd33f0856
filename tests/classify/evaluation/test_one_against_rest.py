"""Curves, areas under them and top-5 are scikit-learn's; the variance of an area is DeLong's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
    top_k_accuracy_score,
)

from fc7.classify.evaluation.one_against_rest import _variance, auroc, curves, top_k


def drawn(n, seed, digits):
    """Return classes of which both occur, and scores with as many ties as few digits make."""
    generator = np.random.default_rng(seed)
    positive = generator.random(n) < 0.3
    positive[:2] = True, False
    return positive, np.round(generator.random(n) / 2 + positive * generator.random(n) / 2, digits)


cases = given(st.integers(2, 60), st.integers(0, 10_000), st.sampled_from([0, 1, 9]))


@settings(max_examples=40)
@cases
def test_curves_are_scikit_learns(n, seed, digits):
    positive, score = drawn(n, seed, digits)
    found = curves(positive, score)
    rates = roc_curve(positive, score, drop_intermediate=False)
    for ours, theirs in zip((found.false_positive_rate, found.recall, found.thresholds), rates, strict=True):
        assert ours == pytest.approx(theirs)
    precision, recall, thresholds = precision_recall_curve(positive, score)
    assert found.precision[::-1] == pytest.approx(precision)
    assert found.recall[::-1] == pytest.approx(recall)
    assert found.thresholds[:0:-1] == pytest.approx(thresholds)
    assert found.average_precision == pytest.approx(average_precision_score(positive, score))


@settings(max_examples=40)
@cases
def test_areas_are_scikit_learns(n, seed, digits):
    positive, score = drawn(n, seed, digits)
    found = auroc(positive, score)
    assert found.value == pytest.approx(roc_auc_score(positive, score))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


@settings(max_examples=40)
@given(st.integers(6, 40), st.integers(0, 10_000))
def test_the_variance_is_delongs(n, seed):
    positive, score = drawn(n, seed, 1)
    positive[:4] = True, True, False, False
    wins = np.sign(score[positive][:, None] - score[~positive]) / 2 + 0.5
    ones, others = wins.mean(axis=1), wins.mean(axis=0)
    delong = ones.var(ddof=1) / len(ones) + others.var(ddof=1) / len(others)
    deviation = np.empty(n)
    deviation[positive], deviation[~positive] = ones - wins.mean(), others - wins.mean()
    assert _variance(deviation, positive, None) == pytest.approx(delong)
    assert _variance(deviation, positive, np.arange(n)) == pytest.approx(delong)


def test_groups_that_are_alike_make_the_interval_longer():
    positive, score = drawn(40, 0, 9)
    once = auroc(positive, score)
    twice = auroc(np.repeat(positive, 5), np.repeat(score, 5), groups=np.repeat(np.arange(40), 5))
    assert twice.value == pytest.approx(once.value)
    assert twice.high - twice.low == pytest.approx(once.high - once.low, abs=0.06)
    folded = auroc(positive, score, folds=5)
    assert folded.high - folded.low > 1.3 * (once.high - once.low)


def test_a_perfect_order_of_few_is_no_certainty():
    positive = np.arange(125) >= 120
    found = auroc(positive, np.linspace(0, 1, 125))
    assert found.value == 1
    assert 0.5 < found.low < 0.6
    grouped = auroc(positive, np.linspace(0, 1, 125), groups=np.minimum(np.arange(125), 121))
    assert grouped.low < found.low


def test_one_pair_in_the_wrong_order_is_no_certainty():
    positive = np.arange(1000) >= 950
    score = np.arange(1000.0)
    score[[949, 950]] = score[[950, 949]]
    assert 0.999 < auroc(positive, score).value < 1
    assert 0.9 < auroc(positive, score).low < 0.97


def test_one_side_alone_has_no_curve():
    for positive in np.ones(5, bool), np.zeros(5, bool):
        assert curves(positive, np.linspace(0, 1, 5)) is None
        assert auroc(positive, np.linspace(0, 1, 5)) is None


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(6, 12), st.integers(0, 10_000))
def test_top_k_is_scikit_learns(n, classes, seed):
    generator = np.random.default_rng(seed)
    y, scores = generator.integers(0, classes, n), generator.random((n, classes))
    found = top_k(y, np.argsort(-scores, axis=1), 5).mean()
    assert found == pytest.approx(top_k_accuracy_score(y, scores, k=5, labels=range(classes)))
