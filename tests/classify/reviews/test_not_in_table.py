"""Images that came after a review: found among those of its csv, and only for such a csv."""

import ntpath
from types import SimpleNamespace

import pytest
from fakes import touch

from fc7.classify.reviews import not_in_table
from fc7.classify.reviews.not_in_table import newcomers
from fc7.extract.manifest import paths

HEADER = "path,sha256,label,group,bad,reviewed"
ROWS = ["cats/1.jpg,,cat,,,1", "cats/2.jpg,,cat,,yes,2", "dogs/3.jpg,,dog,,,"]


def write(folder, header=HEADER, rows=ROWS):
    table = folder / "labels.csv"
    table.write_text("\n".join([header, *rows, ""]))
    return table


@pytest.fixture
def root(tmp_path):
    return touch(tmp_path / "data", "cats/1.jpg", "cats/2.jpg", "dogs/3.jpg")


def test_nothing_is_said_of_a_csv_that_has_all(root):
    assert newcomers(write(root)) is None


def test_new_images_and_new_classes_are_found(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    touch(root, "cats/new.jpg", "birds/4.jpg", "cats/notes.txt", "cats/.hidden.jpg", "@eaDir/5.jpg")
    assert newcomers(write(root)) == ("data", ["data/birds/4.jpg", "data/cats/new.jpg"])


def test_a_renamed_image_is_new_and_a_flat_folder_has_no_folders_beside_it(root):
    (root / "cats" / "1.jpg").rename(root / "cats" / "renamed.jpg")
    touch(root, "dogs/9.jpg")
    flat = write(root, rows=["cats/1.jpg,,cat,,,1", "cats/2.jpg,,dog,,,2"])
    (root / "cats" / "1.jpg").touch()
    assert newcomers(flat).paths == [str(root / "cats" / "renamed.jpg")]


def test_the_folder_is_the_one_whose_splits_and_groups_the_csv_has(root):
    touch(root, "cats/new.jpg")
    grouped = write(root, rows=["cats/1.jpg,,cat,a,,1", "dogs/3.jpg,,dog,b,,"])
    assert newcomers(grouped) == (None, [str(root / "cats" / name) for name in ("2.jpg", "new.jpg")])
    data = touch(root / "whole", "train/cats/1.jpg", "train/dogs/2.jpg", "train/dogs/3.jpg")
    rows = ["whole/train/cats/1.jpg,,cats,train,,,1", "whole/train/dogs/2.jpg,,dogs,train,,,"]
    of_train = write(root, "path,sha256,label,split,group,bad,reviewed", rows)
    assert newcomers(of_train) == (str(data), [str(data / "train" / "dogs" / "3.jpg")])


@pytest.mark.parametrize("header", ["path,label", "path,label,group,bad,reviewed"])
def test_other_csvs_are_choices(root, header):
    touch(root, "cats/new.jpg")
    rows = [",".join(["cats/1.jpg", "cat", "", "", ""][: header.count(",") + 1])]
    assert newcomers(write(root, header, rows)) is None
    assert newcomers(root) is None


def test_paths_of_windows_and_of_two_drives_are_compared(monkeypatch):
    windows = SimpleNamespace(path=ntpath, sep="\\", pardir="..", curdir=".")
    monkeypatch.setattr(not_in_table, "os", windows)
    monkeypatch.setattr(paths, "os", windows)
    assert not_in_table._absolute("C:\\data/cats\\1.jpg") == "C:/data/cats/1.jpg"
    assert not_in_table._common({"C:/data/cats", "C:/data/dogs"}) == "C:/data"
    assert not_in_table._common({"C:/data/cats", "D:/data/dogs"}) == ""
    assert paths.relative("C:\\data\\cats", "C:\\data\\labels") == "../cats"
    assert paths.relative("C:\\data", "D:\\labels") == "C:/data"
