"""Files of predictions: each kind says of every image what was predicted, or why nothing was."""

import csv
import json
import sys

import pytest
from fakes import draw
from html_page import Page

from fc7.classify.bundles.prediction import Prediction, Predictions
from fc7.classify.bundles.predictions_file import SUFFIXES, PredictionsFile
from fc7.classify.data.neighbour import Neighbour
from fc7.classify.pages import pictures
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

    def objects(frame):  # what is missing is None or nan, as the version of pandas likes
        return frame.astype(object).where(frame.notna(), None)

    pandas.testing.assert_frame_equal(objects(frame), objects(read))
    read = pandas.read_csv(write(tmp_path / "p.csv"), encoding_errors="backslashreplace")
    frame.loc[2, "path"] = "b\\xff.jpg"  # a csv has the bytes of names that are no Unicode
    pandas.testing.assert_frame_equal(objects(frame), objects(read.fillna({"rejected": ""})))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_fails_leaves_the_file_as_it_was(tmp_path, suffix, monkeypatch):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = write(tmp_path / f"p{suffix}")
    before = path.read_bytes()

    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fc7.cache.output_file.os.fsync", full)
    monkeypatch.setattr("fc7.cache.files.os.fsync", full)
    with pytest.raises(DataError, match="No space left"):
        write(path)
    assert path.read_bytes() == before


def test_other_kinds_and_missing_libraries_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"p\.xlsx.*one of \.csv, \.json, \.parquet"):
        PredictionsFile(tmp_path / "p.xlsx")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtra, match=r"fc7\[tables\]"):
        PredictionsFile(tmp_path / "p.parquet")


# A page


def tiles(path):
    data = next(json.loads(text) for tag, text in Page(path.read_text()).texts if tag == "script" and "beside" in text)
    return [[data["words"][row[0]], data["words"][row[2]], row[4]] for row in data["rows"]]


def test_a_page_shows_every_image_and_why_there_is_no_answer(tmp_path):
    page = write(tmp_path / "p.html")
    assert tiles(page) == [
        ["answered", "", "a.jpg"],
        ["rejected", "empty file", "bad.jpg"],
        ["unsure", "not sure; unlike the fitted ones", "b\\udcff.jpg"],
    ]
    text = Page(page.read_text()).text
    assert "3 images: 1 answered, 1 not sure, 1 rejected" in text
    assert "1 image is unlike" in text
    assert "75.0 %" in text


@pytest.mark.parametrize(
    "predictions",
    [
        [],
        [Prediction("<script>alert(1)</script>/'\"" + "x" * 3000, "<b>red</b>", 1.0, {"<b>red</b>": 1.0}, sure=True)],
        [Prediction(f"{place}.jpg", f"class {place}", 0.5, {}, sure=True) for place in range(1000)],
    ],
    ids=["none", "hostile", "a thousand classes"],
)
def test_a_page_of_anything(tmp_path, predictions):
    html = PredictionsFile(tmp_path / "p.html").write(predictions, {}).read_text()
    page = Page(html)
    assert "<script>alert" not in html
    assert "<b>" not in html
    assert f"{len(predictions):,}".replace(",", "") in page.text
    assert len(page.tables[0]) <= 31 if predictions else page.tables == []


def test_neighbours_and_sets_are_said(tmp_path):
    near = [Neighbour(f"/home/ann/train/red/{place}.jpg", 0.9 - place / 100, "red") for place in range(5)]
    one = Prediction("a.jpg", "red", 0.6, {}, sure=True, classes=["red", "blue"], neighbours=near)
    page = PredictionsFile(tmp_path / "p.html").write([one], {})
    assert "one of red, blue; nearest: red 0.90, red 0.89, red 0.88 and 2 more" in Page(page.read_text()).text
    assert "ann" not in page.read_text()


def test_pictures_of_many_are_beside_the_page_but_never_among_the_images(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "EMBEDDED", 3)
    monkeypatch.setattr(pictures, "BYTES", 1)
    (tmp_path / "in").mkdir()
    paths = [str(draw(tmp_path / "in" / f"{place}.png", (place * 30, 0, 0))) for place in range(6)]
    predictions = [Prediction(path, "red", 0.9, {"red": 0.9}, sure=True) for path in paths]
    page = PredictionsFile(tmp_path / "p.html", [str(tmp_path / "in")]).write(predictions, {})
    assert len([*(tmp_path / "p-thumbnails").glob("*.jpg")]) == len([*(tmp_path / "p-thumbnails/large").iterdir()]) == 6
    assert page.read_text().count('src="p-thumbnails/') == 5, "the first is in the page"
    assert " &#39;self&#39; file:" in page.read_text()
    again = PredictionsFile(tmp_path / "in" / "p.html", [str(tmp_path / "in")]).write(predictions, {})
    names = [*(f"{place}.png" for place in range(6)), "p.html"]
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == names
    assert "&#39;self&#39;" not in again.read_text()


def test_a_changed_image_gets_a_new_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "EMBEDDED", 0)
    path = draw(tmp_path / "in" / "a.png", (200, 0, 0))
    predictions = [Prediction(str(path), "red", 0.9, {"red": 0.9}, sure=True)]
    seen = []
    for colour in ((200, 0, 0), (0, 0, 200)):
        draw(path, colour)
        PredictionsFile(tmp_path / "p.html").write(predictions, {})
        seen += [file.read_bytes() for file in (tmp_path / "p-thumbnails").glob("*.jpg")]
    assert len(set(seen)) == len(seen) == 2, "and the old one is gone"
