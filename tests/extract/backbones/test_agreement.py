"""A device that computes other vectors than the processor is not taken by itself. Its stand-in is the processor."""

import pytest
import torch

from fc7.extract import load_backbone
from fc7.extract.backbones import torch_runtime
from fc7.extract.backbones.backbone import Backbone
from fc7.extract.backbones.torch_runtime import agrees

NAMES = ["right", "a little off", "wrong", "not finite", "without an operation"]


class Network(torch.nn.Module):
    """The mean of the pixels, and what a device makes of it."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, pixels):
        mean = pixels.float().mean(dim=(1, 2))
        if self.kind == "without an operation":
            raise NotImplementedError("aten::mean is not implemented for MPS")
        return [
            {"a little off": mean * 1.0001, "wrong": mean * 1.01, "not finite": mean * float("nan")}.get(
                self.kind, mean
            )
        ]


@pytest.fixture
def recipe():
    return load_backbone("squeezenet1_1", weights="random:0", device="cpu", image_size=(64, 64)).recipes[0]


@pytest.mark.parametrize("kind", NAMES)
def test_vectors_are_compared_with_the_processors(kind, recipe, log):
    kinds = iter(["right", kind])
    assert agrees(lambda device: Network(next(kinds)), recipe, "cpu") == (kind in ("right", "a little off"))
    assert ("computes on the processor" in log.text) == (kind not in ("right", "a little off"))


@pytest.mark.parametrize(("answer", "found"), [(True, "there"), (False, "cpu")])
def test_auto_takes_apples_only_if_it_agrees(answer, found, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch_runtime, "agrees", lambda build, recipe, name: answer)
    monkeypatch.setattr(torch_runtime, "find_device", lambda name: {"mps": "there"}.get(name, name))
    backbone = load_backbone("squeezenet1_1", weights="random:0", image_size=(64, 64))
    assert isinstance(backbone, Backbone)
    assert backbone.device == found


def test_a_device_that_is_named_is_not_asked(monkeypatch):
    monkeypatch.setattr(torch_runtime, "agrees", None)
    monkeypatch.setattr(torch_runtime, "find_device", lambda name: name)
    assert load_backbone("squeezenet1_1", weights="random:0", device="mps").device == "mps"
