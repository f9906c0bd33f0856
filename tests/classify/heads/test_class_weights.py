"""Class weights: what scikit-learn means by them, in every head where they mean something, inside every fold."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import NAMES
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import normalize
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.class_weight import compute_sample_weight

from fc7.classify import compare, fit
from fc7.classify.data.splits import Fold
from fc7.classify.fitting.fit import Experiment
from fc7.classify.fitting.learning_curve import measure_learning_curve
from fc7.classify.heads.calibration import scores
from fc7.classify.heads.lda import Lda
from fc7.classify.heads.mlp import Mlp
from fc7.classify.heads.naive_bayes import NaiveBayes
from fc7.classify.heads.penalised import LinearSVM, Logistic
from fc7.classify.heads.rbf_svm import RbfSVM
from fc7.classify.heads.ridge import Ridge
from fc7.classify.heads.table import HEADS, find_head
from fc7.classify.settings import FitSettings
from fc7.classify.solvers.eigenbasis import Eigenbasis
from fc7.errors import UsageError

NONE = ("knn", "centroid", "baseline")


def rare(classes=3, n=90, dim=100, seed=0):
    """Return overlapping classes on the unit sphere, the first of which is rare, and their labels as words."""
    generator = np.random.default_rng(seed)
    y = np.where(generator.random(n) < 0.6, classes - 1, generator.integers(0, classes, n))
    y[: 6 * classes] = np.arange(6 * classes) % classes
    X = np.maximum(generator.standard_normal((n, dim)) + generator.standard_normal((classes, dim))[y] / 2, 0)
    return normalize(X), np.array(["b", "c", "a"])[y]


def priors_of(kind, y):
    """Return the share of each class among weighted rows."""
    weights = compute_sample_weight(kind, y)
    return np.bincount(np.unique(y, return_inverse=True)[1], weights) / weights.sum()


ORACLES = {
    "logreg": (Logistic(), lambda kind, y: LogisticRegression(class_weight=kind, solver="newton-cg", tol=1e-9)),
    "linear-svm": (LinearSVM(), lambda kind, y: LinearSVC(class_weight=kind, dual=False, tol=1e-10)),
    "ridge": (Ridge(0.1), lambda kind, y: RidgeClassifier(0.1, class_weight=kind)),
    "rbf-svm": (RbfSVM(0.5, tol=1e-8), lambda kind, y: SVC(C=0.5, gamma=1.0, tol=1e-8, class_weight=kind)),
    "lda": (
        Lda(0.3),
        lambda kind, y: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3, priors=priors_of(kind, y)),
    ),
    "gaussian-nb": (
        NaiveBayes(var_smoothing=0.1),
        lambda kind, y: GaussianNB(var_smoothing=0.1, priors=priors_of(kind, y)),
    ),
}
problems = st.tuples(st.integers(2, 3), st.sampled_from([(60, 100), (90, 20)]), st.integers(0, 10_000))
weights = st.sampled_from(["balanced", {"a": 3.0, "b": 0.5, "c": 1.0}, {"b": 20.0}])


@pytest.mark.parametrize("name", ORACLES)
@settings(max_examples=4)
@given(problems, weights)
def test_a_fit_is_that_of_scikit_learn(name, problem, kind):
    ours, theirs = ORACLES[name]
    classes, shape, seed = problem
    X, y = rare(classes, *shape, seed)
    kind = kind if isinstance(kind, str) else {key: weight for key, weight in kind.items() if key in y}
    found, expected = clone(ours).set_params(class_weight=kind).fit(X, y), theirs(kind, y).fit(X, y)
    if name == "rbf-svm":
        assert found.decision_function(X) == pytest.approx(expected.decision_function(X), abs=2e-4)
    else:
        assert scores(found, X) == pytest.approx(scores(expected, X), abs=2e-4)


@pytest.mark.parametrize("kind", ["balanced", {0: 5.0, 1: 1.0, 2: 0.5}])
@pytest.mark.parametrize("shape", [(60, 100), (90, 20)])
@pytest.mark.parametrize("name", ORACLES)
def test_out_of_fold_is_what_scikit_learn_finds_fold_by_fold(name, shape, kind):
    """Balanced weights are those of the rows fitted on; the same points without weights stay as they were."""
    ours, theirs = ORACLES[name]
    X, words = rare(3, *shape)
    y = np.unique(words, return_inverse=True)[1]
    folds = [Fold(*fold) for fold in StratifiedKFold(3, shuffle=True, random_state=0).split(X, y)]
    points, told = [{"class_weight": kind}, {"class_weight": None}], []
    found = ours.out_of_fold(Eigenbasis(X), y, folds, points, told.append)
    assert told == sorted(set(told))
    assert told[-1] == 6
    assert np.abs(found.scores[0] - found.scores[1]).max() > 0.05
    for point, out in zip(points, found.scores, strict=True):
        for fold in folds:
            seen = y[fold.fitted]
            fitted = theirs(point["class_weight"], seen)
            if name == "rbf-svm":  # the margins of scikit-learn's are votes
                fitted = clone(ours).set_params(**point)
            expected = scores(fitted.fit(X[fold.fitted], seen), X[fold.held])
            assert out[fold.held] == pytest.approx(expected, abs=1e-2 if name in ("logreg", "linear-svm") else 1e-5)
    own = clone(ours).set_params(class_weight=kind).out_of_fold(Eigenbasis(X), y, folds, [{}])
    assert own.scores[0] == pytest.approx(found.scores[0], abs=1e-3)


def test_balanced_naive_bayes_has_equal_priors():
    X, y = rare()
    ours, theirs = NaiveBayes(class_weight="balanced").fit(X, y), GaussianNB(priors=[1 / 3, 1 / 3, 1 / 3]).fit(X, y)
    assert ours.class_prior_ == pytest.approx(theirs.priors)
    assert ours.predict_proba(X) == pytest.approx(theirs.predict_proba(X), abs=1e-9)
    weighted = NaiveBayes(class_weight={"a": 3.0}).fit(X, y)
    assert weighted.class_prior_ == pytest.approx(priors_of({"a": 3.0}, y))
    assert np.array_equal(NaiveBayes().fit(X, y).predict_proba(X), GaussianNB().fit(X, y).predict_proba(X))


def test_the_perceptron_is_that_of_scikit_learn():
    X, y = rare()
    options = {"learning_rate_init": 0.01, "tol": 1e-3, "max_iter": 1000, "random_state": 0}
    for kind in (None, "balanced"):
        theirs = MLPClassifier((32,), **options).fit(X, y, sample_weight=compute_sample_weight(kind, y))
        ours = Mlp(class_weight=kind, random_state=0).fit(X, y)
        assert ours.predict_proba(X) == pytest.approx(theirs.predict_proba(X), abs=1e-6)


# The table of heads


def test_heads_say_whether_they_have_weights():
    assert [name for name in HEADS if not HEADS[name].class_weight] == list(NONE)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", [name for name in NAMES if HEADS[name].class_weight])
def test_a_rare_class_is_found_more_often(name):
    X, words = rare(2, 150, 30, seed=3)
    y = (words == "c").astype(int)
    fitted, new = np.arange(75), np.arange(75, 150)
    plain, balanced = (HEADS[name].fixed(None, kind).build(0).fit(X[fitted], y[fitted]) for kind in (None, "balanced"))
    share = [np.exp(found).T[0].sum() / np.exp(found).sum() for found in (scores(h, X[new]) for h in (plain, balanced))]
    assert y[fitted].mean() > 0.6, "class 0 is the rare one"
    assert share[1] > share[0]


@pytest.mark.parametrize("name", NONE)
def test_a_head_without_weights_is_built_as_ever(name):
    assert str(HEADS[name].fixed(3, "balanced").build(1)) == str(HEADS[name].build(1))
    assert HEADS[name].fixed(3, "balanced").grid == HEADS[name].grid


def test_the_number_of_epochs_replaces_the_grid_of_it():
    fixed = HEADS["torch-linear"].fixed(7, None)
    assert fixed.grid == {**HEADS["torch-linear"].grid, "epochs": [7]}
    assert HEADS["torch-linear"].fixed(None, None).grid == HEADS["torch-linear"].grid


# fit and compare


def imbalanced(table, **options):
    return table((60, 15, 30), val=5, spread=4.0, dim=40, **options)


@pytest.mark.parametrize("name", ["logreg", "ridge", "gaussian-nb", "torch-linear", "random-forest", "hist-gb", "mlp"])
def test_weights_are_those_of_names_and_are_recorded(table, name):
    embeddings = imbalanced(table)
    kind = {"c0": 0.1, "c1": 10.0}
    head = replace(HEADS[name], ladders={})  # choices further apart say more than weights do
    plain, weighted = fit(embeddings, head, folds=2), fit(embeddings, head, folds=2, class_weight=kind)
    assert weighted.run.protocol["class_weight"] == kind
    assert plain.run.protocol["class_weight"] is None
    assert plain.run.id != weighted.run.id
    assert weighted.run.id == Experiment(embeddings, FitSettings(folds=2, class_weight=kind)).identify(HEADS[name])
    means = [fitted.estimator.predict_proba(embeddings.vectors).mean(axis=0) for fitted in (plain, weighted)]
    assert means[1][1] > means[0][1]
    assert means[1][0] < means[0][0]
    assert "class weights" not in " ".join(weighted.run.notes)
    assert json.loads(json.dumps(weighted.run.selection)) == weighted.run.selection


def test_the_head_that_is_kept_is_weighted_as_scikit_learn(table):
    embeddings = imbalanced(table)
    fitted = fit(embeddings, "ridge", class_weight="balanced")
    rows = embeddings.split == "train"
    X = normalize(embeddings.vectors.astype(np.float64))
    theirs = RidgeClassifier(**fitted.run.hyperparameters, class_weight="balanced").fit(X[rows], embeddings.y[rows])
    found = fitted.estimator["head"].estimator.decision_function(fitted.estimator["prepare"].transform(X))
    assert found == pytest.approx(theirs.decision_function(X), abs=1e-5)


def test_a_learning_curve_is_of_weighted_fits(table, monkeypatch):
    embeddings, seen = imbalanced(table), []
    fitted = Ridge._fit
    monkeypatch.setattr(Ridge, "_fit", lambda self, *rows: seen.append(self.class_weight) or fitted(self, *rows))
    experiment = Experiment(embeddings, FitSettings(class_weight="balanced"))
    run = experiment.fit(HEADS["ridge"]).run
    assert len(measure_learning_curve(experiment, HEADS["ridge"], run)) > 1
    assert set(seen) == {"balanced"}
    assert len(seen) > 10


@pytest.mark.parametrize("name", NONE)
def test_fit_refuses_weights_for_a_head_that_has_none(table, name):
    with pytest.raises(UsageError, match=rf"{name} has no class weights.*logreg, linear-svm, rbf-svm, ridge, lda, gau"):
        fit(imbalanced(table), name, class_weight="balanced")
    assert find_head(name) is HEADS[name]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("equal", "balanced, or a dict"),
        ({"c0": 1.0, "cat": 2.0}, r"'cat', which is none of the classes c0, c1, c2"),
        ({"c0": 0.0}, r"c0.*more than 0"),
        ({"c0": -1.0}, r"c0.*more than 0"),
        ({"c0": float("nan")}, r"c0.*more than 0"),
        ({"c0": float("inf")}, r"c0.*finite"),
    ],
)
def test_weights_that_make_no_sense_are_refused(table, kind, message):
    with pytest.raises(UsageError, match=message):
        fit(imbalanced(table), "ridge", class_weight=kind)
    with pytest.raises(UsageError, match=message):
        compare(imbalanced(table), "ridge", class_weight=kind)


def test_a_classifier_of_the_users_takes_them_where_it_has_the_parameter(table):
    embeddings = imbalanced(table)
    plain, weighted = (fit(embeddings, LogisticRegression(), class_weight=kind).run for kind in (None, {"c1": 30.0}))
    assert weighted.protocol["class_weight"] == {"c1": 30.0}
    means = [np.mean(run.probabilities.matrix(), axis=0)[1] for run in (plain, weighted)]
    assert means[1] > means[0]
    with pytest.raises(UsageError, match="KNeighborsClassifier has no class weights"):
        fit(embeddings, KNeighborsClassifier(), class_weight="balanced")


def test_compare_fits_the_others_without_and_says_so(table, tmp_path):
    runs = compare(imbalanced(table), "ridge,knn", folder=tmp_path, folds=2, class_weight="balanced")
    by_head = {run.head: run for run in runs}
    note = "fitted without class weights: it has none"
    assert {head: note in run.notes for head, run in by_head.items()} == {"ridge": False, "knn": True, "baseline": True}
    assert by_head["ridge"].protocol["class_weight"] == "balanced"
    assert by_head["knn"].protocol["class_weight"] is None
    again = compare(imbalanced(table), "ridge,knn", folder=tmp_path, folds=2, class_weight="balanced")
    assert [run.id for run in again] == [run.id for run in runs]
    assert len(list(tmp_path.glob("*.json"))) == 3
    plain = compare(imbalanced(table), "ridge,knn", folder=tmp_path, folds=2)
    assert not {run.id for run in plain} & {run.id for run in runs}, "their notes differ, so they are other records"
