"""The bank: exactly what scikit-learn finds on raw rows, for the whole grid and every fold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import ParameterGrid, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from fc7.classify.bank import Fold
from fc7.classify.centroid import Centroid
from fc7.classify.eigenbasis import Eigenbasis
from fc7.classify.lda import Lda
from fc7.classify.neighbours import Neighbours
from fc7.classify.penalised import LinearSVM, Logistic
from fc7.classify.rbf import RbfSVM
from fc7.classify.ridge import Ridge
from fc7.classify.scores import scores

PAIRS = {
    "logreg": (
        lambda **point: Logistic(**point),
        lambda **point: LogisticRegression(tol=1e-9, max_iter=20_000, **point),
        {"C": [0.01, 1, 100]},
        1e-4,
    ),
    "linear-svm": (
        lambda **point: LinearSVM(**point),
        lambda **point: LinearSVC(tol=1e-10, max_iter=1_000_000, random_state=0, **point),
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
        lambda **point: Neighbours(algorithm="brute", **point),
        lambda **point: KNeighborsClassifier(algorithm="brute", **point),
        {"n_neighbors": [5, 1], "weights": ["uniform", "distance"]},
        1e-6,
    ),
    "rbf-svm": (
        lambda **point: RbfSVM(**point),
        lambda **point: SVC(tol=1e-6, **point),
        {"C": [1, 30], "gamma": [0.5, 2]},
        5e-2,  # both stop at a tolerance of their own; the figures below are tighter
    ),
}

problems = st.tuples(
    st.sampled_from([(30, 80), (40, 90), (60, 12), (45, 45)]), st.integers(2, 4), st.integers(0, 10_000)
)


def data(shape, classes, seed):
    """Return overlapping classes on the unit sphere, like embeddings after ReLU, with copies and a constant column."""
    generator = np.random.default_rng(seed)
    n, dim = shape
    y = generator.permutation(np.arange(n) % classes)
    X = np.maximum(generator.standard_normal((n, dim)) + generator.standard_normal((classes, dim))[y] / 2, 0)
    X += 0.05 * generator.random((n, dim))  # few columns: without this two rows may be equal, and neighbours tied
    X[:, 0] = 0
    X[1], y[1] = X[0], y[0]
    return normalize(X), y


def folds_of(y, count=3):
    found = StratifiedKFold(count, shuffle=True, random_state=0).split(y, y)
    return [Fold(fitted, held) for fitted, held in found]


@pytest.mark.parametrize("name", PAIRS)
@settings(deadline=None, max_examples=12)
@given(problems)
def test_a_fit_is_that_of_scikit_learn_on_raw_rows(name, problem):
    ours, theirs, grid, close = PAIRS[name]
    X, y = data(*problem)
    new, _ = data((20, problem[0][1]), problem[1], problem[2] + 1)
    for point in ParameterGrid(grid):
        one, other = ours(**point).fit(X, y), theirs(**point).fit(X, y)
        assert scores(one, new) == pytest.approx(scores(other, new), abs=close, rel=close)
        if hasattr(one, "coef_"):
            assert one.coef_ == pytest.approx(np.atleast_2d(other.coef_), abs=20 * close, rel=1e-3)
            assert one.intercept_ == pytest.approx(other.intercept_, abs=20 * close, rel=1e-3)


@pytest.mark.parametrize("name", PAIRS)
@settings(deadline=None, max_examples=10)
@given(problems)
def test_out_of_fold_is_what_fitting_fold_by_fold_gives(name, problem):
    ours, theirs, grid, close = PAIRS[name]
    X, y = data(*problem)
    points, folds = list(ParameterGrid(grid)), folds_of(y)
    found = ours().out_of_fold(Eigenbasis(X), y, folds, points)
    assert found.converged.all()
    assert found.scores.shape == (len(points), len(y), problem[1])
    for point, out in zip(points, found.scores, strict=True):
        for fold in folds:
            expected = scores(theirs(**point).fit(X[fold.fitted], y[fold.fitted]), X[fold.held])
            loose = max(close, 1e-2 if name in ("logreg", "linear-svm") else 0)  # the search is in float32
            assert out[fold.held] == pytest.approx(expected, abs=loose, rel=loose)


@parametrize_with_checks([Logistic(), LinearSVM(), Ridge(), Lda(), Neighbours(), RbfSVM(), Centroid()])
def test_heads_of_the_bank_are_scikit_learn_classifiers(estimator, check):
    check(estimator)
