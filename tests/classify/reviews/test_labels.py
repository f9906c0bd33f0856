"""The csv of a review: what it holds, who writes it, and what it refuses."""

import csv
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from reviewed import labels_of, reviewed, state

from fc7.cache.processes import Process
from fc7.classify.reviews.labels import Decision, default_path, numbered, require_apart
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


def test_of_two_writers_at_once_one_is_refused_and_nothing_is_lost(table, folder, file):
    rows, manifest = reviewed(table, folder)
    decisions = [numbered([(["c0/003.png"], Decision("c1"))]), numbered([(["c0/004.png"], Decision("c1"))])]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(50):
            file.unlink(missing_ok=True)
            writers, start = [labels_of(rows, manifest, file), labels_of(rows, manifest, file)], Barrier(2)

            def write(number, writers=writers, start=start):
                writers[number].read()
                start.wait(30)
                try:
                    writers[number].write(decisions[number])
                except DataError as error:
                    return str(error)
                return ""

            refused = list(pool.map(write, range(2)))
            assert refused.count("") == 1
            assert "second review" in max(refused)
            stored = decisions[refused.index("")]
            assert labels_of(rows, manifest, file).read() == {path: decision for path, (decision, _) in stored.items()}


def test_a_lock_that_is_held_is_said(begin, file, monkeypatch):
    import fcntl

    review = begin()
    file.parent.mkdir(exist_ok=True)
    monkeypatch.setattr("fc7.classify.reviews.labels.PATIENCE", 0.0)
    holder = os.open(file.parent, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(DataError, match="Another review has locked"):
        review.decide(3, bad=True)
    os.close(holder)  # as when its process ends
    assert review.decide(3, bad=True).after.bad


def test_what_a_killed_review_left_is_removed_by_the_next(begin, file):
    file.parent.mkdir()
    gone = Process.mine()._replace(pid=2**22 + 1)  # larger than any
    left = file.with_name(f".{file.name}.{gone.token}.0123abcd")
    writing = file.with_name(f".{file.name}.{Process.mine().token}.0123abcd")
    other = file.with_name(f".{file.name}.mine.txt")
    for path in (left, writing, other):
        path.write_text("path,label\n")
    begin()
    assert [path.exists() for path in (left, writing, other)] == [False, True, True]


def test_a_csv_that_is_written_but_not_durable_is_said_and_the_review_goes_on(begin, file, monkeypatch):
    review = begin()
    review.decide(2, bad=True)

    def broken(folder):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("fc7.cache.files.sync_folder", broken)
        change = review.decide(3, bad=True)
        assert "has this decision" in change.warning
        assert "Input/output error" in change.warning
    assert f"003.png,{review.key(3)},c0,train,,yes,2" in file.read_text()
    assert review.decide(4, bad=True).warning == ""
    assert list(begin().decided) == [2, 3, 4]


def test_a_csv_that_cannot_be_written_changes_nothing(begin, file, monkeypatch):
    review = begin()
    before = state(review)

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fc7.cache.output_file.replace", full)
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
    Review(rows, labels_of(rows, renamed, inside)).decide(3, "z")
    for row in csv.reader(inside.read_text(encoding="utf-8").splitlines()):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row if cell != "-1")  # which is a number
    found = {image.path: image for image in read_manifest(inside).images}
    assert found["c0/004.png"].label == name
    assert found["c0/003.png"].label == "z"
    assert found["c0/004.png"].group == "=c0/004.png"
    assert Review(rows, labels_of(rows, renamed, inside)).decided == {3: Decision("z")}


@pytest.mark.parametrize("label", [" ants", "ants\n", "\udce9"])
def test_names_that_a_csv_cannot_hold_are_refused(table, folder, file, label):
    rows, manifest = reviewed(table, folder)
    with pytest.raises(DataError, match="A csv cannot hold"):
        labels_of(
            rows, replace(manifest, images=(manifest.images[0]._replace(label=label), *manifest.images[1:])), file
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.png,c0\n", "has the columns"),
        ("path,label,split,group,bad,reviewed\nother.png,c0,train,,,1\n", "none of its 1 image is in pictures"),
        ("path,label,split,group,bad,reviewed\n../pictures/c0/000.png,c0,train,,maybe,1\n", "bad is 'maybe'"),
        ("path,label,split,group,bad,reviewed\n../pictures/c0/000.png,c0,train,,,-1\n", "reviewed is '-1'"),
        ("path,label,split,group,bad,reviewed\n../pictures/c0/000.png,,train,,,1\n", "the label is empty"),
        (b"\xff\xfe", "is empty"),
    ],
)
def test_a_file_that_no_review_wrote_is_refused_and_stays(begin, file, text, message):
    file.parent.mkdir()
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = file.read_bytes()
    with pytest.raises(DataError, match=message):
        begin()
    assert file.read_bytes() == before


def test_what_can_be_written_once_only_takes_no_decisions(table, folder, tmp_path):
    """As ``-o /dev/stdout > labels.csv``: it can be written on, but not replaced."""
    with (tmp_path / "out").open("w") as stream, pytest.raises(DataError, match="not a regular file"):
        labels_of(*reviewed(table, folder), f"/dev/fd/{stream.fileno()}")


def test_where_labels_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(default_path(tmp_path / "ants" / "")) == "ants-labels.csv"
    assert str(default_path(tmp_path / "a.b")) == "a.b-labels.csv"
    assert str(default_path(tmp_path / "list.csv")) == "list-labels.csv"
    assert str(default_path(Path("-"))) == "paths-labels.csv"
    (tmp_path / "list.csv").touch()
    with pytest.raises(DataError, match="is both"):
        require_apart(tmp_path / "list.csv", tmp_path / "list.csv")
