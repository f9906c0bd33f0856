"""A row has one answer: alone, with six others, and among all."""

import numpy as np
import pytest
from problems import NAMES, folds_of, unit_blobs
from sklearn.model_selection import ParameterGrid
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from fc7.classify.heads.calibration import Calibrated, find_temperature, from_probability, scores
from fc7.classify.heads.preparation import UnitRows
from fc7.classify.heads.table import HEADS
from fc7.classify.solvers.eigenbasis import Eigenbasis

LOOSE = {"mlp": 1e-5, "torch-linear": 1e-5}


def close_rows(classes, n, dim, seed=0):
    """Return rows with a large common mean: on the unit sphere the nearest are 4e-6 apart, squared."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = generator.standard_normal((classes, dim))[y] + generator.standard_normal((n, dim))
    return (X + 550 * np.abs(np.random.default_rng(1).standard_normal(dim))).astype(np.float32), y


def test_the_close_rows_are_close():
    X, _ = close_rows(3, 200, 40)
    rows = X / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    square = np.square(rows[:, None] - rows[None]).sum(axis=2) + np.eye(200)
    assert 1e-6 < np.median(square.min(axis=1)) < 1e-5


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("problem", [unit_blobs, close_rows], ids=["blobs", "close"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_row_has_one_answer_whatever_is_beside_it(name, classes, problem):
    (X, y), head = problem(classes, 120, 40), HEADS[name]
    point = list(ParameterGrid(head.grid))[-1]  # the least penalised
    pipeline = make_pipeline(UnitRows(), head.build(0).set_params(**point)).fit(X, y)
    temperature, _ = find_temperature(scores(pipeline, X), y)
    calibrated, new = Calibrated(pipeline, temperature), X[:42:2] + (X[1:42:2] - X[:42:2]) / 4
    together = calibrated.predict_proba(new)
    for size in (1, 7):
        batches = [new[first : first + size] for first in range(0, len(new), size)]
        apart = np.vstack([calibrated.predict_proba(batch) for batch in batches])
        assert apart == pytest.approx(together, abs=LOOSE.get(name, 1e-6))
        assert np.array_equal(np.concatenate([calibrated.predict(batch) for batch in batches]), calibrated.predict(new))


@pytest.mark.parametrize("name", ["lda", "centroid", "ridge", "logreg", "knn", "rbf-svm"])
def test_folds_score_close_rows_as_a_fit_does(name):
    """In float32 lda had 1.000 in folds and 0.377 afterwards, and neighbours 0.575 in folds against 0.983."""
    X, y = close_rows(3, 200, 40)
    rows = UnitRows().fit(X).transform(X)
    head, folds = HEADS[name], folds_of(y)
    point = list(ParameterGrid(head.grid))[-1]
    found = head.build(0).out_of_fold(Eigenbasis(rows), y, folds, [point]).scores[0]
    for fold in folds:
        alone = head.build(0).set_params(**point).fit(rows[fold.fitted], y[fold.fitted])
        expected = scores(alone, rows[fold.held])
        assert np.array_equal(found[fold.held].argmax(axis=1), expected.argmax(axis=1))
        if name == "centroid":
            means = np.stack([rows[fold.fitted][y[fold.fitted] == k].mean(axis=0, dtype=np.float64) for k in range(3)])
            nearest = np.square(rows[fold.held][:, None] - means).sum(axis=2).argmin(axis=1)
            assert np.array_equal(alone.predict(rows[fold.held]), nearest)


@pytest.mark.parametrize("shape", [(60, 100), (120, 40)])
@pytest.mark.parametrize(("dtype", "distance"), [("f4", 1e-2), ("f4", 1e-4), ("f8", 1e-4), ("f8", 1e-6)])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_neighbours_that_nearly_coincide_are_told_apart(shape, dtype, distance, weights):
    """Pairs of rows much nearer to each other than float32, or a product of float64, can tell."""
    generator = np.random.default_rng(0)
    count, dim = shape
    X = generator.standard_normal((count // 2, dim)).repeat(2, axis=0)
    X = (X + distance * generator.standard_normal(X.shape) + 30).astype(dtype)
    y = (np.arange(count) // 2) % 3
    basis, head, folds = Eigenbasis(X), HEADS["knn"].build(0).set_params(n_neighbors=1, weights=weights), folds_of(y)
    found = head.out_of_fold(basis, y, folds, [{"n_neighbors": 3}]).scores[0]
    for fold in folds:
        square = np.square(X[fold.held][:, None] - X[fold.fitted].astype("f8")).sum(axis=2)
        theirs = KNeighborsClassifier(3, metric="precomputed", weights=weights)
        theirs.fit(np.zeros((len(fold.fitted),) * 2), y[fold.fitted])
        expected = from_probability(theirs.predict_proba(np.sqrt(square)))
        assert found[fold.held] == pytest.approx(expected, abs=1e-6)
        fitted = head.set_params(n_neighbors=3).fit(X[fold.fitted], y[fold.fitted])
        assert scores(fitted, X[fold.held]) == pytest.approx(expected, abs=1e-6)


def test_a_copy_is_at_distance_zero():
    X, y = unit_blobs(3, 90, 20)
    for rows in (X, X + np.float32(100)):
        head = HEADS["knn"].build(0).set_params(n_neighbors=5, weights="distance").fit(rows, y)
        assert np.array_equal(head.predict_proba(rows), np.eye(3)[y])


def test_more_neighbours_than_rows_are_refused():
    X, y = unit_blobs(3, 9, 20)
    with pytest.raises(ValueError, match=r"n_neighbors=10.*n_samples=9"):
        HEADS["knn"].build(0).set_params(n_neighbors=10).fit(X, y)
