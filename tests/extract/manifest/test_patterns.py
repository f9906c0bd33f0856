"""Patterns name what a shell would name; brackets in names are no pattern, and links lead nowhere twice."""

import glob
import os

import pytest

from fc7.extract.new_images import expand


@pytest.fixture
def root(tmp_path):
    for name in ("a.png", "b.png", "B.PNG", "deep/c.png", "deep/er/d.png", "no.gif", "[odd].png", "at [1]/e.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def found(root, pattern):
    return [os.path.relpath(path, root) for path, reason in expand([root / pattern]) if not reason]


@pytest.mark.parametrize("pattern", ["*.png", "**/*.png", "deep/**", "**/er/*.png", "**/d*.png", "[ab].png", "?.png"])
def test_files_are_those_of_glob(root, pattern):
    expected = [
        path
        for path in glob.glob(pattern, root_dir=root, recursive=True)  # noqa: PTH207
        if (root / path).is_file()
    ]
    assert sorted(found(root, pattern)) == sorted(expected)


def test_a_folder_that_matches_stands_for_what_is_in_it(root):
    assert found(root, "de*") == ["deep/c.png", "deep/er/d.png"]
    assert found(root, "**/er") == ["deep/er/d.png"]


def test_what_matches_and_is_no_image_has_its_reason(root):
    ((path, reason),) = expand([root / "*.gif"])
    assert (path, "'.gif' is not one of" in reason) == (f"{root}/no.gif", True)
    assert list(expand([root / "*.tif"])) == [(f"{root}/*.tif", "no file has a name like that")]


def test_brackets_in_names_that_are_there(root):
    assert found(root, "[odd].png") == ["[odd].png"]
    assert found(root, "at [1]") == ["at [1]/e.png"]
    assert found(root, "at [1]/*.png") == ["at [1]/e.png"]
    assert found(root, "at [1]/**/*.png") == ["at [1]/e.png"]


def test_links_in_a_circle_end(root):
    for name in ("one", "two", "deep/up"):
        (root / name).symlink_to(root)
    assert sorted(found(root, "**/*.png")) == ["[odd].png", "a.png", "at [1]/e.png", "b.png", "deep/c.png",
                                               "deep/er/d.png"]  # fmt: skip


def test_a_systems_own_is_left_out_unless_named(root):
    (root / "deep/@eaDir").mkdir()
    (root / "deep/@eaDir/t.png").write_bytes(b"x")
    assert found(root, "deep/**/*.png") == ["deep/c.png", "deep/er/d.png"]
    assert found(root, "deep/*/*.png") == ["deep/er/d.png"]
    assert found(root, "deep/@eaDir/*.png") == ["deep/@eaDir/t.png"]


def test_relative_to_the_working_directory(root, monkeypatch):
    monkeypatch.chdir(root)
    assert list(expand(["deep/**/*.png"])) == [("deep/c.png", ""), ("deep/er/d.png", "")]
    assert list(expand(["**/d.png"])) == [("deep/er/d.png", "")]
    assert list(expand(["./*.png"])) == [("[odd].png", ""), ("a.png", ""), ("b.png", "")]
