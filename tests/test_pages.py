"""The Python of the how-to pages runs: on made pictures, with a small network in place of those that are downloaded."""

import contextlib
import functools
import re
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import PIL.Image
import pytest
from fakes import coloured

import fc7.classify
import fc7.extract
from fc7.extract.backbones import backbone as backbones

DOCS = Path(__file__).resolve().parents[1] / "docs"
ELSEWHERE = {  # pages whose Python runs in another test
    "export.md": "exported.py",
    "python.md": "test_docs.py",
    "tutorial.md": "test_docs.py",
}


def python_of(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


PAGES = [path.name for path in sorted(DOCS.glob("*.md")) if python_of(path) and path.name not in ELSEWHERE]


def small(name, layer=None, **_):
    """Return a small network in place of a large one, with seeded weights and as many layers as were asked for."""
    layers = ["gap", "logits"][: len(layer) if isinstance(layer, list) else 1]
    return backbones.load_backbone("squeezenet1_1", layers, weights=f"random:{len(name)}", image_size=(32, 32))


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Pictures and files by the names that the pages give them, in the working directory."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FC7_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fc7.extract, "load_backbone", small)
    monkeypatch.setattr(fc7.classify, "screen", functools.partial(fc7.classify.screen, heads=["ridge"]))
    monkeypatch.setattr(fc7.extract, "RayEngine", lambda address: contextlib.nullcontext())
    coloured(Path("my_pictures"), 12)
    coloured(Path("new"), 1)
    pictures = sorted(Path("my_pictures").glob("*/*"))
    pandas.DataFrame({"path": ["=x", "a"], "label": ["1", "2"]}).to_csv("labels.csv", index=False)
    rows = {"path": [str(path) for path in pictures], "label": [path.parent.name for path in pictures]}
    table = pandas.DataFrame(rows)
    table.assign(embedding=[np.ones(3, np.float32)] * len(rows["path"])).to_parquet("vectors.parquet")
    fiftyone = mock.MagicMock()
    stand_ins = {
        "datasets": types.SimpleNamespace(load_dataset=lambda kind, data_dir: table),
        "fiftyone": fiftyone,
        "fiftyone.brain": fiftyone.brain,
    }
    for name, module in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, module)
    return pictures


def given(page, pictures):
    """Return what a page takes for granted."""
    if page == "predict.md":
        embeddings = fc7.extract.extract("my_pictures", small("vgg16"))
        fc7.classify.Bundle.of(fc7.classify.fit(embeddings, "ridge", folds=2)).save("my.fc7")
        array, content = np.asarray(PIL.Image.open(pictures[0])), pictures[1].read_bytes()
        Path("new/1.jpg").write_bytes(content)
        Path("2.png").write_bytes(content)
        response = types.SimpleNamespace(content=content)
        import pandas

        return {"Bundle": fc7.classify.Bundle, "PIL": PIL, "array": array, "response": response, "pandas": pandas}
    if page == "vector_files.md":
        noise = np.random.default_rng(0).standard_normal((20, 4)).astype("float32")
        return {"X": noise, "y": np.array(["a", "b"] * 10)}
    if page == "own_backbones.md":
        import torch
        from torchvision import transforms

        steps = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor()])
        return {"steps": steps, "module": torch.nn.Flatten()}
    return {}


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page, desk):
    names = {"__name__": "page"} | given(page, desk)
    module = types.ModuleType("page")
    sys.modules["page"] = module  # code of one's own is known by where it stands
    try:
        for code in python_of(DOCS / page):
            exec(compile(code, page, "exec"), names)
    finally:
        del sys.modules["page"]


def test_the_python_of_all_other_pages_runs_elsewhere():
    tests = Path(__file__).parent
    assert [page for page, test in ELSEWHERE.items() if page not in (tests / test).read_text(encoding="utf-8")] == []


def test_the_intervals_of_the_published_figures_are_those_of_fc7():
    from fc7.classify.evaluation.metrics import agresti_coull

    page = (DOCS / "ants_bees.md").read_text(encoding="utf-8")
    said = re.search(r"\(Agresti and Coull\), (\S+)-(\S+) and\s(\S+)-(\S+), overlap", page).groups()
    assert [float(number) for number in said] == [
        round(bound, 3) for right in (139, 144) for bound in agresti_coull(right, 153)
    ]
