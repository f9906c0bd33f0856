"""Answers of least expected cost: by enumeration, and of two classes by scikit-learn's threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin

from fc7.classify.evaluation.effective_size import agresti_coull
from fc7.classify.evaluation.expected_cost import least_cost, mean_cost


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose probabilities are its rows."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.n_features_in_ = X.shape[1]
        return self

    def predict_proba(self, X):
        return X


@settings(max_examples=40)
@given(st.integers(2, 6), st.integers(0, 10_000))
def test_no_other_answer_is_expected_to_cost_less(classes, seed):
    generator = np.random.default_rng(seed)
    probability, costs = generator.dirichlet(np.ones(classes), 20), generator.normal(size=(classes, classes))
    for row, answer in zip(probability, least_cost(probability, costs), strict=True):
        expected = [sum(row[true] * costs[true, other] for true in range(classes)) for other in range(classes)]
        assert expected[answer] == pytest.approx(min(expected))


@settings(max_examples=40)
@given(st.integers(1, 99), st.integers(0, 10_000))
def test_of_two_classes_it_is_a_threshold(price, seed):
    from sklearn.model_selection import FixedThresholdClassifier

    positive = np.random.default_rng(seed).random(40)
    probability = np.column_stack([1 - positive, positive])
    fitted = Given().fit(probability, np.arange(40) % 2)
    theirs = FixedThresholdClassifier(fitted, threshold=1 / (1 + price), response_method="predict_proba")
    theirs = theirs.fit(probability, np.arange(40) % 2).predict(probability)
    costs = np.array([[0.0, 1.0], [float(price), 0.0]])  # a missed positive costs so many false ones
    assert np.array_equal(least_cost(probability, costs), theirs)


@settings(max_examples=40)
@given(st.integers(2, 6), st.integers(0, 10_000))
def test_equal_costs_are_the_most_probable_class(classes, seed):
    probability = np.random.default_rng(seed).dirichlet(np.ones(classes), 20)
    assert np.array_equal(least_cost(probability, 1 - np.eye(classes)), probability.argmax(axis=1))


def test_of_equally_dear_answers_the_most_probable():
    probability = np.array([[0.2, 0.5, 0.3]])
    assert least_cost(probability, np.zeros((3, 3))).tolist() == [1]


def test_the_mean_cost_of_plain_mistakes_is_the_error():
    y, predicted = np.arange(200) % 2, np.where(np.arange(200) < 20, 1 - np.arange(200) % 2, np.arange(200) % 2)
    found = mean_cost(y, predicted, 1 - np.eye(2))
    assert found.value == pytest.approx(0.1)
    low, high = agresti_coull(20, 200)
    assert (found.low, found.high) == pytest.approx((low, high))
    dear = mean_cost(y, predicted, 10 * (1 - np.eye(2)))
    assert (dear.value, dear.low, dear.high) == pytest.approx((10 * found.value, 10 * found.low, 10 * found.high))
    grouped = mean_cost(y, predicted, 1 - np.eye(2), groups=np.arange(200) // 10)
    assert grouped.high - grouped.low > 1.5 * (found.high - found.low)
    assert str(found) == "0.100 (95 % 0.065 to 0.150)"


def test_without_a_mistake_it_is_not_sure_that_there_will_be_none():
    y = np.arange(30) % 2
    found = mean_cost(y, y, np.array([[0.0, 1.0], [50.0, 0.0]]))
    assert (found.value, found.low) == (0, 0)
    assert 1 < found.high < 50
    gain = mean_cost(y, y, np.array([[-2.0, 0.0], [0.0, -2.0]]))  # what is right pays
    assert (gain.value, gain.low) == (-2, -2)
    assert -2 < gain.high < -1


@pytest.mark.parametrize(
    ("scale", "said"), [(1e-9, "1e-10 (95"), (1.0, "0.100 ("), (1e4, "1000 ("), (1e307, "1e+306 (")]
)
def test_costs_of_any_size(scale, said):
    y, predicted = np.arange(200) % 2, np.where(np.arange(200) < 20, 1 - np.arange(200) % 2, np.arange(200) % 2)
    found = mean_cost(y, predicted, scale * (1 - np.eye(2)))
    assert np.isfinite([found.value, found.low, found.high]).all()
    assert found.value / scale == pytest.approx(0.1)
    assert str(found).startswith(said)


def test_costs_that_are_all_the_same_have_no_spread():
    found = mean_cost(np.array([0, 1]), np.array([0, 0]), np.full((2, 2), 3.0))
    assert (found.value, found.low, found.high) == (3, 3, 3)
