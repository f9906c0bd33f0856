"""Messages: on the command line they name options and verbs, from Python arguments and functions."""

import ast
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import draw

import fc7
from fc7 import classify, cli, extract
from fc7.classify.finetuning.finetune import finetune
from fc7.classify.records.external import read_results
from fc7.classify.reviews.server import Server
from fc7.classify.settings import Training
from fc7.errors import (
    FC7Error,
    MissingDependency,
    MissingExtra,
    UsageError,
    command_line,
    dependencies,
    in_python,
)
from fc7.extract.extraction import read

TAKE = "Take --batch-size 8."


def test_an_error_speaks_the_language_of_who_reads_it():
    error = UsageError(TAKE)
    assert str(error) == "Take batch_size 8."
    with command_line():
        assert str(error) == TAKE
        with command_line():
            pass
        assert str(error) == TAKE
    assert str(pickle.loads(pickle.dumps(error))) == "Take batch_size 8."
    assert str(MissingExtra("pyarrow", "tables")).startswith("pyarrow is not installed. Install it with: pip install")


@pytest.mark.parametrize(("message", "said"), [
    ("Without it: --engine local", "Without it: engine=None"),
    ("more than --max-ram allows", "more than max_ram allows"),
    ("Fill one: fc7 extract DATA --cache c", "Fill one: fc7.extract.extract, in a shell fc7 extract DATA --cache c"),
    ("Say: --columns 'path=a b,label=c'", "Say: columns={'path': 'a b', 'label': 'c'}"),
    ("Put it right: fc7 cache repair", "Put it right: fc7 cache repair"),
    ("See: fc7 fit DATA --dtype float32. Or --layer x", "See: fc7.classify.fit, in a shell fc7 fit DATA --dtype "
     "float32. Or layer x"),
    ("Install: pip install --upgrade h5py, then", "Install: pip install --upgrade h5py, then"),
    ("what fc7 fit does", "what fc7 fit does"),
])  # fmt: skip
def test_options_are_arguments_and_verbs_functions(message, said):
    assert in_python(message) == said
    assert in_python(said) == said


def test_a_verb_names_options(tmp_path, capsys):
    assert cli.main(["audit", str(tmp_path), "--threshold", "1.5"]) == 2
    assert "fc7: --threshold 1.5: must be more than 0" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"^threshold 1\.5: must be more than 0"):
        classify.audit(([[1.0]], ["a"]), threshold=1.5)


# Of the command line alone, or of other programs.
_NO_ARGUMENTS = {
    "allow_private_hosts", "allow_redirects", "all", "csv", "deep", "shard", "force_reinstall", "no_deps", "preload",
    "upgrade", "markdown", "json", "mlflow",
}  # fmt: skip


def test_every_option_that_a_message_names_is_an_argument():
    doors = [getattr(room, name) for room in (classify, extract) for name in room.__all__]
    functions = [*doors, finetune, read, read_results, Server, Training, classify.Bundle.predict, classify.Bundle.of]
    known = {name for thing in functions if callable(thing) for name in inspect.signature(thing).parameters}
    options = {found for text in _messages() for found in re.findall(r"--[a-z][a-z-]+", text)}
    arguments = {re.split("[ =]", in_python(option))[0] for option in options}
    assert len(arguments) > 20
    assert arguments - known - _NO_ARGUMENTS == set()


def _messages():
    """Yield all texts of the library that are no documentation; those of verbs go to a terminal only."""
    root = Path(fc7.__file__).parent
    for path in (file for room in ("cache", "extract", "classify") for file in (root / room).rglob("*.py")):
        if "commands" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documentation = {
            node.body[0].value
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation:
                yield node.value


def test_every_error_is_translated():
    kinds = [FC7Error]
    for kind in kinds:
        kinds += kind.__subclasses__()
        if kind is not MissingExtra:
            assert str(kind(TAKE)) == "Take batch_size 8."
    assert len(kinds) > 10


WITHOUT = """
import sys
class Gone:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Gone)
import fc7
print(fc7.__version__)
{statement}
"""


@pytest.mark.parametrize(
    "statement",
    [
        "from fc7.extract import load_backbone; load_backbone('alexnet', weights='random:0', cache=sys.argv[1])",
        "import fc7.cli; raise SystemExit(fc7.cli.main(['extract', 'pictures', '--weights', 'random:0', '--quiet']))",
    ],
    ids=["Python", "command line"],
)
def test_without_torch_one_line_says_how_to_install_it(statement, tmp_path):
    draw(tmp_path / "pictures" / "x.png", (1, 2, 3))
    program = WITHOUT.format(module="torch", statement=statement)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "cache")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.strip() == fc7.__version__
    said = "torch is not installed, and fc7 needs it. Install it with: pip install torch torchvision"
    assert done.stderr.splitlines()[-1].endswith(said)
    assert "Traceback" not in done.stderr or "load_backbone" in statement


def test_a_module_that_fc7_does_not_need_is_nobodys_but_its_own():
    with pytest.raises(ModuleNotFoundError, match="my_own_module"), dependencies():
        raise ModuleNotFoundError("No module named 'my_own_module'", name="my_own_module")
    with pytest.raises(MissingDependency, match="pip install scikit-learn"), dependencies():
        raise ModuleNotFoundError("No module named 'sklearn.svm'", name="sklearn.svm")
