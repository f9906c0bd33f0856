"""The RBF machine predicts as scikit-learn's with broken ties, from margins that a temperature can calibrate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import folds_of, overlapping, unit_blobs
from scipy.special import softmax
from sklearn.svm import SVC

from fc7.classify.evaluation.metrics import measure
from fc7.classify.heads.calibration import find_temperature, scores
from fc7.classify.heads.rbf_svm import RbfSVM
from fc7.classify.solvers.eigenbasis import Eigenbasis


@settings(max_examples=12, deadline=None)
@given(st.integers(2, 8), st.integers(0, 10_000))
def test_it_predicts_as_scikit_learn_with_broken_ties(classes, seed):
    X, y = overlapping((60, 20), classes, seed)
    new, _ = overlapping((60, 20), classes, seed + 1)
    ours, theirs = RbfSVM(30.0, 3.0).fit(X, y), SVC(C=30.0, gamma=3.0, break_ties=True).fit(X, y)
    assert np.array_equal(ours.predict(new), theirs.predict(new))
    assert np.array_equal(scores(ours, new).argmax(axis=1), ours.predict(new)), "calibrated, it answers the same"


@settings(max_examples=12, deadline=None)
@given(st.integers(3, 6), st.integers(0, 10_000))
def test_a_score_is_the_margin_over_the_strongest_rival(classes, seed):
    X, y = overlapping((60, 20), classes, seed)
    ours = RbfSVM(30.0, 3.0, tol=1e-8).fit(X, y)
    pairs = SVC(C=30.0, gamma=3.0, tol=1e-8, decision_function_shape="ovo").fit(X, y).decision_function(X)
    margins = np.full((len(X), classes, classes), np.inf)
    margins[:, *np.triu_indices(classes, 1)] = pairs
    lower = np.triu_indices(classes, 1)[::-1]
    margins[:, *lower] = -pairs
    expected, found = margins.min(axis=2), scores(ours, X)
    assert np.sort(found, axis=1) == pytest.approx(np.sort(expected, axis=1), abs=1e-5)
    wins_all = expected.max(axis=1) > 1e-6
    assert wins_all.any()
    assert found[wins_all] == pytest.approx(expected[wins_all], abs=1e-5)


def test_many_classes_are_calibrated():
    """The votes of pairs had a calibration error of 0.26 with 50 classes."""
    X, y = unit_blobs(50, 500, 40, spread=0.9)
    out = RbfSVM(3.0, 1.0).out_of_fold(Eigenbasis(X), y, folds_of(y), [{}]).scores[0]
    temperature, _ = find_temperature(out, y)
    found = measure(y, softmax(out / temperature, axis=1))
    assert found.accuracy > 0.5
    assert found.calibration_error < 0.1
