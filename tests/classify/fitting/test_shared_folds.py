"""Folds that searches share: the outer folds are the inner ones, and one fit answers two searches, to the bit."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from fc7.classify import fit
from fc7.classify.fitting import search as module
from fc7.classify.fitting.fit import Experiment
from fc7.classify.heads.table import HEADS, Head
from fc7.classify.settings import FitSettings

TREE = Head(
    "tree",
    lambda seed: DecisionTreeClassifier(random_state=seed),
    {"max_depth": [2, 1]},
    ladders={"max_depth": [1, 2, 3, 4, 5, 6, 7, 8]},
)


@pytest.fixture
def fits(monkeypatch):
    """Return how many images were fitted on, fit by fit."""
    sizes, quietly = [], module.quietly
    monkeypatch.setattr(
        module,
        "quietly",
        lambda fit, estimator, images, *rest: (sizes.append(images), quietly(fit, estimator, images, *rest))[1],
    )
    return sizes


def alone(embeddings, head):
    """Return the run of an experiment in which no search takes the fits of another."""
    experiment = Experiment(embeddings)
    experiment._shared.fits = False
    return experiment.fit(head).run


@pytest.mark.parametrize("views", [0, 1])
@pytest.mark.parametrize("jobs", [None, 2])
def test_shared_fits_are_those_of_searches_alone(table, views, jobs):
    embeddings = table((30, 40, 35), spread=4.0)
    embeddings = replace(embeddings, views=(embeddings.vectors + np.float16(0.25),) * views)
    one, other = fit(embeddings, TREE, n_jobs=jobs).run, alone(embeddings, TREE)
    assert one.folds == other.folds
    assert len({fold["hyperparameters"]["max_depth"] for fold in one.folds}) > 1, "or this shows little"
    assert one.selection == other.selection
    assert one.hyperparameters == other.hyperparameters
    assert np.array_equal(one.probabilities.matrix(), other.probabilities.matrix())


def test_five_folds_take_sixteen_fits(table, fits):
    embeddings = table((20, 30))
    plain = Head("plain", lambda seed: LogisticRegression())
    fit(embeddings, plain)
    assert sorted(fits) == [30] * 10 + [40] * 5 + [50]
    fits.clear()
    alone(embeddings, plain)
    assert sorted(fits) == [30] * 20 + [40] * 10 + [50]


def test_a_second_head_of_the_same_name_is_fitted_anew(table):
    """Its grid begins elsewhere, so that the first leaves scores behind that nobody asked for."""
    embeddings, later = (
        table((30, 30), spread=4.0),
        replace(TREE, build=lambda seed: LogisticRegression(C=1e-3), grid={}),
    )
    experiment = Experiment(embeddings)
    experiment.fit(TREE)
    assert experiment.fit(later).run.folds == fit(embeddings, later).run.folds


@pytest.mark.parametrize("head", [HEADS["ridge"], HEADS["knn"], TREE], ids=lambda head: head.name)
@pytest.mark.parametrize("preparation", ["unit", "standard"])
def test_no_choice_sees_its_outer_fold(table, head, preparation):
    embeddings = table((30, 30), spread=4.0)
    first, second = (Experiment(embeddings, FitSettings(preparation=preparation)) for _ in range(2))
    for fold in range(5):
        held = second.protocol.pairs[fold][1]
        vectors, labels = second.embeddings.vectors.copy(), second.embeddings.labels.copy()
        vectors[held], labels[held] = -3 * vectors[held][::-1], labels[held][::-1]
        changed = Experiment(replace(second.embeddings, vectors=vectors, labels=labels), second.settings)
        changed.protocol = second.protocol
        chosen, again = (one._searches[fold].search(head, lambda done: None) for one in (first, changed))
        assert chosen.hyperparameters == again.hyperparameters
        assert np.array_equal(chosen.scores, again.scores)


def test_inner_folds_are_the_other_outer_ones(table):
    experiment = Experiment(table((20, 20), group=[f"g{row // 2}" for row in range(40)]))
    pairs, searches = experiment.protocol.pairs, experiment._searches
    for number, search in enumerate(searches):
        held = [search.fitted[fold.held] for fold in search.folds]
        expected = [rows for other, (_, rows) in enumerate(pairs) if other != number]
        assert all(np.array_equal(one, other) for one, other in zip(held, expected, strict=True))
        assert all(
            np.array_equal(np.sort(np.concatenate([f.fitted, f.held])), np.arange(len(search.fitted)))
            for f in search.folds
        )
    assert [fold["inner_folds"] for fold in experiment.fit(HEADS["ridge"]).run.folds] == [4] * 5


@pytest.mark.parametrize(
    "settings", [FitSettings(folds=3, cross_validate=5), FitSettings(cross_validate=10), FitSettings(cross_validate=2)]
)
def test_other_folds_are_cut_where_they_are_asked_for(table, settings):
    experiment = Experiment(table((24, 24)), settings)
    assert experiment._shared is None
    assert {len(search.folds) for search in experiment._searches[:-1]} == {
        settings.folds or min(settings.cross_validate, 5)
    }


def test_other_folds_are_cut_where_a_class_is_in_two(table):
    """Two groups of one class are in two outer folds, which cannot be left out together."""
    groups = [f"a{row // 3}" for row in range(12)] + [f"b{row // 6}" for row in range(12)]
    experiment = Experiment(table((12, 12), group=groups), FitSettings(cross_validate=3))
    assert experiment._shared is None


def test_a_split_shares_nothing(table):
    experiment = Experiment(table((12, 12), val=4))
    assert experiment._shared is None
    assert len(experiment._searches[0].folds) == 5
