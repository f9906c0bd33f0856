"""A cache directory: what marks it, and who may make it."""

import os

import pytest

from fc7.cache import format as cache_format
from fc7.cache.directory import open_directory
from fc7.errors import CacheError


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CacheError, match=r"not an fc7 cache .* Name an empty or new folder"):
        open_directory(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_cache_that_another_process_makes_meanwhile_is_a_cache(tmp_path, monkeypatch):
    """Its marker comes between looking for it and looking what else is there."""
    folder = tmp_path / "cache"
    folder.mkdir()
    listing = type(folder).iterdir

    def after_the_other(path):
        monkeypatch.undo()
        open_directory(folder)
        (folder / "recipes").mkdir()
        return listing(path)

    monkeypatch.setattr(type(folder), "iterdir", after_the_other)
    assert open_directory(folder) == folder


def test_claims_of_a_run_whose_cache_was_moved_away_are_no_obstacle(tmp_path):
    (tmp_path / "claims").mkdir()
    assert open_directory(tmp_path) == tmp_path


def test_another_version_is_refused(tmp_path):
    (tmp_path / "FORMAT").write_text("fc7-cache 99\n")
    with pytest.raises(CacheError, match=rf"'fc7-cache 99', this version of fc7 reads '{cache_format.FORMAT_LINE}'"):
        open_directory(tmp_path)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    """Shells leave it as it is in ``--cache=~/cache``."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert open_directory("~/cache") == tmp_path / "home" / "cache"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(CacheError, match="no home folder for ~/cache"):
        open_directory("~/cache")
