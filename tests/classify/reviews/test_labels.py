"""The csv of a review: what it holds, who writes it, and what it refuses."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from reviewed import reviewed, state

from fc7.classify.reviews.labels import Decision, Labels, default_path, require_apart
from fc7.classify.reviews.review import Review
from fc7.errors import DataError
from fc7.extract.manifest.manifest import read_manifest


def test_two_writers_are_noticed(begin, file):
    one, other = begin(), begin()
    one.decide(3, bad=True)
    before = state(other)
    with pytest.raises(DataError, match="changed by another program"):
        other.decide(4, bad=True)
    assert state(other) == before
    assert "003.png" in file.read_text()


def test_a_csv_that_cannot_be_written_changes_nothing(begin, file, monkeypatch):
    import fc7.classify.reviews.labels as module

    review = begin()
    before = state(review)

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "replace", full)
    with pytest.raises(DataError, match="No space left"):
        review.decide(3, bad=True)
    assert state(review) == before
    monkeypatch.undo()
    assert review.decide(3, bad=True).after.bad


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@sum", "'=quoted", 'a"b,c', "päckchen"])
def test_names_that_a_spreadsheet_would_calculate(table, tmp_path, name, file):
    folder = tmp_path / "=1+1"
    rows, manifest = reviewed(table, folder, labels=lambda rows: np.where(rows.y == 0, name, "z"))
    rows = replace(rows, classes=tuple(sorted({name, "z"})))
    manifest = replace(manifest, classes=rows.classes, name="=1+1")
    inside = folder / "labels.csv"
    renamed = replace(manifest, images=tuple(one._replace(group=f"={one.path}") for one in manifest.images))
    Review(rows, Labels(renamed, inside)).decide(3, "z")
    for row in csv.reader(inside.read_text(encoding="utf-8").splitlines()):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)
    found = {image.path: image for image in read_manifest(inside).images}
    assert found["c0/004.png"].label == name
    assert found["c0/003.png"].label == "z"
    assert found["c0/004.png"].group == "=c0/004.png"
    assert Review(rows, Labels(renamed, inside)).decided == {3: Decision("z")}


@pytest.mark.parametrize("label", [" ants", "ants\n", "\udce9"])
def test_names_that_a_csv_cannot_hold_are_refused(table, folder, file, label):
    _, manifest = reviewed(table, folder)
    with pytest.raises(DataError, match="A csv cannot hold"):
        Labels(replace(manifest, images=(manifest.images[0]._replace(label=label), *manifest.images[1:])), file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.png,c0\n", "has the columns"),
        ("path,label,split,group,bad,reviewed\nother.png,c0,train,,,1\n", "line 2: other.png is not in pictures"),
        ("path,label,split,group,bad,reviewed\n../pictures/c0/000.png,c0,train,,maybe,1\n", "bad is 'maybe'"),
        ("path,label,split,group,bad,reviewed\n../pictures/c0/000.png,c0,train,,,-1\n", "reviewed is '-1'"),
        ("path,label,split,group,bad,reviewed\n../pictures/c0/000.png,,train,,,1\n", "the label is empty"),
        (b"\xff\xfe", "UTF-16"),
    ],
)
def test_a_file_that_no_review_wrote_is_refused_and_stays(begin, file, text, message):
    file.parent.mkdir()
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = file.read_bytes()
    with pytest.raises(DataError, match=message):
        begin()
    assert file.read_bytes() == before


def test_where_labels_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(default_path(tmp_path / "ants" / "")) == "ants-labels.csv"
    assert str(default_path(tmp_path / "a.b")) == "a.b-labels.csv"
    assert str(default_path(tmp_path / "list.csv")) == "list-labels.csv"
    (tmp_path / "list.csv").touch()
    with pytest.raises(DataError, match="is both"):
        require_apart(tmp_path / "list.csv", tmp_path / "list.csv")
