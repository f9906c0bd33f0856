"""Learning curves from the cache: the chosen run's, measured once, ending in the run itself."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from fc7.classify import choose, compare, load_runs
from fc7.classify.fitting import learning_curve as module
from fc7.classify.fitting.fit import Experiment
from fc7.classify.fitting.learning_curve import CURVE_REPEATS, measure_learning_curve
from fc7.classify.heads.table import HEADS

QUICK = ("logreg", "linear-svm", "ridge", "lda", "knn", "centroid")


@pytest.fixture
def curves(monkeypatch):
    """Count the curves that are measured."""
    made = []

    def counted(experiment, head, run, **options):
        made.append(head.name)
        return measure_learning_curve(experiment, head, run, **options)

    monkeypatch.setattr("fc7.classify.fitting.compare.measure_learning_curve", counted)
    return made


def curve_of(embeddings, name, **options):
    bench = Experiment(embeddings, folds=2, **options)
    run = bench.fit(HEADS[name]).run
    return measure_learning_curve(bench, HEADS[name], run), run


@pytest.mark.parametrize("name", QUICK)
def test_it_grows_and_ends_in_the_run_itself(table, name):
    curve, run = curve_of(table((40, 36), val=10, spread=2.0, dim=20), name)
    sizes = [point["per_class"] for point in curve]
    first = {"knn": -(-run.hyperparameters.get("n_neighbors", 0) // 2)}.get(name, 0)
    assert sizes == [size for size in (2, 5, 10, 20) if size >= first] + [28]
    assert curve[-1] == {"per_class": 28, "repeats": 1} | dict.fromkeys(
        ("accuracy", "low", "high"), run.metrics["accuracy"]
    )
    assert all(point["repeats"] == CURVE_REPEATS for point in curve[:-1])
    assert all(point["low"] <= point["accuracy"] <= point["high"] for point in curve)
    assert curve[0]["accuracy"] < curve[-1]["accuracy"] + 0.05


def test_every_image_is_what_the_run_had(table, monkeypatch):
    """A subset of everything, prepared and fitted by the curve, answers as the run does."""
    bench = Experiment(table((20, 20), val=6, spread=2.0), folds=2)
    run = bench.fit(HEADS["logreg"]).run
    score = module._scorer(bench, HEADS["logreg"], run, lambda done: None)
    assert score(np.arange(28)) == run.metrics["accuracy"]


def test_it_is_seeded(table):
    embeddings = table((30, 30), val=8, spread=3.0)
    assert curve_of(embeddings, "ridge")[0] == curve_of(embeddings, "ridge")[0]
    assert curve_of(embeddings, "ridge")[0] != curve_of(embeddings, "ridge", random_state=1)[0]


def test_the_evaluated_images_are_never_drawn(table):
    embeddings = table((20, 20), val=8)
    poisoned = embeddings.vectors.copy()
    poisoned[embeddings.split == "test"] = np.inf
    split = embeddings.split.copy()
    split[:2] = "test"
    poisoned[:2] = np.nan
    assert curve_of(replace(embeddings, vectors=poisoned, split=split), "centroid")[0]


def test_the_smallest_class_bounds_the_subsets_not_the_last_point(table):
    curve, _ = curve_of(table((60, 14), val=6), "centroid")
    assert [point["per_class"] for point in curve] == [2, 5, (54 + 8) / 2]


def test_too_few_images_have_none(table):
    assert curve_of(table((6, 6), val=4), "centroid")[0] == []


def test_large_subsets_are_left_out(table, monkeypatch):
    monkeypatch.setattr(module, "FEW_ROWS", 20)
    curve, _ = curve_of(table((40, 40), val=8), "centroid")
    assert [point["per_class"] for point in curve] == [2, 5, 10, 32]


def test_what_cannot_be_fitted_loses_the_curve_not_the_run(table, monkeypatch, caplog):
    bench = Experiment(table(val=5), folds=2)
    run = bench.fit(HEADS["ridge"]).run

    def singular(*given, **options):
        raise np.linalg.LinAlgError("x")

    monkeypatch.setattr(module, "accuracy_by_size", singular)
    assert measure_learning_curve(bench, HEADS["ridge"], run) == []
    assert "no learning curve of made-up gap ridge: x" in caplog.text


def test_progress_is_told(table):
    told = []
    bench = Experiment(table((20, 20), val=8), folds=2)
    run = bench.fit(HEADS["centroid"]).run
    measure_learning_curve(bench, HEADS["centroid"], run, progress=lambda *words: told.append(words))
    assert told[-1] == ("learning curve centroid", len(told), len(told))
    assert len(told) == 3 * CURVE_REPEATS


# In compare


def test_the_chosen_run_has_one_in_its_record_and_it_is_not_measured_again(table, tmp_path, curves):
    runs = compare(table((20, 20), val=6), ["ridge", "centroid"], folds=2, folder=tmp_path)
    chosen = choose(runs)
    assert [bool(run.learning_curve) for run in runs] == [run is chosen for run in runs]
    assert curves == [chosen.head]
    assert {run.head: bool(run.learning_curve) for run in load_runs(tmp_path)} == {
        run.head: bool(run.learning_curve) for run in runs
    }
    assert compare(table((20, 20), val=6), ["ridge", "centroid"], folds=2, folder=tmp_path) == runs
    assert len(curves) == 1


def test_it_can_be_left_out_and_made_later(table, tmp_path, curves):
    assert not any(run.learning_curve for run in compare(table(val=6), "ridge", folder=tmp_path, learning_curve=False))
    assert curves == []
    assert choose(compare(table(val=6), "ridge", folder=tmp_path)).learning_curve
    values = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert sorted(bool(one["learning_curve"]) for one in values) == [False, True]


@pytest.mark.parametrize(
    ("options", "why"), [({}, "cross-validated"), ({"val": 6}, "epochs")], ids=["no split", "epochs"]
)
def test_where_there_is_none_the_log_says_why(table, curves, caplog, options, why):
    with caplog.at_level(logging.DEBUG, "fc7"):
        runs = compare(table((12, 12), **options), "torch-linear", epochs=1, folds=2)
    assert curves == []
    assert not any(run.learning_curve for run in runs)
    assert why in caplog.text
