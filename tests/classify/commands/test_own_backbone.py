"""A network of one's own on the command line: a function in a Python file makes it."""

import json
import sys

import pytest
from command_line import draw_split
from fakes import one_line

from fc7.cli import main

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.conv = torch.nn.Conv2d(3, 8, 3)

    def forward(self, images):
        return self.conv(images).relu().mean((2, 3))

def make():
    return Net()

def other():
    return Net(1)

def backbone():
    from fc7.cache.recipe import Transform
    from fc7.extract import Backbone
    return Backbone(Net(), Transform(32, 32, resize_mode="squash"), name="mine", batch_size=4)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Pictures, a file that makes a network, and a bundle of it."""
    root = tmp_path_factory.mktemp("own")
    draw_split(root / "data", train=6, val=2)
    (root / "net.py").write_text(NET)
    path = list(sys.path)
    made = ["fit", root / "data", "--backbone", f"{root / 'net.py'}:backbone", "--head", "ridge", "-o", root / "a.fc7"]
    assert main([str(word) for word in [*made, "--cache", root / "cache", "--quiet"]]) == 0
    yield root
    sys.path[:] = path
    sys.modules.pop("fc7_backbone_net", None)


@pytest.fixture
def run(home, fc7):
    return lambda verb, *words: fc7(verb, *words, "--cache", home / "cache")


@pytest.mark.parametrize("function", ["make", "backbone"])
def test_a_bundle_predicts_with_the_function_that_makes_its_network(home, run, function):
    own = f"{home / 'net.py'}:{function}"
    code, out, err = run("predict", home / "a.fc7", home / "data" / "val", "--backbone", own, "--batch-size", "4")
    assert code == 0, err
    assert len(out.splitlines()) == 5
    assert {line.split(",")[1] for line in out.splitlines()[1:]} <= {"blue", "red"}


def test_without_it_a_line_says_how_and_another_network_is_refused(home, run):
    code, out, err = run("predict", home / "a.fc7", home / "data" / "val")
    assert (code, out) == (1, "")
    assert "--backbone FILE.py:FUNCTION" in one_line(err)
    code, out, err = run("predict", home / "a.fc7", home / "data" / "val", "--backbone", f"{home / 'net.py'}:other")
    assert (code, out) == (1, "")
    assert "is not the one the head was fitted on: weights: here" in one_line(err)
    assert err.rstrip().endswith("Give the backbone it was fitted on.")


def test_extract_takes_it_beside_others_and_refuses_what_its_code_says(home, run):
    own = f"{home / 'net.py'}:backbone"
    code, out, err = run("extract", home / "data", "--backbone", own, "--json")
    assert code == 0, err
    assert (json.loads(out)["computed"], json.loads(out)["backbone"]) == (0, "mine")
    code, out, err = run("extract", home / "data", "--backbone", own, "--layer", "gap", "--mirror")
    assert (code, out) == (2, "")
    assert "says in its code what it computes; leave out --layer, --mirror" in one_line(err)
    other = ("--backbone", "squeezenet1_1", "--weights", "squeezenet1_1=random:0", "--layer", "squeezenet1_1=gap")
    code, out, err = run("extract", home / "data", "--backbone", own, *other, "--json")
    assert code == 0, err
    assert [one["backbone"] for one in json.loads(out)["backbones"]] == ["mine", "squeezenet1_1"]
    code, out, err = run("extract", home / "data", "--backbone", f"{home / 'net.py'}:make")
    assert (code, out) == (2, "")
    assert "nothing says how images are prepared for it" in one_line(err)


@pytest.mark.parametrize("words", [["finetune"], ["compare", "--finetune", "head"]])
def test_fine_tuning_is_of_published_networks(home, run, tmp_path, words):
    own = f"{home / 'net.py'}:backbone"
    code, out, err = run(words[0], home / "data", *words[1:], "--backbone", own, "-o", tmp_path / "runs")
    assert (code, out) == (2, "")
    assert "Fine-tuning takes networks by name; --backbone" in one_line(err)


def test_an_exported_network_is_of_it(home, run, tmp_path):
    code, out, err = run("export", home / "a.fc7", "-o", tmp_path / "a.pt2", "--backbone", f"{home / 'net.py'}:make")
    assert code == 0, err
    assert "torch.export" in out
