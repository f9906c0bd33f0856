"""Which folders are splits and which are classes; what looks like splits has no labels, and a line that renames it."""

import re
import shlex
import subprocess

import pytest
from fakes import touch

from fc7.errors import DataError
from fc7.extract import read_manifest


def grid(tops, classes, path="{top}/{label}/1.jpg"):
    return [path.format(top=top, label=label) for top in tops for label in classes]


NESTED = "{top}/{top}/{label}/1.jpg"

SPLITS = {
    "by name": [*grid(["seg_train", "seg_test"], ["sea", "hill"]), "seg_pred/1.jpg"],
    "by name, as Kaggle nests it": grid(["training_set", "test_set"], ["sea", "hill"], NESTED),
    "by name, without classes": ["train_images/1.jpg", "test_images/2.jpg"],
    "in camel case": grid(["TrainImages", "ValImages"], ["sea", "hill"]),
    "by structure": grid(["A", "B"], ["sea", "hill", "wood"]),
    "by structure, nested": grid(["A", "B"], ["sea", "hill", "wood"], NESTED),
    "with other images beside": [*grid(["A", "B"], ["sea", "hill"]), "C/1.jpg"],
    "one lacks a class": [*grid(["A"], ["sea", "hill", "wood"]), *grid(["B"], ["sea", "wood"])],
    "one has a class more": [*grid(["A"], ["sea", "hill", "wood"]), *grid(["B"], ["sea", "wood", "new"])],
    "one has an image too many": [*grid(["A", "B"], ["sea", "hill"]), "A/sample.jpg"],
    "folds": grid(["fold 1", "fold 2", "fold 3"], ["sea", "hill"]),
    "folds of train": grid(["train/1", "train/2"], ["sea", "hill"]),
    "classes with sides": grid(["ants", "bees"], ["left", "right"]),  # nothing tells them from splits
}

CLASSES = {
    "one folder in common": grid(["n1", "n2", "n3"], ["images"]),
    "one folder in common, and others": ["a/images/1.jpg", "a/x/1.jpg", "b/images/1.jpg", "b/y/1.jpg"],
    "images beside the same folders": [*grid(["a", "b"], ["more", "old"]), "a/1.jpg", "b/1.jpg"],
    "few of many in common": grid(["a"], "stuvwx") + grid(["b"], "stmnop"),
    "thumbnails of storage": ["a/1.jpg", "b/1.jpg", *grid(["a", "b"], ["@eaDir", "#recycle", "__MACOSX"])],
    "hidden": ["a/1.jpg", "b/1.jpg", *grid(["a", "b"], [".x", ".y"])],
    "two kinds of trains": ["freight_train/1.jpg", "passenger_train/1.jpg"],
    "one word": ["contest/1.jpg", "training/1.jpg", "protrain/1.jpg"],
}


@pytest.mark.parametrize("names", SPLITS.values(), ids=SPLITS)
def test_splits_under_other_names_are_never_classes(tmp_path, names):
    manifest = read_manifest(touch(tmp_path, *names))
    assert sorted(manifest.images.paths) == sorted(names), "all of them can be embedded"
    assert (manifest.classes, set(manifest.images.splits)) == ((), {""})
    assert "Splits are called train, val and test" in manifest.unclear
    assert manifest.unclear.endswith("Until then the images have no label.")


@pytest.mark.parametrize("names", CLASSES.values(), ids=CLASSES)
def test_classes_are_not_taken_for_splits(tmp_path, names):
    manifest = read_manifest(touch(tmp_path, *names))
    assert manifest.unclear == ""
    assert manifest.classes == tuple(sorted({name.partition("/")[0] for name in names}))


@pytest.mark.parametrize("kind", ["by name", "by name, as Kaggle nests it"])
def test_the_commands_in_the_message_make_it_readable(tmp_path, kind):
    root = touch(tmp_path / "my data", *SPLITS[kind])
    commands = read_manifest(root).unclear.partition("rename them: ")[2].partition(". If")[0]
    for command in commands.split("; "):
        assert shlex.split(command)[0] == "mv"
        subprocess.run(command, shell=True, check=True)
    manifest = read_manifest(root)
    assert manifest.classes == ("hill", "sea")
    assert set(manifest.images.splits) == {"train", "test"}


def test_no_command_overwrites_a_split(tmp_path):
    names = grid(["train", "valid", "validation"], ["sea", "hill"])
    assert re.search(r"valid and validation\. .* rename them\. If", read_manifest(touch(tmp_path, *names)).unclear)


def test_splits_below_classes(tmp_path):
    manifest = read_manifest(touch(tmp_path, *grid(["ants", "bees"], ["train", "test"])))
    assert re.search(r"ants and bees hold test and train.*: test/ants, not ants/test", manifest.unclear)


@pytest.mark.parametrize(
    ("names", "cure"),
    [
        (grid(["photos/train", "photos/val"], "ab"), r"name .*/photos\."),
        (grid(["photos"], "ab"), r"name .*/photos\."),
        (grid(["train", "test"], "ab", NESTED), r"mv .*/train/train/\* .*/train\."),
    ],
)
def test_a_folder_too_many_is_named(tmp_path, names, cure):
    assert re.search(f"one class only.*{cure}", read_manifest(touch(tmp_path, *names)).unclear)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1.jpg", "2.jpg"], {"1.jpg": ("", ""), "2.jpg": ("", "")}),
        (["train/1.jpg", "test/2.jpg"], {"train/1.jpg": ("", "train"), "test/2.jpg": ("", "test")}),
        (["train/a/1.jpg", "test/2.jpg"], {"train/a/1.jpg": ("a", "train"), "test/2.jpg": ("", "test")}),
        (["1.jpg", "a/2.jpg", "a/more/3.jpg"], {"a/2.jpg": ("a", ""), "a/more/3.jpg": ("a", ""), "1.jpg": ("", "")}),
        (["a/1.jpg"], {"a/1.jpg": ("a", "")}),
        (["train/a/1.jpg", "2.jpg"], {"train/a/1.jpg": ("a", "train"), "2.jpg": ("", "")}),
        (["1.jpg", "exports/list.txt"], {"1.jpg": ("", "")}),
        (["a/b/c/1.jpg"], {"a/b/c/1.jpg": ("a", "")}),
    ],
)
def test_images_in_no_class_folder_have_no_label(tmp_path, names, expected):
    manifest = read_manifest(touch(tmp_path, *names))
    assert {path: (label, split) for path, label, split, *_ in manifest.images} == expected
    assert list(manifest.images.paths) == list(expected), "those with labels first, in the order of before"
    assert manifest.classes == tuple(sorted({label for label, _ in expected.values()} - {""}))
    assert manifest.unclear == ""


def test_in_a_folder_of_images_everything_is_an_image_or_a_reject(tmp_path, log):
    manifest = read_manifest(touch(tmp_path, "1.jpg", "2.gif", "notes.txt", ".hidden.jpg"))
    assert [reject.path for reject in manifest.rejects] == ["2.gif", "notes.txt"]
    assert log.messages == [f"fc7: left out of {tmp_path}, as hidden, a system's own or a cache of fc7: 1 .hidden.jpg."]


def test_a_folder_that_may_be_a_split_or_a_class_decides_nothing(tmp_path):
    names = ["train/1.jpg", "bus/1.jpg", "car/1.jpg"]
    manifest = read_manifest(touch(tmp_path, *names))
    assert sorted(manifest.images.paths) == sorted(names)
    assert set(manifest.images.labels) == set(manifest.images.splits) == {""}
    assert "If train is a class like these, name them in a csv" in manifest.unclear


def test_an_empty_class_folder_is_said_to_whoever_fits(tmp_path):
    manifest = read_manifest(touch(tmp_path, "a/1.jpg", "b/1.txt"))
    assert (manifest.classes, len(manifest)) == (("a",), 1)
    assert f"The class folder {tmp_path}/b has no images" in manifest.unclear


def test_what_is_in_no_class_is_said(tmp_path, log):
    touch(tmp_path, *grid(["train", "val"], "ab"), "train/1.jpg", "2.jpg", "docs/x.jpg", "notes.txt")
    assert len(read_manifest(tmp_path)) == 6
    assert log.messages == [
        f"fc7: {tmp_path}: images in no class folder have no label: 2, the first is 2.jpg.",
        f"fc7: left out of {tmp_path}: folders beside train and val: docs.",
    ]
    log.clear()
    assert len(read_manifest(touch(tmp_path / "sound", "a/1.jpg", "b/1.jpg"))) == 2
    assert log.messages == []


def test_classes_that_look_the_same_are_told_apart(tmp_path):
    touch(tmp_path, "train/caf\u00e9/1.jpg", "train/b/1.jpg", "val/cafe\u0301/1.jpg")
    with pytest.raises(DataError, match=r"'cafe\\u0301' and 'caf\\xe9' look the same"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("twin", ["cafe\u0301 noir", "caf\xe9\u200b noir", "caf\xe9\xa0noir"])
def test_classes_that_look_the_same_are_refused_in_one_split_as_well(tmp_path, twin):
    touch(tmp_path, "caf\xe9 noir/1.jpg", f"{twin}/2.jpg", "tea/3.jpg")
    with pytest.raises(DataError, match=r"the classes .* and .* look the same: rename one\.$"):
        read_manifest(tmp_path)
    table = tmp_path / "table.csv"
    table.write_text(f"path,label\ntea/3.jpg,tea\ntea/3.jpg,caf\xe9 noir\ntea/3.jpg,{twin}\n", "utf-8")
    with pytest.raises(DataError, match=r"the classes .* and .* look the same: rename one\.$"):
        read_manifest(table)
