"""Guards of the house. Each has a twin that proves the guard can fail."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("errors", "cache", "extract", "classify", "cli")  # imports run downwards: cli -> classify -> ... -> errors
ROOT_FILES = {"__init__.py", "__main__.py", "cli.py", "errors.py"}


def modules(root):
    """Yield (module file, room) of the package's own files."""
    for path in sorted(root.glob("*.py")):
        yield path, path.stem
    for room in ("cache", "extract", "classify"):
        for path in sorted((root / room).rglob("*.py")):
            yield path, room


def climbs(source, room, where):
    """Return the imports of a module that go up the ladder or leave the relative form."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [f"{where}: import {alias.name}" for alias in node.names if alias.name.split(".")[0] == "fc7"]
        if isinstance(node, ast.ImportFrom):
            first = (node.module or node.names[0].name).split(".")[0]
            if node.level == 0 and first == "fc7":
                found.append(f"{where}: from {node.module}")
            own = room in ("cache", "extract", "classify")
            target = first if node.level == (2 if own else 1) else room
            if target in ROOMS and room in ROOMS and ROOMS.index(target) > ROOMS.index(room):
                found.append(f"{where}: {room} imports {target}")
    return found


def stray_files(root):
    return sorted(path.name for path in root.glob("*.py") if path.name not in ROOT_FILES)


def unlisted_packages(root):
    listed = set(tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    rooms = {"fc7"} | {f"fc7.{path.parent.name}" for path in root.glob("*/__init__.py")}
    return sorted(listed ^ rooms)


def loads(code, *unwanted):
    """Return which of the unwanted modules a fresh interpreter has loaded after running the code."""
    program = f"import sys\n{code}\nprint('LOADED', *[name for name in {unwanted!r} if name in sys.modules])"
    reply = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return reply.stdout.rpartition("LOADED")[2].split()


HELP = "from fc7.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
HEAVY = ("torch", "torchvision", "sklearn", "numpy", "h5py", "PIL", "rich", "scipy")


def test_imports_only_go_down():
    found = [climb for path, room in modules(ROOT) for climb in climbs(path.read_text(), room, path.name)]
    assert found == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("cache", "from ..extract import x"),
        ("cache", "from ..classify.fit import x"),
        ("errors", "from .cache import x"),
        ("extract", "from .. import classify"),
        ("extract", "def f():\n    from ..cli import main"),
        ("classify", "import fc7.cache"),
        ("classify", "from fc7.cache import Store"),
    ],
)
def test_twin_climbing_is_seen(room, line):
    assert climbs(line, room, "twin")


def test_help_loads_nothing_heavy():
    assert loads(HELP, *HEAVY) == []


def test_twin_help_that_loads_numpy_is_seen():
    assert loads("import numpy\n" + HELP, *HEAVY) == ["numpy"]


def test_the_cache_room_knows_neither_torch_nor_scikit_learn():
    code = "import fc7.cache, fc7.cache.verify, h5py"
    assert loads(code, "torch", "sklearn", "PIL") == []


def test_twin_a_cache_that_knows_torch_is_seen():
    assert loads("import fc7.cache, fc7.extract.network", "torch", "sklearn") == ["torch"]


def test_records_are_compared_without_a_network():
    """Heads, comparison and report work from records and arrays; torch comes with the first thing that needs it."""
    assert loads("import fc7.classify, fc7.classify.stats, fc7.classify.verdict", "torch", "torchvision") == []


def test_only_four_python_files_in_the_root():
    assert stray_files(ROOT) == []


def test_twin_a_fifth_file_is_seen(tmp_path):
    (tmp_path / "cli.py").touch()
    (tmp_path / "setup.py").touch()
    assert stray_files(tmp_path) == ["setup.py"]


def test_the_packages_list_is_the_folders():
    assert unlisted_packages(ROOT) == []


def test_twin_an_unlisted_room_is_seen(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.setuptools]\npackages = ["fc7"]\n')
    (tmp_path / "attic").mkdir()
    (tmp_path / "attic" / "__init__.py").touch()
    assert unlisted_packages(tmp_path) == ["fc7.attic"]


def test_one_import_name():
    """Rooms are importable as ``fc7.cache`` only: a bare ``import cache`` would be a second copy of the module."""
    code = "import importlib.util, fc7.cache\nprint(importlib.util.find_spec('cache') is None)"
    run = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=Path(sys.prefix)
    )
    assert run.stdout.strip() == "True"


def test_twin_a_second_name_is_seen():
    code = (
        f"import importlib.util, sys\nsys.path[0:0] = [{str(ROOT)!r}]\nprint(importlib.util.find_spec('cache') is None)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_tests_have_no_init_and_import_fc7_only():
    assert list((ROOT / "tests").rglob("__init__.py")) == []
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").split(".")[0] not in ("cache", "extract", "classify"), path


def test_no_assert_and_no_print_in_the_package():
    for path, room in modules(ROOT):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Assert), f"{path.name}:{node.lineno}"
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id
            assert called != "print" or room == "cli", f"{path.name}:{node.lineno}"
