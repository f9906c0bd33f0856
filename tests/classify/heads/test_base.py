"""Heads are exactly what scikit-learn finds on raw rows, for the whole grid and every fold."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import folds_of, overlapping
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import ParameterGrid
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, LinearSVC

from fc7.classify import fit
from fc7.classify.data.splits import Fold
from fc7.classify.heads.calibration import scores
from fc7.classify.heads.lda import Lda
from fc7.classify.heads.naive_bayes import NaiveBayes
from fc7.classify.heads.neighbours import Neighbours
from fc7.classify.heads.penalised import LinearSVM, Logistic
from fc7.classify.heads.rbf_svm import RbfSVM
from fc7.classify.heads.ridge import Ridge
from fc7.classify.heads.table import HEADS
from fc7.classify.solvers.eigenbasis import Eigenbasis
from fc7.errors import DataError

PAIRS = {
    "logreg": (
        lambda **point: Logistic(**point),
        lambda **point: LogisticRegression(solver="newton-cg", tol=1e-9, max_iter=20_000, **point),
        {"C": [0.01, 1, 100]},
        1e-4,
    ),
    "linear-svm": (
        lambda **point: LinearSVM(**point),
        lambda **point: LinearSVC(dual=False, tol=1e-10, max_iter=1_000_000, **point),
        {"C": [0.01, 1, 30]},
        1e-4,
    ),
    "ridge": (lambda **p: Ridge(**p), lambda **p: RidgeClassifier(**p), {"alpha": [1e-3, 1, 100]}, 1e-6),
    "lda": (
        lambda **point: Lda(**point),
        lambda **point: LinearDiscriminantAnalysis(solver="lsqr", **point),
        {"shrinkage": [0.03, 0.5, 1.0]},
        1e-6,
    ),
    "knn": (
        lambda **point: Neighbours(**point),
        lambda **point: KNeighborsClassifier(algorithm="brute", **point),
        {"n_neighbors": [5, 1], "weights": ["uniform", "distance"]},
        1e-6,
    ),
    "gaussian-nb": (
        lambda **point: NaiveBayes(**point),
        lambda **point: GaussianNB(**point),
        {"var_smoothing": [1e-4, 1e-1]},
        1e-4,
    ),
    "rbf-svm": (
        lambda **point: RbfSVM(tol=1e-8, **point),
        lambda **point: SVC(tol=1e-8, **point),
        {"C": [1, 30], "gamma": [0.5, 2]},
        1e-5,
    ),
}


def plain(estimator, X):
    """Return what scikit-learn has, too: margins, or the logarithms of probabilities."""
    return estimator.decision_function(X) if isinstance(estimator, RbfSVM | SVC) else scores(estimator, X)


problems = st.tuples(
    st.sampled_from([(30, 80), (40, 90), (60, 12), (45, 45)]), st.integers(2, 4), st.integers(0, 10_000)
)


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=6)
@given(problems)
def test_a_fit_is_that_of_scikit_learn_on_raw_rows(name, problem):
    ours, theirs, grid, close = PAIRS[name]
    X, y = overlapping(*problem)
    new, _ = overlapping((20, problem[0][1]), problem[1], problem[2] + 1)
    for point in ParameterGrid(grid):
        one, other = ours(**point).fit(X, y), theirs(**point).fit(X, y)
        assert plain(one, new) == pytest.approx(plain(other, new), abs=close, rel=close)
        if hasattr(one, "coef_"):
            assert one.coef_ == pytest.approx(np.atleast_2d(other.coef_), abs=20 * close, rel=1e-3)
            assert one.intercept_ == pytest.approx(other.intercept_, abs=20 * close, rel=1e-3)


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=5)
@given(problems)
def test_out_of_fold_is_what_fitting_fold_by_fold_gives(name, problem):
    ours, theirs, grid, close = PAIRS[name]
    X, y = overlapping(*problem)
    points, folds = list(ParameterGrid(grid)), folds_of(y)
    found = ours().out_of_fold(Eigenbasis(X), y, folds, points)
    assert not found.unconverged.any()
    assert found.scores.shape == (len(points), len(y), problem[1])
    for point, out in zip(points, found.scores, strict=True):
        for fold in folds:
            oracle = ours if name == "rbf-svm" else theirs  # whose margins are votes
            expected = scores(oracle(**point).fit(X[fold.fitted], y[fold.fitted]), X[fold.held])
            loose = max(close, 1e-2 if name in ("logreg", "linear-svm") else 0)  # the search is in float32
            assert out[fold.held] == pytest.approx(expected, abs=loose, rel=loose)


# Folds, views, and what the record says


GRID_HEADS = ("logreg", "linear-svm", "rbf-svm", "ridge", "lda", "knn", "centroid", "gaussian-nb")


@pytest.mark.parametrize("shape", [(30, 80), (60, 12)])
@pytest.mark.parametrize("name", GRID_HEADS)
def test_views_of_a_held_image_take_no_part(name, shape):
    """Rows come view after view; all views of an image are in its fold, and its centre crop alone is scored."""
    X, y = overlapping(shape, 3, 0)
    view, _ = overlapping(shape, 3, 1)
    rows, labels, images = np.vstack([X, view]), np.tile(y, 2), len(y)
    folds = [Fold(np.concatenate([f.fitted, f.fitted + images]), f.held) for f in folds_of(y)]
    head = HEADS[name]
    points = list(ParameterGrid(head.grid))[::3]
    found = head.build(0).out_of_fold(Eigenbasis(rows), labels, folds, points)
    for point, out in zip(points, found.scores, strict=True):
        for fold in folds:
            alone = head.build(0).set_params(**point).fit(rows[fold.fitted], labels[fold.fitted])
            assert out[fold.held] == pytest.approx(scores(alone, X[fold.held]), abs=3e-2, rel=1e-2)  # float32 search


@pytest.mark.parametrize("name", GRID_HEADS)
def test_labels_and_rows_that_are_held_out_decide_nothing(name):
    """Other labels in one fold: the scores of that fold stay as they are."""
    X, y = overlapping((45, 80), 3, 0)
    folds, points = folds_of(y), list(ParameterGrid(HEADS[name].grid))[:2]
    other = y.copy()
    other[folds[0].held] = np.roll(other[folds[0].held], 1)
    one, two = (HEADS[name].build(0).out_of_fold(Eigenbasis(X), t, folds, points).scores for t in (y, other))
    held = folds[0].held
    assert one[:, held] == pytest.approx(two[:, held], abs=1e-9)
    assert np.abs(one - two).max() > 1e-3, "the other folds do fit them"


@pytest.mark.parametrize(
    ("head", "name"), [(Logistic(C=0), "C=0"), (Ridge(alpha=-1), "alpha=-1"), (Lda(shrinkage=0), "shrinkage=0")]
)
def test_a_penalty_that_is_none_is_refused(head, name):
    with pytest.raises(ValueError, match=name):
        head.fit(*overlapping((20, 30), 2, 0))


# Awkward data: a clear answer or a clear error


def awkward():
    generator = np.random.default_rng(0)
    rows = generator.random((24, 30)).astype(np.float32)
    equal = np.repeat(generator.random((2, 30)), 12, axis=0)
    yield "copies", np.repeat(rows[:12], 2, axis=0)
    yield "zero rows", np.where(np.arange(24)[:, None] % 5 == 0, 0, rows)
    yield "all zero", np.zeros((24, 30))
    yield "all equal", np.ones((24, 30))
    yield "equal in a class", equal
    yield "one column", rows * (np.arange(30) == 3)
    yield "tiny", rows * np.float32(6e-8)


@pytest.mark.parametrize(("kind", "rows"), list(awkward()), ids=[kind for kind, _ in awkward()])
@pytest.mark.parametrize("name", GRID_HEADS)
def test_awkward_rows_get_an_answer_or_a_clear_error(table, name, kind, rows):
    counts = (12, 12)
    embeddings = replace(table(counts, dim=30, val=4), vectors=rows.astype(np.float16))
    try:
        run = fit(embeddings, name, folds=2).run
    except DataError as error:
        assert name in ("lda", "gaussian-nb")
        assert ("no class has two rows that differ" if name == "lda" else "no column differs") in str(error)
    else:
        assert np.isfinite(run.probabilities.matrix()).all()
        if kind == "equal in a class":
            assert run.metrics["accuracy"] == 1


@pytest.mark.parametrize("name", GRID_HEADS)
def test_a_class_of_two_images_and_many_classes(table, name):
    run = fit(table((30, 2, 30), dim=40, split=["train"] * 60 + ["val"] * 2), name).run
    assert run.selection["folds"] == 2
    try:
        run = fit(table((3,) * 40, dim=60, val=1, spread=0.3), name, folds=2).run
    except DataError as error:
        assert name == "lda", "one image of a class has no spread"
        assert "no class has two rows that differ" in str(error)
    else:
        assert run.metrics["accuracy"] > 0.9


def test_numbers_that_are_not_finite_are_refused_with_the_image(table):
    embeddings = table(val=5)
    vectors = embeddings.vectors.copy()
    vectors[7, 2] = np.nan
    with pytest.raises(DataError, match=r"1 of 40 embeddings.* c0/007.png"):
        fit(replace(embeddings, vectors=vectors), "logreg")
