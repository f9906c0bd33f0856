"""Help: a text for every verb, examples that run, and docs/cli.md as the parser is."""

import argparse
import ast
import re
import shlex
from pathlib import Path

import manual as document
import pytest
from fakes import noisy
from stores import upload

import fc7
from fc7 import cli, errors
from fc7.classify import load_runs
from fc7.classify.reviews.server import Server
from fc7.extract.commands.cache import VERBS as CACHE_VERBS
from fc7.extract.commands.overview import ENVIRONMENT, ENVIRONMENT_OF_JOBS, EXIT_CODES
from fc7.extract.weights import sources
from fc7.extract.weights.sources import place_of


def commands(parser):
    yield parser
    for inner in document.verbs(parser).values():
        yield from commands(inner)


ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(fc7.__file__).parent
COMMANDS = ["fc7", *(f"fc7 {verb}" for verb in cli.VERBS), *(f"fc7 cache {verb}" for verb in CACHE_VERBS)]
PARSERS = {parser.prog: parser for parser in commands(cli.parser())}
READ_BY_LIBRARIES = {"NO_COLOR", "COLUMNS"}  # rich, and argparse


def examples(command):
    """Return the words of each example of a command, without where a shell would send what it prints."""
    lines = PARSERS[command].examples.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[: line.index(">")] if ">" in line else line for line in words if line]


# Texts


def test_every_verb_has_a_text_and_examples():
    assert sorted(PARSERS) == sorted(COMMANDS)
    assert [command for command, parser in PARSERS.items() if not (parser.text and parser.examples)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_verb_has_a_description_and_examples_that_parse(command):
    assert len(PARSERS[command].text.split()) > 10
    lines = examples(command)
    assert 1 <= len(lines) <= 8
    assert any(" ".join(words).startswith(command) for words in lines)
    for words in lines:
        assert words[0] == "fc7"
        assert cli.parser(words[1:]).parse_args(words[1:]).run


def test_twin_an_example_that_does_not_parse_is_seen():
    with pytest.raises(errors.UsageError, match="unknown: bakbone"):
        cli.parser().parse_args(["extract", "my_pictures", "--bakbone", "vgg16"])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", ["80", "200"])
def test_help_fits_into_its_terminal_and_ends_with_the_examples(fc7, command, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    code, out, err = fc7(*command.split()[1:], "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: {command}")
    assert [line for line in out.splitlines() if len(line) > min(int(columns), 100)] == []
    for line in PARSERS[command].examples.strip().splitlines():
        assert f"  {line}".rstrip() in out.partition("\nexamples:\n")[2].splitlines()


def test_every_argument_says_what_it_is_and_what_is_so_without_it():
    silent = []
    for command in commands(cli.parser()):
        for action in command._actions:
            if isinstance(action.choices, dict):
                continue
            optional = action.option_strings and action.nargs != 0 and not action.required
            written = str(action.metavar).startswith("FILE") or isinstance(action, argparse._AppendAction)
            if not action.help or (optional and not written and "default: " not in action.help):
                silent.append(f"{command.prog} {action.dest}")
    assert silent == []


def test_the_help_knows_every_exit_code_of_an_error(fc7):
    codes = {
        error.exit_code for error in vars(errors).values() if isinstance(error, type) and hasattr(error, "exit_code")
    }
    assert codes <= {int(code) for code in EXIT_CODES}
    out = fc7("--help")[1]
    for name, text in (EXIT_CODES | ENVIRONMENT).items():
        assert f"\n  {name} " in out
        assert text.split()[0] in out
    assert not re.search("SLURM|RAY", out)
    of_jobs = fc7("extract", "--help")[1]
    assert all(f"\n  {name} " in of_jobs for name in ENVIRONMENT_OF_JOBS)


# docs/cli.md


def test_the_document_is_what_the_parser_says(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == document.page(), "docs/cli.md is not what the parser says; write it anew with: make docs"


def test_the_page_on_the_project_file_has_every_key():
    written = (ROOT / "docs" / "project_file.md").read_text(encoding="utf-8")
    assert written == document.with_keys(written), "write it anew with: make docs"
    assert {"data", "backbone", "cross-validate"} <= set(re.findall(r"^\| `([\w-]+)` \|", written, re.MULTILINE))


def test_the_document_has_every_verb_and_every_option():
    page = document.page()
    for command in commands(cli.parser()):
        assert f"# {command.prog}\n" in page or command.prog == "fc7"
        for action in command._actions:
            assert all(f"`{option}" in page for option in action.option_strings if option != "--version")


# The environment


def variables(source):
    """Return the environment variables that a source reads, and the lines where it does so in another way."""
    tree, names, understood = ast.parse(source), [], 0
    for node in ast.walk(tree):
        name, key = None, None
        if isinstance(node, ast.Call) and node.args:
            name, key = ast.unparse(node.func), node.args[0]
        if isinstance(node, ast.Subscript):
            name, key = f"{ast.unparse(node.value)}[]", node.slice
        if name in ("os.environ.get", "os.environ.setdefault", "os.getenv", "os.environ[]") and isinstance(
            key, ast.Constant
        ):
            names.append(key.value)
            understood += 1
    every = [node.lineno for node in ast.walk(tree) if getattr(node, "attr", "") in ("environ", "getenv")]
    return names, [] if len(every) == understood else every


def test_every_environment_variable_is_in_the_help():
    read = set()
    rooms = [PACKAGE / room for room in ("cache", "classify", "extract")]
    for path in [*PACKAGE.glob("*.py"), *(path for room in rooms for path in sorted(room.rglob("*.py")))]:
        names, otherwise = variables(path.read_text(encoding="utf-8"))
        assert otherwise == [], f"{path}: read it as os.environ.get(NAME)"
        read |= set(names)
    assert "FC7_CACHE" in read
    assert read | READ_BY_LIBRARIES == ENVIRONMENT.keys() | ENVIRONMENT_OF_JOBS.keys()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("os.environ.get('A') or os.getenv('B', '')", (["A", "B"], [])),
        ("os.environ['A']", (["A"], [])),
        ("os.environ.setdefault('A', 'x')", (["A"], [])),
        ("'A' in os.environ", ([], [1])),
        ("os.environ.get(name)", ([], [1])),
    ],
)
def test_twin_a_variable_is_seen(source, found):
    assert variables(source) == found


# Every example runs, in the order of the help


STAND_INS = {
    ("--backbone", "vgg16"): ["--backbone", "squeezenet1_1", "--weights", "random:0"],
    ("--backbone", "resnet50"): ["--backbone", "resnet18"],
    ("--layer", "fc6"): ["--layer", "gap"],
    ("--layer", "fc7"): ["--layer", "logits"],
    ("--weights", "file:vgg16-397923af.pth"): ["--weights", "random:0"],
    ("--image-size", "224"): ["--image-size", "64"],
    ("--image-size", "320"): ["--image-size", "96"],
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with pictures and with what a first walk through ``fc7 --help`` leaves."""
    root = tmp_path_factory.mktemp("desk")
    lines = ["path,predicted"]
    for place, (label, colour) in enumerate({"blue": (20, 20, 220), "red": (220, 20, 20)}.items()):
        for number in range(10):
            path = f"{'train' if number < 6 else 'val'}/{label}/{number}.png"
            noisy(root / "my_pictures" / path, colour, 100 * place + number)
            lines += [f"{path},{label}"] if number >= 6 else []
        noisy(root / "new_pictures" / f"{label}.png", colour, 1000 + place)
    for name in ("one.jpg", "another.png", *(f"photos/{number}.jpg" for number in range(5))):
        noisy(root / name, (200, 30, 30), len(name))
    (root / "theirs.csv").write_text("\n".join(lines))
    return root


@pytest.fixture
def walk(desk, fc7, monkeypatch, request):
    """Run the examples of a command where the pictures are, with weights that need no download."""
    import sklearn.datasets

    def of_small_networks(row):
        return place_of(row) if row.weights == "ndf" or "lite0" in row.backbone else None

    monkeypatch.setattr(sources, "place_of", of_small_networks)
    digits = sklearn.datasets.load_digits()
    digits.images, digits.target = digits.images[:60], digits.target[:60]
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: digits)
    monkeypatch.setattr(
        Server, "run", lambda self: self._socket.close() or self.review.decide(0, bad=True)
    )  # and Ctrl-C
    monkeypatch.setenv("FC7_CACHE", str(desk / "cache"))
    monkeypatch.chdir(desk)

    def run(command):
        for words in examples(command):
            for pair, instead in STAND_INS.items():
                words = stand_in(words, pair, instead)
            if "s3://pictures/insects" in words:
                upload(request.getfixturevalue("s3"), desk / "my_pictures", "insects")
            if "--recipe" in words:
                recipes = sorted(path.name for path in (desk / "cache" / "recipes").iterdir())
                words = stand_in(words, ("--recipe", "3fa94c"), ["--recipe", recipes[0][:10]])
            if {"finetune", "--finetune"} & set(words):
                words = [*words, "--epochs", "1"]  # of a minute each
            if words[1] in ("screen", "compare") and "--heads" not in words:
                words = [*words, "--heads", "ridge,centroid"]  # all of them take seconds, and have tests of their own
            words = [str(desk / "cache") if word == "/data/fc7" else word for word in words]
            code, out, err = fc7(*words[1:])
            assert code == 0, f"{shlex.join(words)}: {err}"
            assert out.strip()

    return run


def stand_in(words, pair, instead):
    """Return words with a pair of them replaced."""
    replaced = list(words)
    for place in reversed(range(len(replaced) - 1)):
        if tuple(replaced[place : place + 2]) == pair:
            replaced[place : place + 2] = instead
    return replaced


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_run(walk, desk, command, request):
    if command == "fc7 report":
        request.getfixturevalue("semaphores")
    for package, needed in {
        "ndf": ("fc7", "fc7 extract", "fc7 demo", "fc7 screen"),
        "onnx": ("fc7 export",),
        "ray": ("fc7 extract",),
        "s3fs": ("fc7 extract",),
        "moto": ("fc7 extract",),
        "shtab": ("fc7 completion",),
        "starlette": ("fc7 review",),
        "uvicorn": ("fc7 review",),
    }.items():
        if command in needed:
            pytest.importorskip(package)
    if not (desk / "my.fc7").exists() and command != "fc7":
        walk("fc7")
    if command in ("fc7 fit", "fc7 cache import") and not (desk / "my.h5").exists():
        walk("fc7 cache export")
    if command == "fc7 report" and not any(run.curves for run in load_runs(desk / "my-runs")):
        walk("fc7 finetune")  # --tensorboard needs epochs
    walk(command)
