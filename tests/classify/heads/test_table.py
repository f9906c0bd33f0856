"""Heads: the table, scores and temperatures; a calibrated head answers as the one inside it."""

import numpy as np
import pytest
from problems import NAMES, blobs
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

from fc7.classify.heads.calibration import scores
from fc7.classify.heads.table import HEADS, find_heads
from fc7.errors import UsageError


def test_the_table_holds_what_is_promised():
    promised = "logreg linear-svm rbf-svm ridge lda knn centroid gaussian-nb random-forest hist-gb mlp torch-linear"
    assert list(HEADS) == [*promised.split(), "classifier", "baseline"]
    assert all(head.name == name for name, head in HEADS.items())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", NAMES)
def test_every_point_of_every_grid_fits_and_scores(name):
    head, (X, y) = HEADS[name], blobs()
    for point in ParameterGrid(head.grid):
        estimator = head.build(0).set_params(**point)
        estimator = estimator.set_params(tol=1e-2) if name == "linear-svm" else estimator
        estimator.fit(X, y)
        found = scores(estimator, X)
        assert found.shape == (len(X), 3)
        assert np.isfinite(found).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_reaches_the_estimator(name):
    estimator = HEADS[name].build(7)
    seeds = [value for key, value in estimator.get_params().items() if key.endswith("random_state")]
    assert all(seed in (7, None) for seed in seeds)
    assert str(clone(estimator)) == str(estimator)


def test_names_are_found_and_the_baseline_is_always_there():
    assert [head.name for head in find_heads("all")] == list(HEADS)
    assert [head.name for head in find_heads("knn,ridge")] == ["knn", "ridge", "baseline"]
    assert [head.name for head in find_heads(["baseline", "knn", "knn"])] == ["baseline", "knn"]


@pytest.mark.parametrize("names", ["logrge", "", "knn,", ["knn", "all"], "knn,mpl"])
def test_an_unknown_head_is_refused_with_the_known_ones(names):
    with pytest.raises(UsageError, match="logreg, linear-svm, rbf-svm, ridge") as caught:
        find_heads(names)
    assert caught.value.exit_code == 2
