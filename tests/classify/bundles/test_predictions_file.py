"""Files of predictions: each kind says of every image what was predicted, or why nothing was."""

import csv
import json
import sys

import pytest

from fc7.classify.bundles.prediction import Prediction
from fc7.classify.bundles.predictions_file import SUFFIXES, PredictionsFile
from fc7.errors import DataError, MissingExtra, UsageError

PREDICTIONS = [
    Prediction("a.jpg", "red", 0.75, {"red": 0.75, "blue": 0.25}, sure=True, distance=0.1),
    Prediction("bad.jpg", rejected="empty file"),
    Prediction("b\udcff.jpg", "blue", 0.5, {"blue": 0.5, "red": 0.5}, sure=False, distance=0.9, unlike=True),
]
ANSWER = {"predictions": [prediction.to_dict() for prediction in PREDICTIONS], "threshold": None}


def write(path, top=None):
    assert PredictionsFile(path).write(PREDICTIONS, ANSWER, top) == path
    return path


def test_csv(tmp_path):
    with write(tmp_path / "p.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "label", "probability", "unlike", "rejected", "probability_blue", "probability_red"]
    assert rows == [
        ["a.jpg", "red", "0.7500", "", "", "0.2500", "0.7500"],
        ["bad.jpg", "", "", "", "empty file", "", ""],
        ["b\udcff.jpg", "not sure", "0.5000", "unlike", "", "0.5000", "0.5000"],
    ]
    with write(tmp_path / "p.csv", top=1).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert [row[5:] for row in csv.reader(file)] == [
            ["label_1", "probability_1"],
            ["red", "0.7500"],
            ["", ""],
            ["blue", "0.5000"],
        ]


def test_json(tmp_path):
    assert json.loads(write(tmp_path / "p.JSON").read_text()) == ANSWER


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(write(tmp_path / "p.parquet"))
    assert table.to_pydict() == {
        "path": ["a.jpg", "bad.jpg", "b\\udcff.jpg"],
        "label": ["red", None, "not sure"],
        "probability": [0.75, None, 0.5],
        "unlike": [False, False, True],
        "rejected": ["", "empty file", ""],
        "probability_blue": [0.25, None, 0.5],
        "probability_red": [0.75, None, 0.5],
    }
    types = dict(zip(table.column_names, map(str, table.schema.types), strict=True))
    assert {types["unlike"], types["probability"], types["label"]} == {"bool", "double", "string"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_fails_leaves_the_file_as_it_was(tmp_path, suffix, monkeypatch):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = write(tmp_path / f"p{suffix}")
    before = path.read_bytes()

    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fc7.cache.output_file.os.fsync", full)
    monkeypatch.setattr("fc7.cache.atomic_write.os.fsync", full)
    with pytest.raises(DataError, match="No space left"):
        write(path)
    assert path.read_bytes() == before


def test_other_kinds_and_missing_libraries_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"p\.xlsx.*one of \.csv, \.json, \.parquet"):
        PredictionsFile(tmp_path / "p.xlsx")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtra, match=r"fc7\[tables\]"):
        PredictionsFile(tmp_path / "p.parquet")
