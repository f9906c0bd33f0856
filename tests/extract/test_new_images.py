"""New images: a row for each file of a folder, with the reason where it is none, whatever happens meanwhile."""

import io
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeBackbone, coloured, noisy
from PIL import Image

from fc7.errors import DataError
from fc7.extract import fill, read_manifest
from fc7.extract.new_images import NewImages, expand


def rows(folder):
    """Return the reasons of what a folder stands for, by path; empty of an image."""
    return {os.path.relpath(path, folder): reason for path, reason in expand([folder])}


def test_the_rows_are_those_of_extract(tmp_path):
    root = tmp_path / "data"
    for name in ("a/1.jpg", "a/2.jxl", "a/3.gif", "a/notes.txt", "a/noext", "a/.hidden.jpg", "b/deep/4.PNG"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "5.jpg").write_bytes(b"x")
    (root / "a" / "link").symlink_to(tmp_path / "elsewhere")
    (root / "b" / "again").symlink_to(tmp_path / "elsewhere")
    (root / "b" / "loop").symlink_to("..")
    (root / "b" / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(root / "b" / "pipe.jpg")
    manifest = read_manifest(root)
    expected = dict.fromkeys(manifest.images.paths, "") | dict(manifest.rejects)
    found = rows(root)
    assert expected.pop("b/again/5.jpg") == "", "another class"
    assert found.pop("b/again") == "a link to the same folder as a/link"
    assert found == expected
    assert found["a/link/5.jpg"] == ""
    assert "convert it" in found["a/2.jxl"]
    assert list(found) == sorted(found)


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root and Windows read everything")
def test_a_folder_that_cannot_be_listed_is_a_row(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    assert rows(tmp_path) == {"locked": "not readable: Permission denied"}
    assert rows(locked) == {".": "not readable: Permission denied"}


def test_a_folder_that_cannot_be_listed_is_a_row_for_root_too(tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    noisy(tmp_path / "1.png", (1, 2, 3), 0)
    scan = os.scandir

    def denied(path):
        if os.fspath(path).rstrip("/").endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)
    assert rows(tmp_path) == {"1.png": "", "locked": "not readable: Permission denied"}
    assert rows(tmp_path / "locked") == {".": "not readable: Permission denied"}


def test_a_folder_may_change_while_it_is_walked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "race").mkdir()
    stop = threading.Event()

    def churn():
        number = 0
        while not stop.is_set():
            Path(f"race/d{number % 50}/e/f").mkdir(parents=True, exist_ok=True)
            shutil.rmtree(f"race/d{(number + 25) % 50}", ignore_errors=True)
            number += 1

    thread = threading.Thread(target=churn, daemon=True)
    thread.start()
    try:
        walks = [list(expand(["race"])) for _ in range(400)]
    finally:
        stop.set()
        thread.join()
    assert all("not readable" in reason for walk in walks for _, reason in walk)


def test_what_vanishes_within_a_walk_is_a_row(tmp_path):
    for name in ("a", "b", "c"):
        noisy(tmp_path / "new" / name / "1.png", (1, 2, 3), 0)
    walk = expand([tmp_path / "new"])
    assert next(walk) == (f"{tmp_path}/new/a/1.png", "")
    shutil.rmtree(tmp_path / "new" / "b")
    assert list(walk) == [
        (f"{tmp_path}/new/b", "not readable: No such file or directory"),
        (f"{tmp_path}/new/c/1.png", ""),
    ]


@pytest.mark.parametrize("path", ["/", "//", "/.", "/../"])
def test_the_whole_disk_is_no_folder_of_images(path):
    ((_, reason),) = expand([path])
    assert reason == "the whole file system"


@pytest.mark.parametrize("path", ["", "a\0b.jpg", "x" * 5000 + ".jpg", "\ud800.jpg", "x.jpg/y.jpg"])
def test_a_path_that_cannot_be_has_a_reason(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = NewImages([path])
    assert list(images.vectors([FakeBackbone()])) == []
    assert images.rejected[0]


def test_no_image_at_all_is_said(tmp_path):
    with pytest.raises(DataError, match="no images in an empty list"):
        NewImages([])
    with pytest.raises(DataError, match=f"no images in {tmp_path}"):
        NewImages([tmp_path])


def test_files_that_are_no_images_stop_nothing(tmp_path):
    coloured(tmp_path / "new", 3)
    (tmp_path / "new" / "blue" / "notes.txt").write_text("x")
    (tmp_path / "new" / "red" / "broken.png").write_bytes(b"x")
    images = NewImages([tmp_path / "new", str(tmp_path / "absent.png")])
    backbone = FakeBackbone()
    placed = {}
    for places, vectors in images.vectors([backbone]):
        placed |= dict(zip(places, vectors[backbone.recipes[0]], strict=True))
    assert {images.names[place].rpartition("/")[2] for place in images.rejected} == {
        "notes.txt",
        "broken.png",
        "absent.png",
    }
    assert placed.keys() | images.rejected.keys() == set(range(9))
    fill(read_manifest(tmp_path / "new"), [backbone])
    for place, vector in placed.items():
        assert np.array_equal(vector, placed[0]) == (images.names[place] == images.names[0])


class Place:
    """A path, as other libraries have them."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


def test_whatever_has_a_path_is_a_file_and_all_else_a_picture(tmp_path):
    file = noisy(tmp_path / "a.png", (1, 2, 3), 0)
    (entry,) = os.scandir(tmp_path)
    (of_bytes,) = os.scandir(os.fsencode(tmp_path))
    closed = Image.new("RGB", (8, 8))
    closed.close()
    files = [file, str(file), np.str_(file), Place(str(file)), entry, of_bytes]
    strange = [None, 1.5, bytearray(b"x"), memoryview(b"x"), io.BytesIO(b"x"), closed, [str(file)], {}, object()]
    images = NewImages([*files, *strange])
    assert [images.names[place] for place in range(len(files))] == [str(file)] * len(files)
    assert [images.names[place] for place in range(len(files), len(images))] == [
        f"image {place}" for place in range(len(files), len(images))
    ]
