"""Several processes give what one gives, and any scikit-learn classifier is a head."""

import os

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import BernoulliNB

from fc7.classify import compare, fit
from fc7.classify.fitting.parallel import run
from fc7.classify.heads.table import Head
from fc7.errors import UsageError

HEADS = ["logreg", "random-forest"]


def test_processes_share_the_cores_and_the_matrix(semaphores):
    def threads(number):
        from threadpoolctl import threadpool_info

        return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), number

    def kind(matrix, number):
        return type(matrix).__name__, float(matrix[number, 0])

    found = list(run(threads, [(0,), (1,), (2,)], 2))
    assert [number for _, number in found] == [0, 1, 2]
    assert max(threads for threads, _ in found) <= max((os.cpu_count() or 1) // 2, 1)
    matrix = np.arange(2_000_000.0).reshape(-1, 2)
    assert list(run(kind, [(matrix, 3), (matrix, 5)], 2)) == [("memmap", 6.0), ("memmap", 10.0)]


def test_heads_fitted_in_processes_are_those_of_one(table, tmp_path):
    told = []
    embeddings = table((40, 40), val=16)
    alone = compare(embeddings, HEADS)
    shared = compare(embeddings, HEADS, folder=tmp_path, n_jobs=2, progress=lambda *said: told.append(said))
    assert [one.id for one in alone] == [one.id for one in shared]
    for one, other in zip(alone, shared, strict=True):
        assert one.hyperparameters == other.hyperparameters
        assert np.array(one.probabilities.matrix()) == pytest.approx(np.array(other.probabilities.matrix()))
    assert ("fit heads", 3, 3) in told
    assert [one.id for one in compare(embeddings, HEADS, folder=tmp_path, n_jobs=2)] == [one.id for one in shared]


def test_points_and_folds_of_one_head_are_shared_out(table):
    embeddings = table((40, 40), val=16)
    one, other = (fit(embeddings, "mlp", n_jobs=n).run for n in (1, 2))
    assert one.hyperparameters == other.hyperparameters
    assert one.selection["log_loss"] == pytest.approx(other.selection["log_loss"])


def test_a_classifier_of_the_users_is_a_head(table):
    runs = compare(table((40, 40), val=16), ["logreg", BernoulliNB(), ExtraTreesClassifier(30)])
    assert {run.head for run in runs} == {"logreg", "BernoulliNB", "ExtraTreesClassifier", "baseline"}
    trees = next(run for run in runs if run.head == "ExtraTreesClassifier")
    assert trees.metrics["accuracy"] > 0.9
    assert fit(table((40, 40), val=16), ExtraTreesClassifier(30)).run.probabilities == trees.probabilities
    assert fit(table((40, 40), val=16), ExtraTreesClassifier(31)).run.id != trees.id


def test_a_search_or_a_head_with_a_grid_of_the_users_is_a_head(table):
    search = GridSearchCV(BernoulliNB(), {"alpha": [0.1, 1.0]}, cv=3)
    assert fit(table((40, 40), val=16), search).run.metrics["accuracy"] > 0.5
    head = Head("trees", lambda seed: ExtraTreesClassifier(20, random_state=seed), {"max_depth": [1, 5]})
    assert fit(table((40, 40), val=16), head).run.hyperparameters["max_depth"] in (1, 5)


def test_every_image_is_predicted_once_whatever_its_split(table):
    embeddings = table((40, 40), val=16)
    run = fit(embeddings, "logreg", cross_validate=10).run
    assert run.metrics["n"] == len(embeddings)
    assert run.data["evaluated"] == "10-fold cross-validation"
    assert run.selection["folds"] == 5
    assert run.id != fit(embeddings, "logreg").run.id


@pytest.mark.parametrize(
    ("options", "said"), [({"cross_validate": 1}, "two or more"), ({"cross_validate": 5, "on": "val"}, "give one")]
)
def test_wrong_ways_to_cross_validate_are_refused(table, options, said):
    with pytest.raises(UsageError, match=said):
        fit(table((40, 40), val=16), "logreg", **options)
