import os

import pytest
from fakes import touch

from fc7.errors import DataError
from fc7.extract import read_manifest


def test_split_folders(tmp_path):
    touch(tmp_path, "train/ants/1.jpg", "train/bees/2.JPG", "val/ants/3.Png", "test/bees/4.webp", "README.txt")
    manifest = read_manifest(tmp_path)
    assert [(image.path, image.label, image.split) for image in manifest.images] == [
        ("train/ants/1.jpg", "ants", "train"),
        ("train/bees/2.JPG", "bees", "train"),
        ("val/ants/3.Png", "ants", "val"),
        ("test/bees/4.webp", "bees", "test"),
    ]
    assert manifest.classes == ("ants", "bees")
    assert manifest.rejects == ()


def test_class_folders_without_split(tmp_path):
    touch(tmp_path, "b/1.jpg", "a/deep/er/2.jpg", "a/1.jpg")
    manifest = read_manifest(tmp_path)
    assert [(image.path, image.label, image.split) for image in manifest.images] == [
        ("a/1.jpg", "a", ""),
        ("a/deep/er/2.jpg", "a", ""),
        ("b/1.jpg", "b", ""),
    ]


def test_everything_else_in_a_class_folder_is_rejected_with_the_reason_and_hidden_files_are_ignored(tmp_path):
    touch(
        tmp_path, "a/1.jpg", "b/1.jpg", "a/no.gif", "a/notes.txt", "a/noext", "a/.DS_Store", ".git/x.jpg", "b/.t/1.jpg"
    )
    os.mkfifo(tmp_path / "b" / "pipe.jpg")
    (tmp_path / "b" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    manifest = read_manifest(tmp_path)
    assert len(manifest) == 2
    reasons = dict(manifest.rejects)
    assert set(reasons) == {"a/no.gif", "a/notes.txt", "a/noext", "b/pipe.jpg", "b/gone.jpg"}
    assert "'.gif' is not one of" in reasons["a/no.gif"]
    assert reasons["b/pipe.jpg"] == "not a regular file"
    assert reasons["b/gone.jpg"].startswith("not readable")


@pytest.mark.parametrize("target", [".", "../data", "loop"])
def test_a_link_in_a_circle_is_no_class(tmp_path, target):
    """It is a reject where images have no label, as other files are, and the images stay what they are."""
    touch(tmp_path, "data/1.png")
    (tmp_path / "data/loop").symlink_to(target)
    manifest = read_manifest(tmp_path / "data")
    assert (list(manifest.images.paths), manifest.classes, manifest.unclear) == (["1.png"], (), "")
    assert [reject.path for reject in manifest.rejects] == ["loop"]
    touch(tmp_path, "data/ants/2.png")
    assert read_manifest(tmp_path / "data").classes == ("ants",)


def test_symbolic_links_are_followed_and_loops_end(tmp_path):
    touch(tmp_path, "data/a/1.jpg", "data/b/1.jpg", "elsewhere/2.jpg")
    (tmp_path / "data/a/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/loop").symlink_to(tmp_path / "data/a")
    (tmp_path / "data/b/self").symlink_to(".")
    assert [image.path for image in read_manifest(tmp_path / "data").images] == ["a/1.jpg", "a/more/2.jpg", "b/1.jpg"]


def test_odd_names(tmp_path):
    odd = ["a/new\nline.jpg", "a/‮rtl.jpg", os.fsdecode(b"a/caf\xe9.jpg"), "a/<b>.jpg", "b/same.jpg", "a/same.jpg"]
    touch(tmp_path, *odd)
    assert sorted(image.path for image in read_manifest(tmp_path).images) == sorted(odd)


def test_csv(tmp_path):
    touch(tmp_path, "x/1.jpg", "2.jpg", "3.png")
    path = tmp_path / "labels.csv"
    path.write_text("﻿label,path,split,group\nant,x/1.jpg,train,g1\nbee,2.jpg,train,\nbee,3.png,val,g2\n", "utf-8")
    manifest = read_manifest(path)
    assert manifest.root == tmp_path
    assert [tuple(image)[:4] for image in manifest.images] == [
        ("x/1.jpg", "ant", "train", "g1"),
        ("2.jpg", "bee", "train", ""),
        ("3.png", "bee", "val", "g2"),
    ]


def test_rows_of_a_csv_may_have_no_label(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg")
    path = tmp_path / "labels.csv"
    path.write_text("path,label\n1.jpg,ant\n2.jpg,\n")
    manifest = read_manifest(path)
    assert [image[:2] for image in manifest.images] == [("1.jpg", "ant"), ("2.jpg", "")]
    assert manifest.classes == ("ant",)
    assert list(manifest.labelled().images.paths) == ["1.jpg"]
    assert manifest.labelled().labelled() == manifest.labelled()


def test_csv_without_split_and_with_a_gif(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg", "3.gif")
    path = tmp_path / "labels.csv"
    path.write_text("path,label\n1.jpg,ant\n2.jpg,bee\n3.gif,bee\n")
    manifest = read_manifest(path)
    assert len(manifest) == 2
    assert [reject.path for reject in manifest.rejects] == ["3.gif"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "No images"),
        (["a/1.txt", "b/1.txt"], r"No images in .* \(2 other files, the first a/1.txt: suffix '.txt'"),
        (["1.jxl", "2.jxl"], r"No images in .* \(2 other files, the first 1.jxl: suffix '.jxl'"),
        (["train/1.jxl"], r"No images in .* \(1 other file, the first train/1.jxl"),
    ],
)
def test_unusable_folders(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        read_manifest(touch(tmp_path, *names))


def test_a_class_may_be_outside_of_train(tmp_path):
    manifest = read_manifest(touch(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "val/c/1.jpg"))
    assert manifest.classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("where,class\n1.jpg,ant\n", "Which one has the paths?"),
        ("path,label\n", "has no rows"),
        ("path,label\nno.jpg,bee\nx.jpg,bee\n", "Not one of 2 .*is there, the first is no.jpg.*looked for in /"),
        ("path,label\n,ant\n", "line 2: the path is empty"),
        ("path,label,split\n1.jpg,ant,later\n", "line 2: the split is 'later'"),
    ],
)
def test_unusable_csvs(tmp_path, text, message):
    touch(tmp_path, "1.jpg")
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_manifest(path)


def test_neither_folder_nor_csv(tmp_path):
    with pytest.raises(DataError, match="There is no"):
        read_manifest(tmp_path / "nothing")
    with pytest.raises(DataError, match="neither a folder"):
        read_manifest(touch(tmp_path, "x.txt") / "x.txt")
    with pytest.raises(DataError, match="is a spreadsheet: save it as csv"):
        read_manifest(touch(tmp_path, "x.xlsx") / "x.xlsx")
    with pytest.raises(DataError, match="is a file of vectors"):
        read_manifest(touch(tmp_path, "x.npz") / "x.npz")
    with pytest.raises(DataError, match="a pattern stands for archives only"):
        read_manifest(tmp_path / "*.jpg")
    with pytest.raises(DataError, match="is a single image: name the folder"):
        read_manifest(touch(tmp_path, "x.JPG") / "x.JPG")
    with pytest.raises(DataError, match="name the folder"):
        read_manifest(touch(tmp_path, "x.rar") / "x.rar")
    with pytest.raises(DataError, match="no zip, or damaged"):
        read_manifest(touch(tmp_path, "x.zip") / "x.zip")


def test_ants_and_bees(hymenoptera):
    manifest = read_manifest(hymenoptera)
    assert len(manifest) == 397
    assert [reject.path for reject in manifest.rejects] == ["train/ants/imageNotFound.gif"]
    assert manifest.classes == ("ants", "bees")


@pytest.mark.parametrize("names", [("Train", "validation"), ("train", "valid"), ("training", "testing", "val")])
def test_splits_under_other_names_are_not_taken_for_classes(tmp_path, names):
    for name in names:
        touch(tmp_path, f"{name}/a/1.jpg", f"{name}/b/1.jpg")
    manifest = read_manifest(tmp_path)
    assert set(manifest.images.labels) == {""}
    assert "look like splits" in manifest.unclear


def test_a_class_may_be_called_test(tmp_path):
    assert read_manifest(touch(tmp_path, "Test/1.jpg", "control/1.jpg")).classes == ("Test", "control")


def test_bad_rows_of_a_csv_are_left_out_unless_asked_for(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    path = tmp_path / "labels.csv"
    path.write_text("path,label,bad\n1.jpg,ant,\n2.jpg,bee,no\n3.jpg,bee,yes\ngone.jpg,junk,yes\n")
    assert [image.path for image in read_manifest(path).images] == ["1.jpg", "2.jpg"]
    assert read_manifest(path).classes == ("ant", "bee")
    everything = read_manifest(path, with_bad=True)
    assert [(image.path, image.bad) for image in everything.images][1:] == [
        ("2.jpg", False),
        ("3.jpg", True),
        ("gone.jpg", True),
    ]
    assert everything.classes == ("ant", "bee", "junk")
    path.write_text("path,label,bad\n1.jpg,ant,\n2.jpg,bee,perhaps\n")
    with pytest.raises(DataError, match="line 3: bad is 'perhaps'"):
        read_manifest(path)


def test_an_apostrophe_before_a_formula_is_no_part_of_the_cell(tmp_path):
    touch(tmp_path, "=1.jpg", "'2.jpg")
    path = tmp_path / "labels.csv"
    path.write_text("path,label\n'=1.jpg,'-ant\n'2.jpg,''=bee\n")
    assert [image[:2] for image in read_manifest(path).images] == [("=1.jpg", "-ant"), ("'2.jpg", "'=bee")]
