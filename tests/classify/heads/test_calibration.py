"""Scores and temperatures; a calibrated head answers as the one inside it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import NAMES, blobs
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from fc7.classify import fit
from fc7.classify.heads.calibration import Calibrated, find_temperature, scores
from fc7.classify.heads.table import HEADS


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_calibrated_head_answers_as_the_one_inside(name, classes):
    X, y = blobs(classes)
    new, _ = blobs(classes, seed=1)
    words = np.array(["c", "a", "b"])[y]  # the order of the columns is that of classes_, not of first sight
    estimator = HEADS[name].build(0).fit(X, words)
    head = Calibrated(estimator, temperature=2.5)
    probability = head.predict_proba(new)
    assert probability.shape == (len(new), classes)
    assert probability.sum(axis=1) == pytest.approx(np.ones(len(new)))
    assert (probability >= 0).all()
    assert head.classes_.tolist() == sorted(set(words))
    assert np.array_equal(head.predict(new), estimator.predict(new))
    assert np.array_equal(head.classes_[probability.argmax(axis=1)], head.predict(new))


@pytest.mark.parametrize("name", ["logreg", "lda", "torch-linear", "baseline"])
def test_the_softmax_of_scores_is_the_probability_where_there_is_one(name):
    X, y = blobs(spread=3.0)
    estimator = HEADS[name].build(0).fit(X, y)
    expected = estimator.predict_proba(X)
    assert expected.min() > 1e-3
    assert Calibrated(estimator).predict_proba(X) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["logreg", "linear-svm", "ridge", "lda", "centroid", "torch-linear"])
def test_a_linear_head_has_linear_scores_without_a_floor(name, classes):
    """However far out a row lies: a floor under its probability could be no layer of a network."""
    X, y = blobs(classes)
    estimator = HEADS[name].build(0).fit(X, y)
    near, far = (scores(estimator, factor * X)[:, 1] - scores(estimator, factor * X)[:, 0] for factor in (1, 1e4))
    offset = scores(estimator, 0 * X)[:, 1] - scores(estimator, 0 * X)[:, 0]
    assert far - offset == pytest.approx(1e4 * (near - offset), rel=1e-3, abs=1e-4 * np.abs(far).max())
    assert np.abs(far).max() > np.log(1e4)


@settings(max_examples=30)
@given(st.integers(2, 1500), st.integers(0, 10_000))
def test_many_classes_keep_their_answer(classes, seed):
    """With 1,500 classes every probability may lie under the floor; the largest must stay the largest."""

    class Sure(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(classes)

        def __sklearn_is_fitted__(self):
            return True

        def fit(self, X, y):
            return self

        def predict_proba(self, X):
            return softmax(np.random.default_rng(seed).standard_normal((4, classes)) / 4, axis=1)

    found = Calibrated(Sure(), 1.3).predict_proba(np.zeros((4, 1)))
    assert np.array_equal(found.argmax(axis=1), Sure().predict_proba(None).argmax(axis=1))


def test_impossible_according_to_a_head_is_not_impossible():
    """A nearest neighbour answers 0 and 1; the log loss of one mistake must stay finite."""
    X, y = blobs(2)
    estimator = HEADS["knn"].build(0).set_params(n_neighbors=1).fit(X, y)
    assert set(estimator.predict_proba(X).ravel()) == {0.0, 1.0}
    assert Calibrated(estimator).predict_proba(X).min() > 0


tables = st.tuples(st.integers(2, 40), st.integers(2, 5), st.integers(0, 10_000), st.floats(-2, 2))


def margins(n, classes, seed, power):
    generator = np.random.default_rng(seed)
    return np.round(10**power * generator.standard_normal((n, classes)), 6), generator.integers(0, classes, n)


@settings(max_examples=40)
@given(tables)
def test_a_temperature_never_changes_the_answer(drawn):
    logits, y = margins(*drawn)
    temperature, _ = find_temperature(logits, y)
    assert temperature > 0
    top = np.sort(logits, axis=1)
    clear = top[:, -1] - top[:, -2] > 1e-4 * temperature
    calibrated = softmax(logits / temperature, axis=1)
    assert np.array_equal(calibrated.argmax(axis=1)[clear], logits.argmax(axis=1)[clear])


@settings(max_examples=40)
@given(tables)
def test_the_temperature_is_the_best_of_a_fine_grid(drawn):
    """Best for targets of which one in n + 1 is spread over all classes; the loss returned is the plain one."""
    logits, y = margins(*drawn)
    found, loss = find_temperature(logits, y)
    smoothing = 1 / (len(y) + 1)

    def at(temperature, smoothing):
        z = logits / temperature
        z = z - z.max(axis=1, keepdims=True)
        logs = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return float(-((1 - smoothing) * logs[np.arange(len(y)), y].mean() + smoothing * logs.mean()))

    assert loss == pytest.approx(at(found, 0), abs=1e-9)
    best = min(at(np.exp(power), smoothing) for power in np.linspace(-5.9, 5.9, 60))
    assert at(found, smoothing) <= best + 1e-5 * (1 + abs(best))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(2, 30), st.integers(0, 10_000), st.floats(-9, 9), st.floats(0, 4))
def test_the_temperature_is_that_of_the_free_problem(n, classes, seed, power, signal):
    """Whatever the scale of the scores, and whatever they have in common; scipy finds the minimum without bounds."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, classes, n)
    logits = generator.standard_normal((n, classes)) + signal * (np.arange(classes) == y[:, None])
    smoothing = 1 / (n + 1)

    def smoothed(log_temperature):
        logs = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -((1 - smoothing) * logs[np.arange(n), y].mean() + smoothing * logs.mean())

    best = min((minimize_scalar(smoothed, bracket=(at, at + 1)) for at in (-3, 0, 3)), key=lambda result: result.fun)
    common = 10.0**power * generator.standard_normal((n, 1))
    temperature, loss = find_temperature(10.0**power * logits + common, y)
    assert smoothed(np.log(temperature) - power * np.log(10)) <= best.fun + 2e-6
    plain = -log_softmax(logits * 10.0**power / temperature, axis=1)[np.arange(n), y].mean()
    assert loss == pytest.approx(plain, rel=1e-6, abs=1e-9)
    if np.exp(best.x) < 100:
        assert temperature == pytest.approx(10.0**power * np.exp(best.x), rel=1e-3)


@pytest.mark.parametrize("classes", [2, 5, 1000])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_separable_case_ends_where_one_image_in_all_is_wrong(classes, scale):
    n = 50
    y = np.arange(n) % classes
    scores_ = scale * (np.arange(classes) == y[:, None])
    temperature, _ = find_temperature(scores_, y)
    truth = softmax(scores_ / temperature, axis=1)[0, y[0]]
    assert 1 - truth == pytest.approx((1 - 1 / classes) / (n + 1), rel=1e-6)


def test_scores_worse_than_chance_end_at_equal_probabilities():
    y = np.arange(60) % 3
    wrong = -7.0 * (np.arange(3) == y[:, None])
    temperature, loss = find_temperature(wrong, y)
    assert temperature == pytest.approx(7e6)
    assert loss == pytest.approx(np.log(3), abs=1e-5)
    assert find_temperature(np.ones((60, 3)), y) == (1.0, pytest.approx(np.log(3)))
    assert find_temperature(np.full((60, 3), np.nan), y)[1] == np.inf


def test_a_thousand_classes_keep_their_largest_probability():
    """A floor under small probabilities must not make all of them equal."""

    class Even(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(5000)

        def predict_proba(self, X):
            return softmax(np.random.default_rng(0).standard_normal((20, 5000)) / 10, axis=1)

    assert np.array_equal(scores(Even(), None).argmax(axis=1), Even().predict_proba(None).argmax(axis=1))


def test_rows_with_a_large_common_mean_are_calibrated(table):
    """The centroid's scores differ by 1e-5: with a bound its log loss was 1.685, at an accuracy of 0.99."""
    embeddings = table((50,) * 10, dim=64, val=20, spread=0.8, dtype="float32")
    embeddings.vectors[:] += 200
    run = fit(embeddings, "centroid").run
    assert run.metrics["accuracy"] > 0.95
    assert run.metrics["log_loss"] < 0.2
    assert run.metrics["calibration_error"] < 0.1


def test_boosted_trees_on_forty_rows_are_as_sure_as_they_are_right(table):
    """Trees that split in the last fit alone had accuracy 1.000 and log loss 0.686."""
    run = fit(table((25, 25), val=5, spread=0.5), "hist-gb").run
    assert run.metrics["accuracy"] == 1
    assert run.metrics["log_loss"] < 0.2


def test_a_single_class_is_an_error_in_one_line():
    X, y = np.random.default_rng(0).random((12, 8)), np.zeros(12, int)
    for name in NAMES:
        try:
            assert scores(HEADS[name].build(0).fit(X, y), X).shape == (12, 1)
        except ValueError as error:
            assert "one class" in str(error)


def test_scores_without_a_mistake_are_not_sharpened_without_limit():
    y = np.arange(100) % 2
    temperature, loss = find_temperature(np.column_stack([1.0 - y, 1.0 * y]), y)
    assert loss > 1e-3
    assert softmax(np.array([[0, 1]]) / temperature, axis=1).max() < 0.999


def test_an_overconfident_head_is_cooled_and_a_shy_one_warmed():
    generator = np.random.default_rng(0)
    logits = generator.standard_normal((4000, 3))
    y = np.array([generator.choice(3, p=row) for row in softmax(logits, axis=1)])
    for factor in (0.2, 1, 5):
        assert find_temperature(factor * logits, y)[0] == pytest.approx(factor, rel=0.15)


def test_calibrated_is_fitted_when_what_is_inside_is():
    X, y = blobs()
    head = Calibrated(LogisticRegression(), 2.0)
    with pytest.raises(NotFittedError):
        head.predict(X)
    assert head.fit(X, y).predict(X).shape == y.shape
    assert clone(head).temperature == 2.0
