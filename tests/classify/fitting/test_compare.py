"""Compare: one protocol for all heads, records as they are made, and nothing done twice."""

import hashlib
import json
import logging
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OutputCodeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, NuSVC
from sklearn.tree import DecisionTreeClassifier

from fc7.cache.recipe import ForeignRecipe
from fc7.classify import Run, choose, compare, fit, load_runs
from fc7.classify import compare as compare_function
from fc7.classify.fitting.fit import Experiment
from fc7.classify.heads.table import Head
from fc7.classify.records.failures import FILE, read_failures
from fc7.errors import DataError, Interrupted, LeakageError, UsageError

FAST = ("ridge", "centroid")


@pytest.fixture
def fits(monkeypatch):
    """Count the heads that are fitted."""
    made, fit = [], Experiment.fit

    def counted(self, head, **options):
        made.append((self.embeddings.recipe.layer, head.name))
        return fit(self, head, **options)

    monkeypatch.setattr(Experiment, "fit", counted)
    return made


def test_all_heads_with_the_baseline_on_the_same_images(table):
    runs = compare(table((20, 20), val=8), folds=2, epochs=2)
    heads = {"logreg", "linear-svm", "ridge", "lda", "knn", "centroid", "torch-linear", "baseline"}
    assert heads <= {run.head for run in runs}
    assert all(run.metrics["n"] == 16 for run in runs)
    assert len({tuple(run.predictions["path"]) for run in runs}) == 1
    assert len({run.id for run in runs}) == len(runs)
    (prior,) = (run for run in runs if run.head == "baseline")
    assert prior.metrics["accuracy"] == 0.5


@pytest.mark.parametrize("heads", ["ridge", ["ridge"], ("ridge", "baseline")])
def test_the_baseline_is_always_there(table, heads):
    assert {run.head for run in compare(table(val=5), heads)} == {"ridge", "baseline"}


def test_the_order_is_that_of_the_loss_inside_the_fitted_images(table):
    runs = compare(table((20, 20), val=8, spread=3.0), [*FAST, "knn"], folds=2)
    losses = [run.selection["log_loss"] for run in runs]
    assert losses == sorted(losses)
    first = next(run for run in runs if run.head != "baseline")
    assert choose(runs) is choose(runs[::-1]) is first


def test_the_order_does_not_look_at_the_evaluated_images(table):
    embeddings = table((20, 20), val=8, spread=3.0)
    evaluated = embeddings.split == "val"
    labels = embeddings.labels.copy()
    labels[evaluated] = labels[evaluated][::-1]
    one, two = (compare(data, [*FAST, "knn"], folds=2) for data in (embeddings, replace(embeddings, labels=labels)))
    assert [run.head for run in one] == [run.head for run in two]
    assert [run.metrics for run in one] != [run.metrics for run in two]


def test_records_are_written_and_read_back_instead_of_fitted_again(table, tmp_path, fits):
    embeddings = table(val=5)
    first = compare(embeddings, FAST, folder=tmp_path)
    assert sorted(head for _, head in fits) == ["baseline", "centroid", "ridge"]
    assert {path.name for path in tmp_path.glob("*.json")} == {f"{run.id[:16]}.json" for run in first}
    assert sorted(run.head for run in load_runs(tmp_path)) == ["baseline", "centroid", "ridge"]
    fits.clear()
    assert compare(embeddings, FAST, folder=tmp_path) == first
    assert fits == []
    more = compare(embeddings[np.arange(len(embeddings))[::-1]], [*FAST, "knn"], folder=tmp_path, folds=None)
    assert fits == [("gap", "knn")], "what is new is fitted, whatever the order of rows"
    assert len(more) == 4


def test_a_head_of_ones_own_is_fitted_again_when_its_code_has_changed(table, tmp_path, fits):
    def head(depth):
        return Head("mine", lambda seed: DecisionTreeClassifier(max_depth=depth, random_state=seed))

    rows = table((12, 12), val=6, spread=2.0)
    for depth in (1, 5, 5):
        compare(rows, [head(depth)], folder=tmp_path)
    assert [name for _, name in fits] == ["mine", "baseline", "mine"]


def test_changed_vectors_of_a_recipe_are_fitted_again_and_not_beside_the_others(table, tmp_path, fits):
    rows = table((12, 12), val=6, spread=2.0)
    changed = replace(rows, vectors=rows.vectors[:, ::-1] ** 2)
    before = compare(rows, ["ridge"], folder=tmp_path)
    after = compare(changed, ["ridge"], folder=tmp_path)
    assert len(fits) == 4
    fresh = [run.metrics for run in compare(changed, ["ridge"])]
    assert [run.metrics for run in after] == fresh != [run.metrics for run in before]
    with pytest.raises(UsageError, match=r"Two tables have the recipe of .*, and other vectors"):
        compare([rows, changed], ["ridge"])
    own = replace(changed, recipe=ForeignRecipe("squared", rows.recipe.dim, "squared"))
    assert len({run.id for run in compare([rows, own], ["ridge"])}) == 4


def test_an_estimator_that_writes_into_its_rows_changes_them_for_no_other(table):
    rows = table((20, 20), val=6, spread=3.0, dtype="float32")
    writing = make_pipeline(StandardScaler(copy=False), GaussianNB())
    alone, beside = (
        next(run for run in compare(rows, heads) if run.head == "ridge") for heads in (["ridge"], [writing, "ridge"])
    )
    assert (beside.metrics, beside.selection) == (alone.metrics, alone.selection)


def test_a_head_that_is_called_like_one_of_the_table_gets_no_learning_curve_of_that(table):
    rows = table((12, 12), val=6, spread=2.0)
    own = Head("ridge", lambda seed: DecisionTreeClassifier(max_depth=1, random_state=seed))
    (run,) = (run for run in compare(rows, [own]) if run.head == "ridge")
    assert run.learning_curve == []


def test_a_record_follows_the_names_of_its_files_and_so_do_predictions_from_elsewhere(table, tmp_path, fits):
    before = table((14, 14), val=4)
    compare(before, ["centroid"], folder=tmp_path, learning_curve=False)
    evaluated = np.flatnonzero(before.split == "val")
    paths = before.paths.copy()
    paths[evaluated] = paths[evaluated[::-1]]  # the same names, each of another image
    renamed = replace(before, paths=paths)
    done, theirs = len(fits), tmp_path / "theirs.csv"
    theirs.write_text("path,predicted\n" + "".join(f"{paths[row]},{before.labels[row]}\n" for row in evaluated))
    runs = compare(renamed, ["centroid"], folder=tmp_path, learning_curve=False, add={"theirs": theirs})
    assert len(fits) == done  # it is the same run
    assert runs[-1].metrics["correct"] == len(evaluated)
    written = {run.id: run for run in load_runs(tmp_path)}
    named = {key.hex()[:16]: str(path) for key, path in zip(renamed.keys, renamed.paths, strict=True)}
    for run in runs:
        assert all(named[key] == path for key, path in run.paths.items())
        assert written[run.id].paths == run.paths


def test_without_a_folder_nothing_is_remembered(table, fits):
    embeddings = table(val=5)
    assert compare(embeddings, "centroid")[0].metrics == compare(embeddings, "centroid")[0].metrics
    assert len(fits) == 4


@pytest.mark.parametrize("change", [{"random_state": 1}, {"folds": 3}])
def test_another_protocol_is_another_run(table, tmp_path, fits, change):
    compare(table(val=5), "centroid", folder=tmp_path)
    fits.clear()
    compare(table(val=5), "centroid", folder=tmp_path, **change)
    assert len(fits) == 2


def test_other_data_are_other_runs(table, tmp_path, fits):
    compare(table(val=5), "centroid", folder=tmp_path)
    fits.clear()
    compare(table(val=6), "centroid", folder=tmp_path)
    assert len(fits) == 2
    assert len(list(tmp_path.glob("*.json"))) == 4


def test_what_was_finished_before_an_interrupt_stays(table, tmp_path, fits, monkeypatch):
    fit = Experiment.fit

    def interrupted(self, head, **options):
        if head.name == "knn":
            raise KeyboardInterrupt
        return fit(self, head, **options)

    monkeypatch.setattr(Experiment, "fit", interrupted)
    with pytest.raises(Interrupted, match=f"{tmp_path} keeps 1 of 3 runs. The same command goes on"):
        compare(table((40, 40), val=5), ["ridge", "knn"], folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        compare(table((40, 40), val=5), ["ridge", "knn"])
    monkeypatch.setattr(Experiment, "fit", fit)
    fits.clear()
    compare(table((40, 40), val=5), ["ridge", "knn"], folder=tmp_path)
    assert fits == [("gap", "knn"), ("gap", "baseline")]


def test_what_was_interrupted_has_its_pictures(table, tmp_path, monkeypatch):
    embeddings = table(val=5)
    for place, path in enumerate(embeddings.paths):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (place, 0, 0)).save(tmp_path / path)
    data = [(tmp_path / path).read_bytes() for path in embeddings.paths]
    keys = np.array([list(hashlib.sha256(text).digest()) for text in data], np.uint8)
    monkeypatch.setattr(Experiment, "fit", interrupt)
    with pytest.raises(Interrupted, match="0 of 2"):
        compare(replace(embeddings, sha256=keys), "ridge", folder=tmp_path / "runs", images=tmp_path)
    assert len(list((tmp_path / "runs" / "thumbnails").glob("*.jpg"))) == 10


def interrupt(*words, **options):
    raise KeyboardInterrupt


# Heads that cannot


def test_a_head_that_cannot_be_fitted_is_a_line_with_its_reason(table, tmp_path):
    runs = compare(table((4, 4), val=2), ["ridge", "lda", "knn"], folder=tmp_path)
    assert sorted(run.head for run in runs) == ["baseline", "knn", "ridge"]
    (failure,) = runs.failures
    assert (failure.name, failure.head) == ("made-up gap lda", "lda")
    assert "no class has two rows that differ" in failure.reason
    assert read_failures(tmp_path) == [failure]
    assert failure.id not in {run.id for run in load_runs(tmp_path)}
    assert compare(table((4, 4), val=2), "ridge", folder=tmp_path).failures == []
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("error", [RuntimeError("no"), TypeError("no"), MemoryError()])
def test_whatever_an_estimator_raises_the_others_are_fitted(table, error):
    class Broken(DecisionTreeClassifier):
        def fit(self, X, y):
            raise error

    runs = compare(table(val=5), [Head("broken", lambda seed: Broken()), "ridge"])
    assert {run.head for run in runs} == {"ridge", "baseline"}
    assert runs.failures[0].reason


class Reversed(DecisionTreeClassifier):
    """Its columns are those of its classes_, the last class first."""

    def fit(self, X, y):
        super().fit(X, y)
        self.classes_ = self.classes_[::-1]
        return self

    def predict_proba(self, X):
        return super().predict_proba(X)[:, ::-1]


class Failing(DecisionTreeClassifier):
    def predict_proba(self, X):
        raise RuntimeError("no luck")


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        (SVC(decision_function_shape="ovo"), "get another answer by its predict than by its largest score"),
        (NuSVC(decision_function_shape="ovo", nu=0.2), "A score for each class is needed"),
        (Reversed(), "has the classes_ 2, 1, 0: all are needed, the least first"),
        (Failing(), "gives no scores of classes: no luck"),
        (OutputCodeClassifier(GaussianNB()), "gives no scores of classes: .* has no attribute 'predict_proba'"),
    ],
)
def test_an_estimator_without_a_score_for_each_class_is_a_line_too(table, estimator, said):
    runs = compare(table((12, 12, 12), val=4), [estimator, "ridge"])
    assert {run.head for run in runs} == {"ridge", "baseline"}
    assert re.search(said, runs.failures[0].reason)


def test_answers_that_are_not_those_of_the_largest_score_are_said(table, caplog):
    tuned = FixedThresholdClassifier(LogisticRegression(), threshold=0.8)
    rows = table((20, 20), val=8, spread=3.0)
    fit(rows, LogisticRegression())
    assert not caplog.records
    fit(rows, tuned)
    assert re.search("FixedThresholdClassifier: of 24 fitted images [0-9]+ get another answer", caplog.text)


def test_where_no_head_can_be_fitted_the_first_reason_is_said(table, tmp_path):
    with pytest.raises(DataError, match=r"No head could be fitted\. made-up gap lda: .* there is no spread"):
        compare(table((4, 4), val=2), "lda", folder=tmp_path)


def test_a_damaged_file_of_failures_is_left_out_with_a_warning(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("fc7"), "propagate", True)
    (tmp_path / FILE).write_text('{"id": 1}\n[')
    assert read_failures(tmp_path) == []
    assert "left out" in caplog.text


def test_a_damaged_record_is_said_and_made_again(table, tmp_path, fits, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("fc7"), "propagate", True)
    run = compare(table(val=5), "centroid", folder=tmp_path)[0]
    path = tmp_path / f"{run.id[:16]}.json"
    path.write_text(path.read_text()[:100])
    fits.clear()
    again = compare(table(val=5), "centroid", folder=tmp_path)
    assert path.name in caplog.text
    assert len(fits) == 1
    assert [one.metrics for one in again if one.id == run.id] == [run.metrics]
    assert Run.load(path).metrics == run.metrics


def test_several_embeddings_of_the_same_images(table, tmp_path):
    runs = compare([table(val=5), table(val=5, layer="fc7", dim=30)], "ridge", folder=tmp_path)
    assert sorted((run.recipe["layer"], run.head) for run in runs) == [
        ("fc7", "baseline"), ("fc7", "ridge"), ("gap", "baseline"), ("gap", "ridge"),
    ]  # fmt: skip
    assert len(list(tmp_path.glob("*.json"))) == 4


def test_the_order_of_rows_may_differ_between_embeddings(table):
    other = table(val=5, layer="fc7")[np.random.default_rng(0).permutation(40)]
    assert len(compare([table(val=5), other], "centroid")) == 4


@pytest.mark.parametrize("rows", [np.arange(39), np.arange(1, 40)])
def test_embeddings_of_other_images_are_refused_with_the_sizes(table, tmp_path, rows):
    with pytest.raises(DataError, match=r"not of the same images: made-up gap 40, made-up fc7 39\."):
        compare([table(val=5), table(val=5, layer="fc7")[rows]], "centroid", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_labels_of_the_same_images_are_refused(table):
    other = table(val=5, layer="fc7")
    with pytest.raises(DataError, match="not of the same images"):
        compare([table(val=5), replace(other, labels=other.labels[::-1])], "centroid")


def test_nothing_is_fitted_before_everything_is_checked(table, fits):
    keys = list(range(40))
    keys[19] = keys[0]
    with pytest.raises(UsageError):
        compare(table(val=5), "ridge,nonsense")
    with pytest.raises(LeakageError):
        compare(table(val=5, keys=keys), "ridge")
    assert fits == []
    assert {run.head for run in compare(table(val=5, keys=keys), "ridge", allow_leakage=True)} == {"ridge", "baseline"}


def test_the_records_of_cross_validation(table, tmp_path):
    runs = compare(table((15, 15)), FAST, folder=tmp_path)
    assert all(run.metrics["n"] == 30 for run in runs)
    assert all(json.loads(path.read_text())["data"]["n_eval"] == 30 for path in tmp_path.glob("*.json"))


def test_the_door_offers_the_function():
    assert callable(compare_function)
    assert compare_function.__module__ == "fc7.classify.fitting.compare"
