"""Every page runs from top to bottom: its Python, settings and commands, with a small network for what is downloaded.

What cannot run here has a comment before its block, `<!-- not run: REASON -->`. Its commands still parse.
"""

import contextlib
import functools
import re
import shutil
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import PIL.Image
import pytest
import shell
import stable
from fakes import COLOURS, coloured, noisy

import fc7.classify
import fc7.extract
from fc7 import cli
from fc7.classify.reviews.server import Server
from fc7.extract.backbones import published as backbones

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BLOCK = re.compile(
    r"(?:^<!-- not run: (.+?) -->\n)?^```(python|toml|sh|bash|console)\n(.*?)^```", re.DOTALL | re.MULTILINE
)
ELSEWHERE = {"cli.md": "test_manual.py"}
PRINTED = {
    "README.md": "test_readme.py",
    "tutorial.md": "test_docs.py",
}  # all but their sh: what is printed is on the page
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))}
PAGES = [name for name, text in TEXTS.items() if BLOCK.search(text) and name not in ELSEWHERE]
BEFORE = {  # what a page takes for granted
    "export.md": "fc7 fit my_pictures --layer gap --head ridge --preparation scale --dtype float32 -o ants.fc7",
    "reliability.md": "fc7 extract my_pictures -o rows.h5",
}
AFTER = {  # what a page describes in words
    "project_file.md": "fc7 extract; fc7 compare -o runs; fc7 cache export rows.h5",
}
INSTEAD = {
    "project_file.md": {
        '"vgg16"': '"squeezenet1_1"\nweights = "random:0"\nimage-size = "32"',
        '"fc7"': '"gap"',
        '"pool5"': '"gap"',
        '"/data/fc7"': '"cache"',
        "cross-validate = 10": "cross-validate = 2",
    },
    "python.md": {"compare(embeddings, ": 'compare(embeddings, ["ridge", "knn"], '},
}
NOT_RUN = [  # page, the first words of the block, and what is missing
    ("README.md", "make demo", "an installation, and minutes"),
    ("README.md", "pip install", "an installation"),
    ("ants_bees.md", "python examples/ants_bees.py", "the photographs and the weights of VGG16"),
    ("engines.md", "$ pip", "a cluster of Ray"),
    ("engines.md", "$ export", "a cluster of Ray"),
    ("remote.md", "$ pip", "an S3 bucket"),
    ("remote.md", "$ fc7", "an S3 bucket"),
    ("scale.md", "srun --gpus-per-task", "a scheduler"),
    ("vector_files.md", "$ embedding-atlas", "another program"),
]


def blocks(page):
    """Return the blocks of a page: why it does not run, or nothing, its language and its text."""
    return BLOCK.findall(TEXTS[page])


def test_what_is_not_run_is_counted_and_named():
    marked = [
        (page, " ".join(code.split()[:2]), reason) for page in TEXTS for reason, _, code in blocks(page) if reason
    ]
    assert marked == NOT_RUN
    assert sum(text.count("<!-- not run: ") for text in TEXTS.values()) == len(NOT_RUN)  # each before a block


def test_what_is_not_run_parses():
    marked = [shell.commands(language, code) for page in TEXTS for reason, language, code in blocks(page) if reason]
    assert all(shell.parsed(line) for lines in marked for line in lines)


def test_the_text_names_commands_and_options_that_there_are():
    elsewhere = {"--gpus-per-task", "--read", "--x", "--y", "--vector", "--image", "--neighbors"}  # of other programs
    known, unknown = stable.options(cli.parser()), []
    every = {word for words in known.values() for word in words}
    for page, text in TEXTS.items():
        for span in re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            verb = re.match(r"fc7 (cache \w+|\w+)", span)
            options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", span)) - elsewhere
            if "benchmarks/" in span or (verb and verb[1] in ("VERB", "help", "cache VERB")):
                continue
            unknown += [f"{page}: {span}"] if options - set(known.get(verb[1], ()) if verb else every) else []
            unknown += [f"{page}: {span}"] if verb and verb[1] not in known else []
    assert unknown == []


def small(name, layer=None, **_):
    """Return a small network in place of a large one, with seeded weights and as many layers as were asked for."""
    layers = ["gap", "logits"][: len(layer) if isinstance(layer, list) else 1]
    return backbones.load_backbone("squeezenet1_1", layers, weights=f"random:{len(name)}", image_size=(32, 32))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with what the pages name, and beside it the cache that they fill together."""
    home = tmp_path_factory.mktemp("pages") / "desk"
    for name in ("my_pictures", "DATA", "photos", "pictures"):
        coloured(home / name, 12)
    for name in ("new", "new_pictures", "photos", "pictures", "more/of/them"):
        for label, colour in COLOURS.items():
            noisy(home / name / f"{label}.jpg", colour, 100)
    for number, name in enumerate(("one.jpg", "one.png", "two.png", "2.png", "picture.jpg", "new/1.jpg")):
        noisy(home / name, COLOURS["red"], 200 + number)
    shutil.make_archive(str(home / "photos"), "tar", home, "photos")
    for number in range(10):
        for label in ("blue", "red"):
            noisy(home / "shards" / label / f"{number}.png", COLOURS[label], 300 + number)
        shutil.make_archive(str(home / f"shards-{number:03d}"), "tar", home / "shards")
        shutil.rmtree(home / "shards")
    return home


@pytest.fixture
def desk(made, tmp_path, monkeypatch):
    """The working directory: a copy of what is made, with other programs and large networks replaced."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FC7_CACHE", str(made.parent / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(fc7.extract, "load_backbone", small)
    monkeypatch.setattr(fc7.classify, "screen", functools.partial(fc7.classify.screen, heads=["ridge"]))
    monkeypatch.setattr(fc7.extract, "RayEngine", lambda address: contextlib.nullcontext())
    monkeypatch.setattr(Server, "run", lambda self: self._socket.close() or self.review.decide(0, bad=True))
    pictures = [str(path) for path in sorted(Path("my_pictures").glob("*/*"))]
    table = pandas.DataFrame({"path": pictures, "label": [Path(path).parent.name for path in pictures]})
    pandas.DataFrame({"path": ["=x", "a"], "label": ["1", "2"]}).to_csv("labels.csv", index=False)
    fiftyone = mock.MagicMock()
    stand_ins = {
        "datasets": types.SimpleNamespace(load_dataset=lambda kind, data_dir: table),
        "fiftyone": fiftyone,
        "fiftyone.brain": fiftyone.brain,
    }
    for name, module in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, module)


def names(page):
    """Return the names that the Python of a page takes for granted."""
    if page == "predict.md":
        import pandas

        content = Path("one.png").read_bytes()
        array, response = np.asarray(PIL.Image.open("one.png")), types.SimpleNamespace(content=content)
        return {"Bundle": fc7.classify.Bundle, "PIL": PIL, "array": array, "response": response, "pandas": pandas}
    if page == "vector_files.md":
        noise = np.random.default_rng(0).standard_normal((20, 4)).astype("float32")
        return {"X": noise, "y": np.array(["a", "b"] * 10)}
    if page == "own_backbones.md":
        import torch
        from torchvision import transforms

        steps = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor()])
        return {"steps": steps, "module": torch.nn.Flatten()}
    if page == "export.md":
        return {"images": np.zeros((2, 3, 32, 32), np.float32)}
    return {}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs(page, desk):
    for package in {"export.md": ("onnxruntime", "onnxscript"), "review.md": ("starlette", "uvicorn")}.get(page, ()):
        pytest.importorskip(package)
    module = sys.modules["page"] = types.ModuleType("page")  # code of one's own is known by where it stands
    vars(module).update(names(page))
    try:
        for line in filter(None, BEFORE.get(page, "").split("; ")):
            shell.run(line)
        for reason, language, code in blocks(page):
            if not reason and (language == "sh" or page not in PRINTED):
                run(page, language, code, vars(module))
        for line in filter(None, AFTER.get(page, "").split("; ")):
            shell.run(line)
    finally:
        del sys.modules["page"]


def run(page, language, code, scope):
    """Run a block of a page."""
    for slow, quick in INSTEAD.get(page, {}).items():
        code = code.replace(slow, quick)
    if language == "toml":
        Path("fc7.toml").write_text(code, encoding="utf-8")
    elif language == "python":
        if "def backbone" in code:
            Path("net.py").write_text(code, encoding="utf-8")
        exec(compile(code, page, "exec"), scope)
    else:
        for line in shell.commands(language, code):
            shell.run(line)


def test_what_does_not_run_here_runs_elsewhere():
    tests = Path(__file__).parent
    where = ELSEWHERE | PRINTED
    assert [page for page, test in where.items() if page not in (tests / test).read_text(encoding="utf-8")] == []
