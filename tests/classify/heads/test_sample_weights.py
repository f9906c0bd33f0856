"""Sample weights: a row of weight 2 counts as the row twice, as in scikit-learn; other heads do not take them."""

import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.validation import has_fit_parameter

from fc7.classify import heads
from fc7.classify.heads import Centroid, Lda, LinearSVM, Logistic, NaiveBayes, RbfSVM, Ridge, UnitRows
from fc7.classify.heads.calibration import scores

HEADS = {
    "Centroid": Centroid(),
    "Lda": Lda(0.3),
    "LinearSVM": LinearSVM(0.5),
    "Logistic": Logistic(3.0),
    "NaiveBayes": NaiveBayes(),
    "RbfSVM": RbfSVM(0.5, tol=1e-8),
    "Ridge": Ridge(0.1),
}
WITHOUT = ("Calibrated", "ClassifierStack", "Mlp", "Neighbours", "TorchLinear")
ORACLES = {
    "Ridge": RidgeClassifier(0.1),
    "Logistic": LogisticRegression(C=3.0, solver="newton-cg", tol=1e-10),
    "LinearSVM": LinearSVC(C=0.5, dual=False, tol=1e-10),
    "RbfSVM": SVC(C=0.5, gamma=1.0, tol=1e-8),
}


def rows_of(shape, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    y = np.arange(shape[0]) % classes
    X = generator.standard_normal(shape) / 3 + generator.standard_normal((classes, shape[1]))[y] / 2
    return UnitRows().fit_transform(X), np.array(["b", "c", "a"])[y], generator


@pytest.mark.parametrize("kind", [None, "balanced", {"a": 3.0}])
@pytest.mark.parametrize("shape", [(24, 60), (60, 12)])
@pytest.mark.parametrize("name", HEADS)
@settings(max_examples=3)
@given(classes=st.integers(2, 3), seed=st.integers(0, 10_000))
def test_a_weight_is_a_number_of_rows(name, shape, kind, classes, seed):
    X, y, generator = rows_of(shape, classes, seed)
    kind = {"b": 3.0} if isinstance(kind, dict) else kind
    times = generator.integers(0, 4, len(X))
    times[:classes] = 1
    options = {} if name == "Centroid" else {"class_weight": kind}
    head = clone(HEADS[name]).set_params(**options)
    weighted = clone(head).fit(X, y, sample_weight=times)
    repeated = clone(head).fit(X.repeat(times, axis=0), y.repeat(times))
    assert weighted.classes_.tolist() == repeated.classes_.tolist()
    assert scores(weighted, X) == pytest.approx(scores(repeated, X), abs=1e-5)


@pytest.mark.parametrize("shape", [(24, 60), (60, 12)])
@pytest.mark.parametrize("name", ORACLES)
def test_a_weighted_fit_is_that_of_scikit_learn(name, shape):
    X, y, generator = rows_of(shape)
    weights = generator.exponential(size=len(X))
    ours, theirs = clone(HEADS[name]).fit(X, y, weights), clone(ORACLES[name]).fit(X, y, sample_weight=weights)
    assert ours.decision_function(X) == pytest.approx(theirs.decision_function(X), abs=1e-4)


@pytest.mark.parametrize("shape", [(24, 60), (60, 12)])
def test_weighted_discriminants_are_those_of_repeated_rows(shape):
    X, y, generator = rows_of(shape)
    times = generator.integers(1, 4, len(X))
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3).fit(X.repeat(times, axis=0), y.repeat(times))
    assert Lda(0.3).fit(X, y, times).predict_proba(X) == pytest.approx(theirs.predict_proba(X), abs=1e-8)


@pytest.mark.parametrize("name", HEADS)
def test_equal_weights_change_nothing_and_are_not_written_to(name):
    X, y, _ = rows_of((30, 8))
    plain, weights = clone(HEADS[name]).fit(X, y), np.ones(30)
    for given_weights in (weights, 1.0, [1] * 30):
        found = clone(HEADS[name]).fit(X, y, given_weights) if name != "NaiveBayes" else plain
        assert scores(found, X) == pytest.approx(scores(plain, X), abs=1e-5)
    assert (weights == 1).all()


@pytest.mark.parametrize("name", HEADS)
def test_weights_are_routed_through_a_pipeline(name):
    X, y, generator = rows_of((30, 8))
    weights, seen = generator.exponential(size=30), []
    with sklearn.config_context(enable_metadata_routing=True):
        head = clone(HEADS[name]).set_fit_request(sample_weight=True)
        model = make_pipeline(UnitRows(), head)
        scoring = make_scorer(accuracy_score).set_score_request(sample_weight=False)
        options = {"cv": 2, "scoring": scoring, "return_estimator": True, "return_indices": True}
        found = cross_validate(model, X, y, params={"sample_weight": weights}, **options)
        for fitted, places in zip(found["estimator"], found["indices"]["train"], strict=True):
            alone = clone(HEADS[name]).fit(X[places], y[places], weights[places])
            seen.append(np.abs(scores(fitted[-1], X) - scores(alone, X)).max())
    assert max(seen) < 1e-4


@pytest.mark.parametrize("name", WITHOUT)
def test_heads_without_weights_say_so_as_scikit_learn_does(name):
    kind = getattr(heads, name)
    assert not has_fit_parameter(kind, "sample_weight")
    if name == "Neighbours":
        with pytest.raises(TypeError, match="unexpected keyword argument 'sample_weight'"):
            kind().fit(*rows_of((10, 3))[:2], sample_weight=np.ones(10))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(9), r"shape \(9,\): must be \(10,\)"),
        (np.ones((10, 2)), "shape|Expected"),
        (-np.ones(10), "has -1.0: none may be negative"),
        (np.zeros(10), "at least one non-zero"),
        ([np.nan] * 10, "sample_weight contains NaN"),
        ([np.inf] * 10, "sample_weight contains infinity"),
        (["many"] * 10, "could not convert"),
        (np.arange(10) == 3, "needs two classes"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights, message):
    X, y, _ = rows_of((10, 3))
    with pytest.raises(ValueError, match=message):
        Ridge().fit(X, y, weights)
