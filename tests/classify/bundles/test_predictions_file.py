"""Files of predictions: each kind says of every image what was predicted, or why nothing was."""

import csv
import json
import sys

import pytest

from fc7.classify.bundles.prediction import Prediction, Predictions
from fc7.classify.bundles.predictions_file import SUFFIXES, PredictionsFile
from fc7.errors import DataError, MissingExtra, UsageError

PREDICTIONS = [
    Prediction("a.jpg", "red", 0.75, {"red": 0.75, "blue": 0.25}, sure=True, distance=1 / 3),
    Prediction("bad.jpg", rejected="empty file"),
    Prediction("b\udcff.jpg", "blue", 0.5, {"blue": 0.5, "red": 0.5}, sure=False, distance=0.9, unlike=True),
]
ANSWER = {"predictions": [prediction.to_dict() for prediction in PREDICTIONS], "threshold": None}


TABLE = {
    "path": ["a.jpg", "bad.jpg", "b\udcff.jpg"],
    "answer": ["red", None, "not sure"],
    "label": ["red", None, "blue"],
    "probability": [0.75, None, 0.5],
    "sure": [True, False, False],
    "distance": [1 / 3, None, 0.9],
    "unlike": [False, False, True],
    "rejected": ["", "empty file", ""],
    "probability_blue": [0.25, None, 0.5],
    "probability_red": [0.75, None, 0.5],
}


def write(path, top=None):
    assert PredictionsFile(path).write(PREDICTIONS, ANSWER, top) == path
    return path


def read_csv(path):
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return [*csv.reader(file)]


def test_csv(tmp_path):
    header, *rows = read_csv(write(tmp_path / "p.csv"))
    assert header == [*TABLE]
    cells = [["" if value is None else str(value) for value in values] for values in TABLE.values()]
    assert rows == [list(row) for row in zip(*cells, strict=True)]
    assert [row[8:] for row in read_csv(write(tmp_path / "p.csv", top=1))] == [
        ["label_1", "probability_1"],
        ["red", "0.75"],
        ["", ""],
        ["blue", "0.5"],
    ]


def test_json(tmp_path):
    read = json.loads(write(tmp_path / "p.JSON").read_text())
    assert read == ANSWER
    for number, row in enumerate(read["predictions"]):
        probabilities = {f"probability_{name}": value for name, value in row.pop("probabilities").items()}
        assert row | {"probability_blue": None, "probability_red": None} | probabilities == {
            name: values[number] for name, values in TABLE.items()
        }


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(write(tmp_path / "p.parquet"))
    assert table.to_pydict() == TABLE | {"path": ["a.jpg", "bad.jpg", "b\\udcff.jpg"]}
    types = dict(zip(table.column_names, map(str, table.schema.types), strict=True))
    assert {types["unlike"], types["distance"], types["label"]} == {"bool", "double", "string"}


def test_python_has_the_same_table(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = Predictions(PREDICTIONS)
    assert table.to_dicts() == [dict(zip(TABLE, row, strict=True)) for row in zip(*TABLE.values(), strict=True)]
    frame = table.to_pandas()
    read = pandas.read_parquet(write(tmp_path / "p.parquet"))
    pandas.testing.assert_frame_equal(frame, read, check_dtype=False)
    read = pandas.read_csv(write(tmp_path / "p.csv"), encoding_errors="backslashreplace")
    frame.loc[2, "path"] = "b\\xff.jpg"  # a csv has the bytes of names that are no Unicode
    pandas.testing.assert_frame_equal(frame, read.fillna({"rejected": ""}), check_dtype=False)


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
