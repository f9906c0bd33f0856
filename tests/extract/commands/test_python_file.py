"""A network that a function in a Python file makes."""

import sys
from pathlib import Path

import pytest

from fc7.errors import UsageError
from fc7.extract import Backbone
from fc7.extract.backbones.custom import custom_network
from fc7.extract.commands.python_file import make, make_backbone

NET = """
import torch
from dataclasses import dataclass
from beside_net import WIDTH

print("this is no answer")

@dataclass
class Size:
    width: int = WIDTH

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, Size().width, 3)

    def forward(self, images):
        return self.conv(images).relu().mean((2, 3))

def make():
    print("nor is this")
    return Net()

def backbone():
    from fc7.cache.recipe import Transform
    from fc7.extract import Backbone
    return Backbone(Net(), Transform(32, 32), device="cpu")

def fails():
    raise ValueError("no such file\\nin two lines")

def leaves():
    raise SystemExit(0)

def wrong():
    return {}

number = 3
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "beside_net", raising=False)
    (tmp_path / "beside_net.py").write_text("WIDTH = 5")
    (tmp_path / "net.py").write_text(NET)
    yield str(tmp_path / "net.py")
    sys.modules.pop("fc7_backbone_net", None)
    sys.modules.pop("beside_net", None)


def test_a_module_and_a_backbone_are_made_and_what_they_print_is_no_answer(net, capsys):
    assert type(make(f"{net}:make")).__name__ == "Net"
    assert isinstance(make(f"{net}:backbone"), Backbone)
    assert make_backbone(f"{net}:backbone").recipes[0].dim == 5
    assert capsys.readouterr().out == ""


def test_a_module_is_the_same_whoever_imports_it(net, tmp_path, monkeypatch):
    """The name that its file has here is not part of what it is known by."""
    monkeypatch.syspath_prepend(tmp_path)
    import net as imported  # type: ignore[import-not-found]

    ours, theirs = make(f"{net}:make"), imported.make()
    sys.modules.pop("net")
    assert type(ours) is not type(theirs)
    assert custom_network(ours, ["output"], 32).sha256 == custom_network(theirs, ["output"], 32).sha256


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("fails", "line 31: ValueError: no such file."),
        ("leaves", "line 34: SystemExit: 0."),
        (
            "wrong",
            "returned an object of class dict; needed: a torch.nn.Module, or Backbone(module, transform, layer).",
        ),
        ("nope", "net.py has no function 'nope'; it has Size, Net, make, backbone, fails and 2 more."),
        ("number", "net.py has no function 'number'"),
        ("", "net.py has no function ''"),
    ],
)
def test_what_makes_no_backbone_is_refused_in_one_line(net, function, said):
    with pytest.raises(UsageError) as caught:
        make(f"{net}:{function}")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_absent_or_no_python_is_refused(net, tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        make(f"{tmp_path / 'no.py'}:make")
    (tmp_path / "bad.py").write_text("x = 1\ndef make(:\n")
    with pytest.raises(UsageError, match=r"bad\.py:make: line 2: SyntaxError: invalid syntax"):
        make(f"{tmp_path / 'bad.py'}:make")
    (tmp_path / "lost.py").write_text("import no_such_module_anywhere")
    with pytest.raises(UsageError, match="line 1: ModuleNotFoundError: No module named 'no_such_module_anywhere'"):
        make(f"{tmp_path / 'lost.py'}:make")


def test_a_module_alone_does_not_say_how_images_are_prepared(net):
    with pytest.raises(UsageError, match="nothing says how images are prepared"):
        make_backbone(f"{net}:make")


def test_the_page_on_own_models_makes_one(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    page = (Path(__file__).resolve().parents[3] / "docs" / "own_backbones.md").read_text(encoding="utf-8")
    (tmp_path / "page.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    recipe = make_backbone(f"{tmp_path / 'page.py'}:backbone").recipes[0]
    sys.modules.pop("fc7_backbone_page")
    assert (recipe.backbone, recipe.dim, recipe.transform.resize_mode) == ("net", 64, "squash")
