"""Metrics agree with scikit-learn and with formulas written out."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

from fc7.classify.evaluation.effective_size import agresti_coull
from fc7.classify.evaluation.metrics import LOG_LOSS_FLOOR, calibration_error, measure


def answers(n, classes, seed):
    """Return labels of at least two classes and probabilities, neither extreme nor tied."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, classes, n)
    y[:2] = 0, 1
    return y, generator.dirichlet(np.ones(classes), n) * 0.999 + 0.001 / classes


@settings(max_examples=40)
@given(st.integers(2, 80), st.integers(2, 6), st.integers(0, 10_000))
def test_figures_are_scikit_learns(n, classes, seed):
    y, probability = answers(n, classes, seed)
    predicted = probability.argmax(axis=1)
    found = measure(y, probability)
    assert found.n == n
    assert found.correct == accuracy_score(y, predicted, normalize=False)
    assert found.accuracy == pytest.approx(accuracy_score(y, predicted))
    recalls = [np.mean(predicted[y == label] == label) for label in set(y.tolist())]
    assert found.balanced_accuracy == pytest.approx(np.mean(recalls))
    if set(predicted) <= set(y):  # scikit-learn warns otherwise
        assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(y, predicted))
    assert found.macro_f1 == pytest.approx(f1_score(y, predicted, average="macro", zero_division=0))
    assert found.log_loss == pytest.approx(log_loss(y, probability, labels=range(classes)))
    assert found.interval == agresti_coull(found.correct, n)


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(0, 10_000))
def test_calibration_error_bin_by_bin(n, seed):
    generator = np.random.default_rng(seed)
    confidence, right = generator.random(n), generator.random(n) < 0.6
    total = 0.0
    for number in range(10):
        inside = [i for i in range(n) if number <= confidence[i] * 10 < number + 1]
        if inside:
            gap = abs(sum(right[i] for i in inside) - sum(confidence[i] for i in inside))
            total += gap / n
    assert calibration_error(right, confidence) == pytest.approx(total, abs=1e-12)


def test_a_calibrated_answer_has_no_error_and_a_sure_wrong_one_has_all():
    assert calibration_error(np.array([True, True, True, False]), np.full(4, 0.75)) == 0
    assert calibration_error(np.zeros(3, bool), np.ones(3)) == 1  # certainty falls in the last bin


@settings(max_examples=40)
@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_agresti_coull_is_the_closed_formula(counts):
    correct, n = counts
    z, p = 1.959963984540054, correct / n
    middle = (correct + z * z / 2) / (n + z * z)
    half = z * math.sqrt(middle * (1 - middle) / (n + z * z))
    low, high = agresti_coull(correct, n)
    assert low == pytest.approx(max(middle - half, 0), abs=1e-9)
    assert high == pytest.approx(min(middle + half, 1), abs=1e-9)
    assert 0 <= low <= p <= high <= 1 or math.isclose(low, p) or math.isclose(high, p)


def test_one_sure_mistake_does_not_make_the_loss_infinite():
    found = measure(np.array([0, 1]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert found.log_loss == pytest.approx(-math.log(LOG_LOSS_FLOOR) / 2)


def test_an_evaluated_split_may_lack_a_class():
    found = measure(np.array([0, 0, 2]), np.array([[0.8, 0.1, 0.1], [0.2, 0.1, 0.7], [0.1, 0.2, 0.7]]))
    assert (found.correct, found.balanced_accuracy) == (2, 0.75)


def test_figures_become_strict_json():
    found = measure(*answers(30, 3, 0))
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["interval"] == list(found.interval)
    assert values["n"] == 30


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_agresti_coull_is_statsmodels(counts):
    from statsmodels.stats.proportion import proportion_confint

    assert agresti_coull(*counts) == pytest.approx(proportion_confint(*counts, method="agresti_coull"), abs=1e-12)
