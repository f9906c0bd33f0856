"""Run records: a round trip through JSON, ids and fingerprints, and files that are no records."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fc7.cache.output_file import OutputFile
from fc7.classify import fit
from fc7.classify.evaluation.metrics import worth
from fc7.classify.records.runs import RECORD, Run, by_images, fingerprint, finished_run, run_id
from fc7.classify.records.table import load_runs
from fc7.classify.reports.report import report
from fc7.errors import DataError

NAMES = ("logreg", "linear-svm", "ridge", "lda", "knn", "centroid", "torch-linear", "baseline")  # fit any embedding


@pytest.mark.parametrize("name", NAMES)
def test_a_record_comes_back_as_it_was(table, tmp_path, name):
    run = fit(table((20, 20), val=6), name, folds=2, epochs=2).run
    path = run.save(tmp_path / "new" / "folder")
    assert path.name == f"{run.id[:16]}.json"
    files = sorted(entry.name for entry in path.parent.iterdir())
    assert files == [path.name, path.with_suffix(".npz").name], "no temporary file stays"
    assert Run.load(path) == run
    assert np.array_equal(Run.load(path).right, run.right)
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_record_of_words_that_utf8_cannot_hold(table, made_up, tmp_path):
    run = made_up([True, False], paths=["a\udcff.jpg", "b\n\x1b[31m.jpg"])
    assert Run.load(run.save(tmp_path)) == run


def test_what_is_not_a_number_is_never_written(made_up, tmp_path):
    run = replace(made_up([True, False]), seconds={"fit": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        run.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_row_for_json(made_up):
    row = made_up([True, True, False], seconds={"fit": 2.0, "predict": 1.0}).summary()
    assert {"head", "accuracy", "n", "interval", "log_loss", "seconds_fit", "hyperparameters"} <= row.keys()
    assert (row["n"], row["seconds_fit"], row["head"]) == (3, 2.0, "logreg")
    arm = made_up([True], trainable="all").summary()
    assert arm["trainable"] == "all"
    assert "head" not in arm


def test_names(made_up):
    assert made_up([True]).name == "vgg16 fc7 logreg"
    assert made_up([True], trainable="all").name == "vgg16 finetune all"


def test_right_is_where_the_largest_probability_is(made_up):
    right = np.array([True, False, False, True, True])
    assert np.array_equal(made_up(right).right, right)


def test_all_records_of_a_folder_the_best_first(made_up, tmp_path):
    runs = [made_up([True] * good + [False] * (10 - good), head=f"h{good}") for good in (7, 9, 8)]
    for run in runs:
        run.save(tmp_path)
    (tmp_path / "notes.txt").write_text("not a record")
    assert [run.head for run in load_runs(tmp_path)] == ["h9", "h8", "h7"]


def test_probabilities_are_committed_before_the_record(made_up, tmp_path, monkeypatch):
    written = []
    real = OutputFile.write
    monkeypatch.setattr(OutputFile, "write", lambda self, data: (written.append(self.path.suffix), real(self, data))[1])
    made_up([True]).save(tmp_path)
    assert written == [".npz", ".json"]


def test_a_record_that_is_replaced_leaves_no_probabilities_behind(made_up, tmp_path):
    run = made_up([True, False])
    path = run.save(tmp_path)
    again = Run.load(path)
    again.save(tmp_path)
    assert Run.load(path).confidence is not None
    replace(run, probabilities=None).save(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert Run.load(path).confidence is None


def test_a_record_can_be_saved_elsewhere(made_up, tmp_path):
    run = Run.load(made_up([True, False]).save(tmp_path / "one"))
    assert np.array_equal(Run.load(run.save(tmp_path / "other")).confidence, run.confidence)


@pytest.mark.parametrize("damage", ["lost", "altered"])
def test_without_its_probabilities_a_record_still_counts(made_up, tmp_path, log, damage):
    path = made_up([True, False]).save(tmp_path)
    if damage == "lost":
        path.with_suffix(".npz").unlink()
    else:
        path.with_suffix(".npz").write_bytes(b"x")
    run = Run.load(path)
    assert (run.right.tolist(), run.confidence, run.confidence) == ([True, False], None, None)
    (message,) = log.messages
    assert f"{path.stem}.npz" in message
    assert report([run], tmp_path / "report.html").exists()
    assert len(log.messages) == 1


def test_a_record_of_before_is_shown_with_what_it_lacks_unknown(made_up, old, write_old, tmp_path):
    run = made_up([True, False, True])
    write_old(run, tmp_path)
    (loaded,) = load_runs(tmp_path)
    assert loaded.old
    assert loaded.metrics == run.metrics
    assert loaded.predictions == old(run).predictions
    assert (loaded.probabilities, loaded.protocol, loaded.folds) == (None, {}, [])
    with pytest.raises(DataError, match="does not say what was predicted"):
        _ = loaded.right


@pytest.mark.parametrize("columns", [{}, {"group": [0, 0, 1, 1]}, {"fold": [1, 2, 1, 2]}])
def test_a_record_with_an_interval_of_another_method_has_that_of_now(made_up, tmp_path, columns):
    run = made_up([True, False, True, True])
    run.predictions.update(columns)
    right, group = np.array([True, False, True, True]), np.array(columns["group"]) if "group" in columns else None
    size, interval = worth(right, group, 2 if "fold" in columns else 1)
    path = replace(run, metrics=run.metrics | {"interval": [0.3, 0.95], "effective": 4.0}).save(tmp_path)
    loaded = Run.load(path)
    assert (loaded.metrics["interval"], loaded.metrics["effective"]) == (list(interval), size)
    assert finished_run(tmp_path, run.id, run.predictions["path"]) == loaded


def test_an_old_record_has_the_interval_of_now_too(made_up, write_old, tmp_path):
    run = made_up([True, False, True])
    path = write_old(replace(run, metrics=run.metrics | {"interval": [0.3, 0.95]}), tmp_path)
    assert Run.load(path).metrics["interval"] == run.metrics["interval"]


def test_a_record_of_before_is_never_finished(made_up, write_old, tmp_path):
    run = made_up([True])
    path = write_old(run, tmp_path)
    assert finished_run(tmp_path, Run.load(path).id, []) is None
    run.save(tmp_path)
    assert finished_run(tmp_path, run.id, run.predictions["path"]) == run


@pytest.mark.parametrize("trainable", ["", "head"])
def test_a_head_without_its_probabilities_is_fitted_again_and_fine_tuning_is_not(made_up, tmp_path, log, trainable):
    run = made_up([True, False], **({"head": "", "trainable": trainable} if trainable else {}))
    path = run.save(tmp_path)
    path.with_suffix(".npz").unlink()
    found = finished_run(tmp_path, run.id, run.predictions["path"])
    assert (found is None) == (not trainable)
    assert ("It is done again." in log.text) == (not trainable)


def test_ids_follow_what_decides_an_outcome_not_the_format(monkeypatch):
    before = run_id({"a": 1})
    assert before == "bdbb71809c1cb2bf16a58bd7e5e8386ece94826b396eb30c13ce4faa695dd07d"
    monkeypatch.setattr("fc7.classify.records.runs.RECORD", RECORD + 1)
    assert run_id({"a": 1}) == before
    monkeypatch.setattr("fc7.classify.records.runs.OUTCOME", 3)
    assert run_id({"a": 1}) != before


def test_runs_are_grouped_by_content_and_class_not_by_name_or_order(made_up):
    labels = np.arange(6) % 2
    one = made_up([True] * 6, labels=labels, paths=[f"{place}.jpg" for place in range(6)])
    order = [3, 1, 5, 0, 2, 4]
    moved = made_up([False] * 6, labels=labels[order], paths=[f"{place}.jpg" for place in order])
    moved.predictions["path"][:] = [f"elsewhere/{place}.png" for place in order]
    classes = made_up([True] * 6, labels=1 - labels, paths=[f"{place}.jpg" for place in range(6)])
    fewer = made_up([True] * 5, labels=labels[:5], paths=[f"{place}.jpg" for place in range(5)])
    assert by_images([fewer, one, classes, moved]) == [[one, moved], [classes], [fewer]]


@pytest.mark.parametrize("folder", ["", "absent"])
def test_a_folder_without_records_names_the_next_command(tmp_path, folder):
    with pytest.raises(DataError, match="fc7 compare DATA"):
        load_runs(tmp_path / folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", "{}", '{"record": 1}', '{"record": 1, "surprise": 2}', "\xff"]
)
def test_what_is_no_record_is_refused_with_its_path(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text, encoding="latin1")
    with pytest.raises(DataError, match=r"x\.json is not a run record"):
        Run.load(path)


def test_a_record_of_another_version_is_refused(made_up, tmp_path):
    path = made_up([True]).save(tmp_path)
    values = json.loads(path.read_text()) | {"record": RECORD + 1}
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=f"record {RECORD + 1}, not 1 or {RECORD}"):
        Run.load(path)


def test_a_folder_that_cannot_be_written_is_a_clear_error(made_up, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        made_up([True]).save(tmp_path / "file")


def test_the_fingerprint_is_of_rows_whatever_their_order(table):
    embeddings = table((6, 6), val=2)
    first = fingerprint(embeddings)
    assert len(first) == 64
    assert fingerprint(embeddings[np.arange(12)[::-1]]) == first
    assert fingerprint(replace(embeddings, paths=embeddings.paths[::-1])) == first, "a renamed file is the same image"
    assert fingerprint(replace(embeddings, vectors=embeddings.vectors * 2)) == first
    changes = ({"labels": embeddings.labels[::-1]}, {"split": embeddings.split[::-1]}, {"group": embeddings.labels})
    assert len({first, *(fingerprint(replace(embeddings, **change)) for change in changes)}) == 4
    assert fingerprint(embeddings[np.arange(11)]) != first


def test_a_run_id_is_of_values_not_of_their_order():
    assert run_id({"a": 1, "b": [1, 2]}) == run_id({"b": [1, 2], "a": 1})
    assert run_id({"a": 1}) != run_id({"a": 2})


def test_a_record_names_no_machine_and_no_user(table):
    import getpass
    import platform

    text = json.dumps(fit(table(val=5), "baseline").run.machine)
    assert platform.node() not in text
    assert getpass.getuser() not in text
