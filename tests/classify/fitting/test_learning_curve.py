"""Learning curves from the cache: the chosen run's, measured once, every point of one kind."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from fc7.classify import choose, compare, load_runs
from fc7.classify.fitting import learning_curve as module
from fc7.classify.fitting.fit import Experiment
from fc7.classify.fitting.learning_curve import CURVE_REPEATS, accuracy_by_size, measure_learning_curve
from fc7.classify.heads.table import HEADS
from fc7.classify.settings import FitSettings
from fc7.errors import DataError

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
    experiment = Experiment(embeddings, FitSettings(folds=2, **options))
    run = experiment.fit(HEADS[name]).run
    return measure_learning_curve(experiment, HEADS[name], run), run


@pytest.mark.parametrize("name", QUICK)
def test_it_grows_and_ends_with_the_smallest_class(table, name):
    curve, run = curve_of(table((40, 36), val=10, spread=2.0, dim=20), name)
    sizes = [point["per_class"] for point in curve]
    first = {"knn": -(-run.hyperparameters.get("n_neighbors", 0) // 2)}.get(name, 0)
    assert sizes == [size for size in (2, 5, 10, 20, 26) if size >= first]
    assert all(point["repeats"] == CURVE_REPEATS for point in curve)
    assert all(point["low"] - 1e-9 <= point["accuracy"] <= point["high"] + 1e-9 for point in curve)
    assert curve[0]["accuracy"] < curve[-1]["accuracy"] + 0.05


def test_the_last_point_is_of_the_same_kind(table):
    """Where classes are equal and there are no views it is the run; where they are not, it is balanced as all are."""
    curve, run = curve_of(table((30, 30), val=10, spread=3.0), "ridge")
    assert curve[-1]["accuracy"] == pytest.approx(run.metrics["accuracy"])
    unequal, run = curve_of(table((300, 40), val=20, spread=8.0), "ridge")
    assert unequal[-1]["per_class"] == 20
    views = table((30, 30), val=10, spread=3.0)
    noise = (views.vectors + np.float16(50) * np.random.default_rng(0).random(views.vectors.shape)).astype(np.float16)
    assert curve_of(replace(views, views=(noise,)), "centroid")[0][-1] == curve_of(views, "centroid")[0][-1]


def test_every_image_is_what_the_run_had(table, monkeypatch):
    """A subset of everything, prepared and fitted by the curve, answers as the run does."""
    experiment = Experiment(table((20, 20), val=6, spread=2.0), FitSettings(folds=2))
    run = experiment.fit(HEADS["logreg"]).run
    score = module._scorer(experiment, HEADS["logreg"], run, lambda done: None)
    assert score(np.arange(28)) == run.metrics["accuracy"]


def test_it_is_seeded(table):
    embeddings = table((30, 30), val=8, spread=3.0)
    assert curve_of(embeddings, "ridge")[0] == curve_of(embeddings, "ridge")[0]
    assert curve_of(embeddings, "ridge")[0] != curve_of(embeddings, "ridge", random_state=1)[0]


def test_order_and_names_of_images_decide_nothing(table):
    embeddings = table((30, 30), val=8, spread=3.0)
    order = np.random.default_rng(0).permutation(60)
    other = replace(embeddings, paths=embeddings.paths[::-1])[order]
    assert curve_of(embeddings, "logreg")[0] == curve_of(other, "logreg")[0]


def test_the_evaluated_images_are_never_drawn(table):
    embeddings = table((20, 20), val=8)
    poisoned = embeddings.vectors.copy()
    poisoned[embeddings.split == "test"] = np.inf
    split = embeddings.split.copy()
    split[:2] = "test"
    poisoned[:2] = np.nan
    assert curve_of(replace(embeddings, vectors=poisoned, split=split), "centroid")[0]


def test_the_smallest_class_bounds_the_subsets(table):
    curve, _ = curve_of(table((60, 14), val=6), "centroid")
    assert [point["per_class"] for point in curve] == [2, 5, 8]


def test_too_few_images_have_none(table):
    assert curve_of(table((6, 6), val=4), "centroid")[0] == []


def test_large_subsets_are_left_out(table, monkeypatch):
    monkeypatch.setattr(module, "FEW_ROWS", 20)
    curve, _ = curve_of(table((40, 40), val=8), "centroid")
    assert [point["per_class"] for point in curve] == [2, 5, 10]


def test_what_cannot_be_fitted_loses_the_curve_not_the_run(table, monkeypatch, caplog):
    experiment = Experiment(table(val=5), FitSettings(folds=2))
    run = experiment.fit(HEADS["ridge"]).run

    def singular(*given, **options):
        raise np.linalg.LinAlgError("x")

    monkeypatch.setattr(module, "accuracy_by_size", singular)
    assert measure_learning_curve(experiment, HEADS["ridge"], run) == []
    assert "no learning curve of made-up gap ridge: x" in caplog.text


def test_progress_is_told(table):
    told = []
    experiment = Experiment(table((20, 20), val=8), FitSettings(folds=2))
    run = experiment.fit(HEADS["centroid"]).run
    measure_learning_curve(experiment, HEADS["centroid"], run, progress=lambda *words: told.append(words))
    assert told[-1] == ("learning curve centroid", len(told), len(told))
    assert len(told) == 4 * CURVE_REPEATS


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


def test_learning_curve_draws_seeded_stratified_subsets():
    labels, drawn = np.array(list("aaaaaaaabbbbcccccc")), []

    def score(rows):
        drawn.append(tuple(rows))
        return len(rows) / 100

    curve = accuracy_by_size(score, labels, [1, 3, 9], repeats=4)
    assert [point["per_class"] for point in curve] == [1, 3]  # 9 is more than the 4 of b
    assert curve[1] == {"per_class": 3, "accuracy": pytest.approx(0.09), "low": 0.09, "high": 0.09, "repeats": 4}
    assert all(np.unique(labels[list(rows)], return_counts=True)[1].tolist() == [3] * 3 for rows in drawn[4:])
    assert len(set(drawn)) > 4
    first = drawn[4:]
    drawn.clear()
    accuracy_by_size(score, labels, [3], repeats=4)
    assert drawn == first  # other sizes change nothing


def test_learning_curve_bands_are_percentiles():
    scores = iter(np.linspace(0, 1, 21))
    (point,) = accuracy_by_size(lambda rows: float(next(scores)), np.arange(6) % 2, [2], repeats=21)
    assert (point["accuracy"], point["low"], point["high"]) == pytest.approx((0.5, 0.05, 0.95))


def test_learning_curve_of_too_small_classes_says_the_counts():
    with pytest.raises(DataError, match=r"\[5, 10\].*smallest class has 2"):
        accuracy_by_size(lambda rows: 1.0, np.arange(4) % 2, [5, 10])


def test_whole_groups_are_drawn(table):
    labels, groups = np.arange(80) % 2, np.arange(80) // 8
    drawn = []
    accuracy_by_size(lambda rows: drawn.append(rows) or 0.5, labels, [4, 10], repeats=5, groups=groups)
    for rows in drawn[:5]:
        assert len(set(groups[rows])) == 1, "four of a class are in one group, and the classes take the same"
    for rows in drawn[5:]:
        assert len(set(groups[rows])) == 3
        assert np.bincount(labels[rows]).tolist() == [10, 10]
    alone, each = [], []
    accuracy_by_size(lambda rows: alone.append(rows) or 0.5, labels, [4], groups=np.arange(80))
    accuracy_by_size(lambda rows: each.append(rows) or 0.5, labels, [4])
    assert np.array_equal(alone, each)
