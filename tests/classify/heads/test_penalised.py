"""Heads with a penalty: the optimum, in turns as together, and too few steps are said."""

import numpy as np
import pytest
from problems import folds_of, overlapping
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_sample_weight

from fc7.classify.heads import penalised
from fc7.classify.heads.penalised import Logistic
from fc7.classify.heads.table import HEADS
from fc7.classify.solvers.eigenbasis import Eigenbasis


@pytest.mark.parametrize("name", ["logreg", "linear-svm"])
def test_problems_that_are_solved_in_turns_are_solved_the_same(name, monkeypatch):
    X, y = overlapping((40, 60), 3, 0)
    folds, points, told = folds_of(y), [{"C": C} for C in (0.1, 1, 10)], []
    together = HEADS[name].build(0).out_of_fold(Eigenbasis(X), y, folds, points)
    monkeypatch.setattr(penalised, "TOGETHER", 1)
    in_turns = HEADS[name].build(0).out_of_fold(Eigenbasis(X), y, folds, points, told.append)
    assert in_turns.scores == pytest.approx(together.scores, abs=4e-3)
    assert told == list(range(1, 10))


@pytest.mark.parametrize("weights", [None, "balanced", {0: 1000, 1: 1e-4, 2: 1e-4}])
def test_coefficients_of_softmax_sum_to_zero_and_are_the_optimum(weights):
    generator = np.random.default_rng(0)
    X, y = generator.standard_normal((90, 4)) * 20, np.arange(90) % 3
    head = Logistic(class_weight=weights).fit(X, y)
    assert head.n_iter_ < 60
    for coefficients in (head.coef_, head.intercept_):
        assert np.abs(coefficients.sum(axis=0)).max() < 1e-9 * np.abs(coefficients).max()
    row_weights = compute_sample_weight(weights, y)[:, None]
    residual = row_weights * (head.predict_proba(X) - (y[:, None] == np.arange(3)))
    gradient = residual.T @ X + head.coef_
    assert np.abs(gradient).max() < 1e-4 * np.abs(X.T * row_weights.T).sum(axis=1).max()
    assert np.abs(residual.sum(axis=0)).max() < 1e-4 * row_weights.sum()


@pytest.mark.parametrize("name", ["logreg", "linear-svm"])
def test_too_few_steps_are_said(name):
    X, y = overlapping((40, 60), 3, 0)
    head = HEADS[name].build(0).set_params(max_iter=2, C=100.0)
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        head.fit(X, y)
    assert not head.converged_
    found = head.out_of_fold(Eigenbasis(X), y, folds_of(y), [{"C": 1e-4}, {"C": 100.0}])
    assert found.unconverged.tolist() == [0, 3], "in all folds"
