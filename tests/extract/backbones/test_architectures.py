"""What is known about networks without a row: remembered in the index, and found anew where that may be wrong."""

import subprocess
import sys
from dataclasses import replace
from importlib import metadata

import pytest

from fc7.cache.index import Index
from fc7.errors import UsageError
from fc7.extract import load_backbone
from fc7.extract.backbones import architectures
from fc7.extract.backbones.architectures import architecture

NAMES = ["mnasnet0_5", "squeezenet1_1"]


@pytest.fixture
def index(tmp_path):
    return Index(tmp_path)


@pytest.fixture
def opened(monkeypatch):
    """Count the networks that are taken apart."""
    found, take_apart = [], architectures._opened

    def count(name, crop):
        found.append(name)
        return take_apart(name, crop)

    monkeypatch.setattr(architectures, "_opened", count)
    architectures._untabled.cache_clear()
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_taken_apart_once(name, index, opened):
    first = architecture(name, index)
    layers = [first.layer(layer) for layer in ("gap", "logits", "layers.5" if "mnas" in name else "features.5")]
    assert opened
    opened.clear()
    architectures._untabled.cache_clear()
    again = architecture(name, index)
    assert again == first == architecture(name)
    opened.clear()
    assert [again.layer(layer) for layer in ("gap", "logits", "layers.5" if "mnas" in name else "features.5")] == layers
    assert opened == []


def test_layers_of_another_size_are_found_for_it(index, opened):
    net = architecture("squeezenet1_1", index)
    whole, smaller = (net.at(crop).layer("features.5").dim for crop in (224, 64))
    assert whole > smaller
    assert [net.at(crop).layer("features.5").dim for crop in (224, 64)] == [whole, smaller]


@pytest.mark.parametrize("package", ["torch", "torchvision"])
def test_with_another_version_they_are_found_again(package, index, opened, monkeypatch):
    net = architecture("squeezenet1_1", index)
    layer = net.layer("features.5")
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: version(name) + ("+other" if name == package else ""))
    opened.clear()
    assert net.layer("features.5") == layer
    assert opened


def test_what_is_not_there_is_not_remembered(index, opened):
    net = architecture("squeezenet1_1", index)
    for _ in range(2):
        opened.clear()
        with pytest.raises(UsageError, match=r"no layer 'features.99'"):
            net.layer("features.99")
        assert opened


def test_a_network_that_a_program_registers_with_timm_is_not_remembered(index, opened, monkeypatch):
    timm = pytest.importorskip("timm", reason="timm is not installed (the extra fc7[timm])")
    entrypoint = timm.models.model_entrypoint("test_resnet")
    monkeypatch.setattr(entrypoint, "__module__", "own")
    for _ in range(2):
        opened.clear()
        architectures._untabled.cache_clear()
        architecture("timm:test_resnet", index)
        assert opened


def test_a_run_that_finds_a_network_in_the_index_imports_neither_torch_nor_its_library(tmp_path, monkeypatch):
    pytest.importorskip("timm", reason="timm is not installed (the extra fc7[timm])")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").write_bytes(b"weights")
    backbone = load_backbone("timm:test_vit", ["avg", "block:-1"], weights="file:w.pth", cache="cache")
    code = (
        "import sys; from fc7.extract import load_backbone\n"
        "backbone = load_backbone('timm:test_vit', ['avg', 'block:-1'], weights='file:w.pth', cache='cache')\n"
        "print(*(recipe.id for recipe in backbone.recipes), *({'torch', 'timm'} & sys.modules.keys()))"
    )
    again = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert again.split() == [recipe.id for recipe in backbone.recipes], "and no name of a module"


def test_dimensions_of_all_layers_are_listed():
    dimensions = {"pool5": 9216, "fc6": 4096, "fc7": 4096, "gap": 256, "gmp": 256, "gap+gmp": 512, "logits": 1000}
    assert architecture("alexnet").dimensions() == dimensions


def test_layers_of_blocks_are_listed_together():
    pytest.importorskip("timm", reason="timm is not installed (the extra fc7[timm])")
    assert architecture("timm:test_vit").dimensions() == {
        "penultimate": 64,
        "logits": 1000,
        "cls": 64,
        "avg": 64,
        "cls+avg": 128,
        "block:0..5": 64,
        "block:0..5:cls": 64,
        "block:0..5:avg": 64,
        "block:0..5:cls+avg": 128,
    }


def test_rows_are_equal_with_and_without_an_index(index):
    assert architecture("alexnet", index) == architecture("alexnet") == replace(architecture("alexnet"), index=index)
