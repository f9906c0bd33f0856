"""The schema: every field of a record is described, fresh records follow it, and what does not is named."""

import json
import time
from dataclasses import fields

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from fc7.classify import compare, fit, load_runs
from fc7.classify.heads.table import HEADS
from fc7.classify.records.runs import OLD, RECORD, Run
from fc7.classify.records.schema import SCHEMA
from fc7.errors import DataError

DOCUMENT = json.loads(SCHEMA.read_text(encoding="utf-8"))
FIT_FOR_ALL = [name for name, head in HEADS.items() if not head.layer]


def plain(run):
    return json.loads(json.dumps(run.to_dict()))


def described(schema, where="record"):
    """Return the fields without a description."""
    found = [] if schema.get("description") else [where]
    for name, part in schema.get("properties", {}).items():
        found += described(part, f"{where}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            found += described(schema[name], f"{where}[]")
    return found


def test_the_schema_is_one():
    Draft202012Validator.check_schema(DOCUMENT)
    assert DOCUMENT["properties"]["record"]["enum"] == [*OLD, RECORD]


def test_it_has_the_fields_of_a_run_each_described():
    assert DOCUMENT["properties"].keys() == {field.name for field in fields(Run)}
    assert described(DOCUMENT) == []


def test_twin_a_field_without_words_is_seen():
    assert described({"description": "x", "properties": {"y": {"type": "string"}}}) == ["record.y"]


@pytest.mark.parametrize("name", FIT_FOR_ALL)
def test_a_fresh_record_of_every_head_follows_it(table, name):
    run = fit(table((12, 12), val=4), name, folds=2, epochs=2).run
    assert list(Draft202012Validator(DOCUMENT).iter_errors(plain(run))) == []


def test_records_of_cross_validation_and_with_a_learning_curve_follow_it(table, tmp_path):
    compare(table((12, 12)), "ridge", folds=2, folder=tmp_path)
    compare(table((20, 20), val=5), "ridge", folds=2, folder=tmp_path)
    assert len(load_runs(tmp_path)) == 4
    for path in tmp_path.glob("*.json"):
        assert list(Draft202012Validator(DOCUMENT).iter_errors(json.loads(path.read_text()))) == []


def test_the_data_sets_name_is_in_the_record_but_decides_nothing(table):
    from dataclasses import replace

    embeddings = table(val=4)
    one, two = (fit(replace(embeddings, name=name), "centroid").run for name in ("one", "two"))
    assert (one.data["name"], two.data["name"]) == ("one", "two")
    assert one.id == two.id
    assert one.data["fingerprint"] == two.data["fingerprint"]


def put(values, where, item):
    *path, last = where.split(".")
    for name in path:
        values = values[name]
    values[last] = item


@pytest.mark.parametrize(
    ("where", "item", "said"),
    [
        ("id", "abc", "id: 'abc' does not match"),
        ("trainable", "some", "trainable: 'some' is not one of"),
        ("head", "", "head: "),
        ("head", None, "head: None is not of type 'string'"),
        ("recipe", {}, "recipe: 'backbone' is a required property"),
        ("recipe.backbone", 3, "recipe.backbone: 3 is not of type 'string'"),
        ("data.classes", "ants", "data.classes: 'ants' is not of type 'array'"),
        ("data.classes", ["ants", 2], r"data.classes\[1\]: 2 is not of type 'string'"),
        ("metrics.accuracy", 1.5, "metrics.accuracy: 1.5 is greater than the maximum of 1"),
        ("metrics.accuracy", "0.5", "metrics.accuracy: '0.5' is not of type"),
        ("metrics.interval", [0.1], r"metrics.interval: \[0.1\] is too short"),
        ("metrics.n", 5.0, "metrics.n: 5.0 is not a whole number"),
        ("metrics.log_loss", 10**400, r"10000000000000000000\.\.\. is beyond the numbers of a record"),
        ("hyperparameters", {"C": -(10**400)}, "is beyond the numbers of a record"),
        ("seconds.fit", 1e308, r"1e\+308 is beyond the numbers of a record"),
        ("metrics.n", 5, "columns of .* rows where metrics.n is 5"),
        ("seconds.fit", -1, "seconds.fit: -1 is less than the minimum of 0"),
        ("seconds", {}, "seconds: 'fit' is a required property"),
        ("surprise", 1, "'surprise' was unexpected"),
        ("notes", [3], r"notes\[0\]: 3 is not of type 'string'"),
        ("curves", [{}], r"curves\[0\]: 'epoch' is a required property"),
        ("learning_curve", [{"per_class": 2}], r"learning_curve\[0\]: .* is a required property"),
        ("predictions", [], "predictions: .*is not of type 'object'"),
        ("predictions.path", "x", "predictions.path: 'x' is not of type 'array'"),
        ("predictions.path", ["a", "b", 3], "predictions.path: not all are strings, found int"),
        ("predictions.path", ["a", "b"], "columns of .*'path': 2.* rows where metrics.n is 3"),
        ("predictions.key", ["0" * 16, "0" * 16, "../secret"], "predictions.key: '../secret' is not 16 hex digits"),
        ("predictions.label", [0, 1, 2], "predictions.label: .* from 0 to 1, found 0 to 2"),
        ("predictions.label", [0, -1, 1], "predictions.label: .* from 0 to 1, found -1 to 1"),
        ("predictions.label", [0, 1, True], "predictions.label: .*found bool"),
        ("predictions.label", [0, 1, 0.5], "predictions.label: .*found float"),
        ("predictions.predicted", [0, 1, 2], "predictions.predicted: .* from 0 to 1, found 0 to 2"),
        ("predictions.predicted", [0, 1], "columns of .*'predicted': 2.* rows where metrics.n is 3"),
        ("predictions.predicted", [0, 1, 0], "metrics: 2 correct and an accuracy of 0.666667, but 3 of 3"),
        ("predictions.probability", [[0.5, 0.5]] * 3, "predictions: False schema"),
        ("metrics.correct", 3, "metrics: 3 correct and an accuracy of 0.666667, but 2 of 3 predictions are right"),
        ("metrics.accuracy", 0.5, "metrics: 2 correct and an accuracy of 0.5, but 2 of 3"),
        ("probabilities", {"sha256": "../secret"}, "probabilities.sha256: '../secret' does not match"),
        ("probabilities", [], r"probabilities: \[\] is not of type"),
        ("folds", [{}], r"folds\[0\]: .* is a required property"),
        ("protocol", None, "protocol: None is not of type"),
    ],
)
def test_what_is_wrong_is_named(made_up, tmp_path, where, item, said):
    values = plain(made_up([True, False, True]))
    put(values, where, item)
    path = tmp_path / "x.json"
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match=rf"x\.json is not a run record: .*{said}") as caught:
        Run.load(path)
    assert len(str(caught.value)) < 600


def test_a_field_that_is_absent_is_named(made_up, tmp_path):
    values = plain(made_up([True]))
    del values["metrics"]
    (tmp_path / "x.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match="'metrics' is a required property"):
        Run.load(tmp_path / "x.json")


@pytest.mark.parametrize("text", ["NaN", "[" * 100_000, '{"record": 1e999}', '{"record": 1, "id": Infinity}'])
def test_what_json_should_not_hold(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json is not a run record"):
        Run.load(tmp_path / "x.json")


def test_a_damaged_record_does_not_lose_the_others(made_up, tmp_path, caplog):
    run = made_up([True])
    run.save(tmp_path)
    (tmp_path / "x.json").write_text("{")
    (tmp_path / "y.json").write_text(json.dumps(plain(run) | {"record": RECORD + 1}))
    assert load_runs(tmp_path) == [run]
    assert [message.split(" is ")[0] for message in caplog.messages] == [
        f"left out: {tmp_path / name}" for name in ("x.json", "y.json")
    ]


@pytest.mark.parametrize("damage", ["{", None])
def test_compare_makes_a_damaged_record_again(table, tmp_path, caplog, damage):
    first = {run.id: run for run in compare(table(val=5), "ridge", folder=tmp_path, learning_curve=False)}
    path = min(tmp_path.glob("*.json"))
    values = json.loads(path.read_text())
    path.write_text(damage or json.dumps(values | {"record": RECORD + 1}))
    runs = compare(table(val=5), "ridge", folder=tmp_path, learning_curve=False)
    assert {run.id: run.metrics for run in runs} == {identity: run.metrics for identity, run in first.items()}
    assert path.name in caplog.text
    assert "done again" in caplog.text
    assert len(load_runs(tmp_path)) == 2


def test_many_predictions_are_read_quickly(made_up, tmp_path):
    """50 records of 5,000 predictions take about a second; here with room for a busy machine."""
    n, classes = 5000, tuple("abcdefghij")
    run = made_up(np.arange(n) % 7 > 0, classes=classes)
    path = run.save(tmp_path)
    start = time.process_time()
    for _ in range(5):
        Run.load(path)
    assert (time.process_time() - start) / 5 < 0.2
