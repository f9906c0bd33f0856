"""The rotation into the span changes no answer: every head agrees with itself in all dimensions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

from fc7.classify.heads import HEADS as HEADS_OF_THE_TABLE
from fc7.classify.heads import Calibrated
from fc7.classify.isometry import UnitSpan

shapes = st.tuples(st.integers(4, 24), st.integers(25, 80), st.integers(0, 10_000))


def rows(n, dim, seed, dtype=np.float64):
    generator = np.random.default_rng(seed)
    return (generator.standard_normal((n, dim)) + generator.standard_normal(dim)).astype(dtype)


@settings(deadline=None, max_examples=40)
@given(shapes, st.sampled_from([np.float16, np.float32, np.float64]))
def test_fitted_rows_keep_their_inner_products_and_distances(shape, dtype):
    X = rows(*shape, dtype)
    span = UnitSpan().fit(X)
    found, unit = span.transform(X), normalize(X.astype(np.float64))
    assert span.components_.shape == (shape[1], shape[0])
    assert found.shape[1] <= shape[0] + 1, "n dimensions (and what is outside the span), not d"
    assert found @ found.T == pytest.approx(unit @ unit.T, abs=2e-6)
    assert pairwise_distances(found.astype(np.float64)) == pytest.approx(pairwise_distances(unit), abs=2e-3)
    assert span.components_.T @ span.components_ == pytest.approx(np.eye(shape[0]), abs=2e-6)


@settings(deadline=None, max_examples=20)
@given(shapes)
def test_new_rows_keep_their_inner_products_with_fitted_ones(shape):
    X, new = rows(*shape), rows(9, shape[1], shape[2] + 1)
    span = UnitSpan().fit(X)
    expected = normalize(new) @ normalize(X).T
    assert span.transform(new) @ span.transform(X).T == pytest.approx(expected, abs=2e-6)


def test_copies_and_zeros_among_the_rows_lower_the_rank():
    X = rows(6, 40, 0)
    X = np.vstack([X, X[:3], np.zeros((1, 40)), 7 * X[:1]])
    span = UnitSpan().fit(X)
    assert span.components_.shape == (40, 6)
    unit = normalize(X)
    assert span.transform(X) @ span.transform(X).T == pytest.approx(unit @ unit.T, abs=2e-6)
    assert not span.transform(np.zeros((1, 40))).any()


def test_as_many_rows_as_dimensions_are_only_brought_to_unit_length():
    X = rows(12, 12, 0)
    span = UnitSpan().fit(X)
    assert span.components_ is None
    assert span.transform(X) == pytest.approx(normalize(X))


@pytest.mark.parametrize("shape", [(4, 25088), (40, 8)])
def test_the_largest_float16_does_not_overflow(shape):
    X = np.full(shape, 65504, np.float16)
    X[:, 0] = -65504
    X[0, :] = 6e-8  # and the smallest does not vanish
    found = UnitSpan().fit(X).transform(X)
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(len(X)), abs=1e-5)


def test_no_label_is_looked_at():
    X = rows(10, 30, 0)
    one, two = UnitSpan().fit(X, np.arange(10) % 2), UnitSpan().fit(X, np.ones(10))
    assert np.array_equal(one.components_, two.components_)


HEADS = {
    "ridge": (lambda: RidgeClassifier(alpha=0.1), "decision_function"),
    "logreg": (lambda: LogisticRegression(C=10, tol=1e-10, max_iter=10_000), "decision_function"),
    "linear-svm": (lambda: LinearSVC(C=1, tol=1e-10, max_iter=1_000_000, random_state=0), "decision_function"),
    "knn": (lambda: KNeighborsClassifier(3, algorithm="brute"), "predict_proba"),
    "knn by distance": (lambda: KNeighborsClassifier(3, algorithm="brute", weights="distance"), "predict_proba"),
    "centroid": (lambda: NearestCentroid(), "predict"),
}


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_")  # the axis across the span is 0 for fitted rows
@pytest.mark.parametrize("name", HEADS)
@settings(deadline=None, max_examples=8)
@given(shape=st.tuples(st.integers(9, 24), st.integers(25, 60), st.integers(0, 1000)))
def test_heads_answer_new_rows_as_in_all_dimensions(name, shape):
    build, method = HEADS[name]
    X, new, y = rows(*shape), rows(30, shape[1], shape[2] + 1), np.arange(shape[0]) % 3
    span = UnitSpan().fit(X)
    full = getattr(build().fit(normalize(X), y), method)(normalize(new))
    reduced = getattr(build().fit(span.transform(X), y), method)(span.transform(new))
    assert reduced == pytest.approx(full, abs=2e-4)


@pytest.mark.parametrize("name", ["logreg", "linear-svm", "ridge", "knn", "centroid", "baseline"])
def test_heads_of_the_table_give_new_rows_the_same_probabilities(name):
    """As they are used, with scores and a temperature."""
    X, new, y = rows(40, 90, 0), rows(30, 90, 1), np.arange(40) % 3
    span = UnitSpan().fit(X)
    full = Calibrated(HEADS_OF_THE_TABLE[name].build(0).fit(normalize(X), y), 0.5).predict_proba(normalize(new))
    head = Calibrated(HEADS_OF_THE_TABLE[name].build(0).fit(span.transform(X), y), 0.5)
    assert head.predict_proba(span.transform(new)) == pytest.approx(full, abs=2e-3)


def test_a_head_on_other_rows_does_answer_otherwise():
    """The twin: the comparison above can fail."""
    X, new, y = rows(12, 40, 0), rows(30, 40, 1), np.arange(12) % 3
    answer = RidgeClassifier(alpha=0.1).fit(normalize(X), y).decision_function(normalize(new))
    cut = RidgeClassifier(alpha=0.1).fit(normalize(X)[:, :12], y).decision_function(normalize(new)[:, :12])
    assert np.abs(answer - cut).max() > 0.01


def test_it_is_a_scikit_learn_transformer():
    results = check_estimator(UnitSpan(), on_fail=None, on_skip=None)
    assert [result["check_name"] for result in results if result["status"] == "failed"] == []
    assert clone(UnitSpan()).get_params() == {}
