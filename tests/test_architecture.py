"""Guards of the house. Each has a twin that proves the guard can fail."""

import ast
import collections
import functools
import graphlib
import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("cli", "classify", "extract", "cache", "errors")  # the top floor first: imports only go down
ROOT_FILES = {"__init__.py", "__main__.py", "cli.py", "errors.py"}
# What a room holds, the top floor first. A wing imports only those that stand further down in its room.
WINGS = {
    "classify": (
        "commands",
        "exports",
        "audits",
        "searches",
        "bundles",
        "screening",
        "fitting",
        "reports",
        "finetuning",
        "reviews",
        "maps",
        "records",
        "evaluation",
        "heads",
        "solvers",
        "data",
        "pages",
        "arrays",
        "settings",
    ),
    "extract": (
        "commands",
        "transformer",
        "new_images",
        "extraction",
        "in_memory",
        "engines",
        "decoding",
        "backbones",
        "weights",
        "vector_files",
        "manifest",
        "archives",
        "coordinates",
        "computing",
        "machine",
        "child_process",
        "progress",
        "settings",
        "readers",
        "text",
    ),
}
MOST_FILES = {"cache": 25}  # cache stays flat
MOST = 20

# No function takes more parameters, but these: what users call, who see each of them, and estimators, whose every
# hyper-parameter scikit-learn wants to have a name.
MOST_PARAMETERS = 8
DOORS = {
    "classify.bundles.bundle.Bundle.predict",
    "classify.exports.export.export",
    "classify.finetuning.finetune.finetune",
    "classify.fitting.compare.compare",
    "classify.fitting.fit.fit",
    "classify.heads.torch_linear.TorchLinear.__init__",
    "classify.screening.screen.screen",
    "extract.backbones.backbone.Backbone.__init__",
    "extract.backbones.published.load_backbone",
    "extract.extraction.fill",
    "extract.transformer.EmbeddingTransformer.__init__",
}


@functools.cache
def tree(path):
    """Return the syntax tree of a file, parsed once for all guards."""
    return ast.parse(path.read_text())


@pytest.fixture(scope="module", autouse=True)
def no_trees_stay():
    yield
    tree.cache_clear()


class House:
    """The modules of a package by dotted name below ``fc7``, such as ``classify.heads.ridge``."""

    def __init__(self, root):
        self.root = root
        files = [*root.glob("*.py"), *(path for room in ROOMS for path in (root / room).rglob("*.py"))]
        self.files = {self._name(path): path for path in sorted(files)}

    def _name(self, path):
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def imports(self, name) -> Iterator[tuple[str, str]]:
        """Yield (module, name taken from it or empty) for each import of fc7's own, wherever in the file it stands.

        Imports inside functions and under TYPE_CHECKING count like all others.
        """
        path = self.files[name]
        package = path.relative_to(self.root).parts[:-1]
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ImportFrom) or node.level == 0:
                continue
            base = (*package[: len(package) - node.level + 1], *(node.module or "").split("."))
            module = ".".join(filter(None, base))
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix(".")
                yield (inner, "") if inner in self.files else (module, alias.name)


def climbs(house):
    """Return the imports that go up, from room to room or from wing to wing."""
    found = []
    for name in house.files:
        room, _, inside = name.partition(".")
        for module, _ in house.imports(name):
            target, _, beyond = module.partition(".")
            if room not in ROOMS or target not in ROOMS:
                continue
            order, one, other = ROOMS, room, target
            if room == target:
                order, one, other = WINGS.get(room, ()), inside.partition(".")[0], beyond.partition(".")[0]
            if one in order and other in order and order.index(other) < order.index(one):
                found.append(f"{name} imports {module}")
    return sorted(set(found))


def absolute_imports(house):
    """Return the imports that name fc7 instead of being relative."""
    found = []
    for name, path in house.files.items():
        for node in ast.walk(tree(path)):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [f"{name} imports {module}" for module in modules if module.partition(".")[0] == "fc7"]
    return found


def circle(house):
    """Return modules of which each imports the next and the last the first, lazy imports included; or nothing."""
    graph = {name: {module for module, _ in house.imports(name)} for name in house.files}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def wide_functions(house):
    """Return the functions and methods that take many parameters; `self` and `cls` are none, ``**options`` are one."""
    found = set()
    for name, path in house.files.items():
        scopes = [(name, tree(path))]
        while scopes:
            where, scope = scopes.pop()
            for node in ast.iter_child_nodes(scope):
                inside = f"{where}.{node.name}" if hasattr(node, "name") else where
                scopes.append((inside, node))
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    every = node.args
                    taken = [*every.posonlyargs, *every.args, *every.kwonlyargs, every.vararg, every.kwarg]
                    names = [one.arg for one in taken if one is not None]
                    if len(names) - (names[:1] in (["self"], ["cls"])) > MOST_PARAMETERS:
                        found.add(inside)
    return found


def doors_used_inside(house):
    """Return the imports of a public name from the door of a package, by what stands inside it."""
    doors = {name for name, path in house.files.items() if path.name == "__init__.py" and name}
    return sorted(
        f"{name} imports {taken or 'all'} from {module}"
        for name in house.files
        for module, taken in house.imports(name)
        if module in doors and name.startswith(f"{module}.")
    )


def unplaced(house):
    """Return what stands in a room of wings and is not in the table of wings."""
    return sorted(
        name
        for name in house.files
        for room, _, inside in [name.partition(".")]
        if room in WINGS and inside and inside.partition(".")[0] not in WINGS[room]
    )


def full_folders(root):
    """Return the folders of the package that hold more files than a person takes in at once."""
    folders = [folder for room in WINGS.keys() | {"cache"} for folder in [root / room, *(root / room).rglob("*/")]]
    counts = {
        str(folder.relative_to(root)): sum(path.is_file() for path in folder.iterdir())
        for folder in folders
        if folder.is_dir() and folder.name != "__pycache__"
    }
    return sorted(name for name, count in counts.items() if count > MOST_FILES.get(name, MOST))


def assigned_twice(house):
    """Return the constants, functions and classes of a module that it defines twice: the second hides the first."""
    found = []
    for name, path in house.files.items():
        counts = collections.Counter()
        for node in tree(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                counts[node.name] += 1
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            counts.update(target.id for target in targets if isinstance(target, ast.Name))
        found += [f"{name}.{twice}" for twice, count in counts.items() if count > 1]
    return found


def stray_files(root):
    return sorted(path.name for path in root.glob("*.py") if path.name not in ROOT_FILES)


def unlisted_packages(root):
    """Return the packages at any depth that pyproject.toml lacks, and those that it has too many."""
    listed = set(tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {path.parent for room in ROOMS for path in (root / room).rglob("*.py")}
    return sorted(listed ^ {"fc7", *(".".join(["fc7", *folder.relative_to(root).parts]) for folder in folders)})


def unshipped_data(root):
    """Return the folders that hold files which are no Python and are not in package-data."""
    data = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"].get("package-data", {})
    found = set()
    for path in (path for room in ROOMS for path in (root / room).rglob("*.*")):
        package = ".".join(["fc7", *path.parent.relative_to(root).parts])
        kept = any(path.match(pattern) for pattern in data.get(package, ()))
        if path.is_file() and path.suffix not in (".py", ".pyc") and not kept:
            found.add(str(path.relative_to(root)))
    return sorted(found)


def unmirrored(tests, root):
    """Return the folders of tests that the package lacks; what crosses all rooms has its own."""
    folders = {str(path.parent.relative_to(tests)) for path in tests.rglob("*.py")} - {"faults", "without"}
    return sorted(folder for folder in folders if not (root / folder).is_dir())


def borrowed_tests(tests):
    """Return the imports of a test module or of a conftest: what several need stands in a module of its own."""
    found = []
    for path in sorted(tests.rglob("*.py")):
        for node in ast.walk(tree(path)):
            taken = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            taken += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            parts = {part for name in taken for part in name.split(".")}
            if any(part == "conftest" or part.startswith("test_") for part in parts):
                found.append(f"{path.relative_to(tests)}: {ast.unparse(node)}")
    return found


HOUSE = House(ROOT)


def house_of(root, files):
    """Return a house whose modules hold the given text."""
    for name, text in files.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in path.relative_to(root).parents:
            if folder != Path():
                (root / folder / "__init__.py").touch()
        path.write_text(text)
    return House(root)


def loads(code, *unwanted):
    """Return which of the unwanted modules a fresh interpreter has loaded after running the code."""
    program = f"import sys\n{code}\nprint('LOADED', *[name for name in {unwanted!r} if name in sys.modules])"
    reply = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return reply.stdout.rpartition("LOADED")[2].split()


HEAVY = ("torch", "torchvision", "sklearn", "numpy", "h5py", "PIL", "rich", "scipy")


def test_imports_only_go_down():
    assert climbs(HOUSE) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("cache/x", "from ..extract import x"),
        ("cache/x", "from ..classify.fitting.fit import x"),
        ("errors", "from .cache import x"),
        ("extract/x", "from .. import classify"),
        ("extract/x", "def f():\n    from ..cli import main"),
        ("extract/engines/x", "from ...classify.fitting import x"),
        ("extract/engines/x", "from ..commands.options import x"),
        ("extract/progress", "from .engines.x import y"),
        ("classify/data/deep/deeper/x", "from ....heads.ridge import Ridge"),
        ("classify/heads/x", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..fitting.fit import fit"),
    ],
)
def test_twin_climbing_is_seen(tmp_path, name, line):
    others = dict.fromkeys(["cli", "errors", "cache/y", "extract/engines/y", "classify/heads/y"], "")
    assert len(climbs(house_of(tmp_path, others | {name: line}))) == 1


def test_imports_are_relative():
    assert absolute_imports(HOUSE) == []


@pytest.mark.parametrize("line", ["import fc7.cache", "from fc7.cache import Store", "def f():\n    import fc7"])
def test_twin_an_absolute_import_is_seen(tmp_path, line):
    assert len(absolute_imports(house_of(tmp_path, {"classify/heads/x": line}))) == 1


def test_no_module_imports_itself_by_way_of_others():
    assert circle(HOUSE) == []


@pytest.mark.parametrize(
    "back",
    [
        "from .a import x",
        "def f():\n    from .a import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import a",
    ],
)
def test_twin_a_circle_is_seen(tmp_path, back):
    house = house_of(tmp_path, {"cache/a": "from .b import y", "cache/b": "from .c import z", "cache/c": back})
    assert set(circle(house)) == {"cache.a", "cache.b", "cache.c"}


def test_only_doors_take_many_parameters():
    assert wide_functions(HOUSE) == DOORS


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("def f(a, b, c, d, e, f, g, h, i): ...", "f"),
        ("def f(a, b, c, d, /, e, f, *, g, h, **i): ...", "f"),
        ("async def f(a, b, c, d, e, f, g, h, *i): ...", "f"),
        ("class A:\n    def f(self, a, b, c, d, e, f, g, h, i): ...", "A.f"),
        ("def f():\n    if f:\n        def g(a, b, c, d, e, f, g, h, i): ...", "f.g"),
        ("class A:\n    def f(self, a, b, c, d, e, f, g, h): ...\ndef g(a, b, c, d, e, f, g, h): ...", ""),
    ],
)
def test_twin_a_function_of_many_parameters_is_seen(tmp_path, line, where):
    house = house_of(tmp_path, {"cache/x": line})
    assert wide_functions(house) == ({f"cache.x.{where}"} if where else set())


def test_no_door_is_used_from_inside():
    assert doors_used_inside(HOUSE) == []


def test_twin_a_door_used_from_inside_is_seen(tmp_path):
    house = house_of(tmp_path, {"extract/a/x": "from .. import load_backbone", "extract/b": "from .a import x"})
    assert doors_used_inside(house) == ["extract.a.x imports load_backbone from extract"]


def test_twin_a_door_used_as_an_object_is_seen(tmp_path):
    others = {"extract/engines/y": "", "classify/fitting/y": ""}
    used = {"extract/engines/x": "from ... import extract", "classify/heads/x": "from ... import classify"}
    assert doors_used_inside(house_of(tmp_path, others | used)) == [
        "classify.heads.x imports all from classify",
        "extract.engines.x imports all from extract",
    ]


def test_every_module_of_a_room_has_its_wing():
    assert unplaced(HOUSE) == []


def test_twin_a_module_without_a_wing_is_seen(tmp_path):
    house = house_of(tmp_path, {"classify/attic/x": "", "extract/shed": "", "extract/text": "", "cache/x": ""})
    assert unplaced(house) == ["classify.attic", "classify.attic.x", "extract.shed"]


def test_no_name_of_a_module_is_defined_twice():
    assert assigned_twice(HOUSE) == []


@pytest.mark.parametrize("second", ["SIZE = 2", "SIZE: int = 2", "def SIZE(): ..."])
def test_twin_a_name_that_is_defined_twice_is_seen(tmp_path, second):
    assert assigned_twice(house_of(tmp_path, {"cache/x": f"SIZE = 1\n{second}"})) == ["cache.x.SIZE"]


def test_no_folder_is_full():
    assert full_folders(ROOT) == []


def test_twin_a_full_folder_is_seen(tmp_path):
    folder = tmp_path / "classify" / "heads" / "many"
    folder.mkdir(parents=True)
    for number in range(MOST + 1):
        (folder / f"{number}.css").touch()
    assert full_folders(tmp_path) == ["classify/heads/many"]


def test_the_cache_room_knows_neither_torch_nor_scikit_learn():
    code = "import fc7.cache, fc7.cache.verify, h5py"
    assert loads(code, "torch", "sklearn", "PIL") == []


def test_twin_a_cache_that_knows_pillow_is_seen():
    assert loads("import fc7.cache, PIL", "torch", "sklearn", "PIL") == ["PIL"]


def test_records_are_compared_without_a_network():
    """Heads, comparison and report work from records and arrays; torch comes with the first thing that needs it."""
    assert (
        loads(
            "import fc7.classify, fc7.classify.evaluation.paired_tests, fc7.classify.reports.verdict",
            "torch",
            "torchvision",
        )
        == []
    )


def test_a_door_shows_its_public_names_and_nothing_else():
    """What tab completion offers is what there is, without the names that the door itself needs."""
    doors = ("fc7.cache", "fc7.extract", "fc7.classify", "fc7.classify.heads")
    program = f"""if True:
        from importlib import import_module
        doors = [import_module(name) for name in {doors!r}]
        for door in doors: print("LOADED", door.__name__, sorted(dir(door)) == sorted(door.__all__), *dir(door))
        print("LOADED no", any(hasattr(door, "no_such_name") for door in doors))
        for door in doors:
            for name in dir(door): getattr(door, name)
    """
    reply = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = [line.split()[1:] for line in reply.stdout.splitlines() if line.startswith("LOADED")]
    assert lines.pop() == ["no", "False"]
    assert [line[0] for line in lines] == [*doors]
    for _, same, *names in lines:
        assert same == "True"
        assert names
        assert not {"Any", "TYPE_CHECKING", "import_module"} & set(names)


def test_the_doors_load_nothing_before_it_is_asked_for():
    code = "import fc7.cache, fc7.extract, fc7.classify, fc7.classify.heads"
    assert loads(code, *HEAVY) == []


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
    house_of(tmp_path, {"classify/attic/deep/x": ""})
    assert unlisted_packages(tmp_path) == ["fc7.classify", "fc7.classify.attic", "fc7.classify.attic.deep"]


def test_the_wheel_has_every_file():
    assert unshipped_data(ROOT) == []


def test_twin_a_page_that_is_not_shipped_is_seen(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.setuptools]\npackages = ["fc7"]\n[tool.setuptools.package-data]\n"fc7.classify" = ["*.css"]\n'
    )
    (tmp_path / "classify" / "pages").mkdir(parents=True)
    (tmp_path / "classify" / "page.css").touch()
    (tmp_path / "classify" / "pages" / "page.css").touch()
    assert unshipped_data(tmp_path) == ["classify/pages/page.css"]


def untried_floors(root):
    """Return the requirements of a project whose lower bound is not the version that its lowest.txt has."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    wanted = [Requirement(line) for line in [*project["dependencies"], *itertools.chain(*extras)]]
    lines = [line.partition("#")[0].strip() for line in (root / "tests" / "lowest.txt").read_text().splitlines()]
    tried = {one.name.lower(): one.specifier for one in map(Requirement, filter(None, lines))}
    others = [one for one in wanted if one.name not in ("fc7", "torch", "torchvision")]
    return [
        str(one)
        for one in others
        if not one.specifier or versions(one.specifier, ">=") != versions(tried.get(one.name.lower(), ()), "==")
    ]


def versions(specifiers, operator):
    return [Version(one.version) if one.operator == operator else None for one in specifiers]


def test_every_lower_bound_is_tried():
    assert untried_floors(ROOT) == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    torch = [line for line in project["dependencies"] if line.startswith("torch")]
    assert f'TORCH="{" ".join(torch).replace(">=", "==")}"' in workflow


def test_twin_a_lower_bound_that_is_not_tried_is_seen(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["a>=1", "b>=2.0", "c", "torch>=3"]\n'
        'optional-dependencies = {x = ["d[e]>=1", "F>=4"]}\n'
    )
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "lowest.txt").write_text("# why\na==1.1\nb==2\nf==4\n")
    assert untried_floors(tmp_path) == ["a>=1", "c", "d[e]>=1"]


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
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").split(".")[0] not in ("cache", "extract", "classify"), path


def test_tests_mirror_the_house():
    assert unmirrored(ROOT / "tests", ROOT) == []


def test_twin_tests_of_a_wing_that_is_not_there_are_seen(tmp_path):
    tests = tmp_path / "tests"
    house_of(tmp_path, {"classify/heads/ridge": ""})
    for name in ("test_cli", "faults/test_1", "classify/conftest", "classify/heads/test_ridge", "classify/old/test_x"):
        (tests / name).parent.mkdir(parents=True, exist_ok=True)
        (tests / f"{name}.py").touch()
    assert unmirrored(tests, tmp_path) == ["classify/old"]


def test_no_test_file_imports_another():
    assert borrowed_tests(ROOT / "tests") == []


@pytest.mark.parametrize(
    "line",
    ["import test_x", "from test_x import helper", "def f():\n    from classify import conftest", "import a.conftest"],
)
def test_twin_a_borrowed_test_is_seen(tmp_path, line):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "test_y.py").write_text(f"from fakes import draw\n{line}\n")
    assert len(borrowed_tests(tmp_path)) == 1


# What makes text harmless for a medium, or writes an output, and the only modules that use it.
ONE_PLACE = {
    "csv.writer": {"extract.text"},
    "csv.DictWriter": set(),
    "sys.stdout.write": {"extract.commands.streams"},
    "sys.stderr.write": {"extract.commands.streams", "extract.progress"},
    "jinja2.Environment": {"classify.pages.page"},
    "files.replace": {"cache"},
}


def used_elsewhere(house):
    """Return the modules that use what belongs to one place."""
    found, last = [], {what.rpartition(".")[2] for what in ONE_PLACE}
    for name, path in house.files.items():
        attributes = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)]
        used = {ast.unparse(node) for node in attributes if node.attr in last}
        used |= {f"{module.rpartition('.')[2]}.{taken}" for module, taken in house.imports(name) if taken}
        for what, places in ONE_PLACE.items():
            if what in used and not {name, name.partition(".")[0]} & places:
                found.append(f"{name} uses {what}")
    return sorted(found)


def test_text_and_outputs_go_through_one_place_for_each_medium():
    assert used_elsewhere(HOUSE) == []


def test_twin_a_second_place_is_seen(tmp_path):
    house = house_of(
        tmp_path,
        {
            "extract/text": "import csv\ncsv.writer(None)",
            "classify/audits/tables": "import csv\ncsv.writer(None)",
            "classify/pages/page": "from ...cache.files import replace",
            "cache/files": "def replace(): ...",
        },
    )
    assert used_elsewhere(house) == [
        "classify.audits.tables uses csv.writer",
        "classify.pages.page uses files.replace",
    ]


def test_templates_escape_everything():
    for path in (ROOT / "classify").rglob("*.jinja"):
        assert not re.search(r"\|\s*safe\b|autoescape\s+false", path.read_text()), path


def fixed_waits(tests):
    """Return the lines of tests that sleep, or that want something to be done in so many seconds."""
    pattern = re.compile(r"\bsleep\(|assert .*(monotonic|perf_counter)\(\) - \w+ <")
    files = [path for path in tests.rglob("*.py") if path.name not in ("waiting.py", "test_architecture.py")]
    lines = [(path.name, line.strip()) for path in sorted(files) for line in path.read_text().splitlines()]
    return [f"{name}: {line}" for name, line in lines if pattern.search(line)]


def test_no_test_waits_for_a_fixed_time():
    assert fixed_waits(ROOT / "tests") == []


@pytest.mark.parametrize("line", ["time.sleep(3)", "sleep(1)", "    assert time.monotonic() - start < 3"])
def test_twin_a_fixed_wait_is_seen(tmp_path, line):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "test_y.py").write_text(f"x = 1\n{line}\n")
    assert fixed_waits(tmp_path) == [f"test_y.py: {line.strip()}"]


def test_no_assert_and_no_print_in_the_package():
    for name, path in HOUSE.files.items():
        for node in ast.walk(tree(path)):
            assert not isinstance(node, ast.Assert), f"{name}:{node.lineno}"
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id
            assert called != "print" or name == "cli", f"{name}:{node.lineno}"
