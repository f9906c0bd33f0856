"""Layers by their names."""

import pytest

from fc7.extract.backbones.layers import TokenLayer


@pytest.mark.parametrize(
    ("name", "block", "pool"),
    [
        ("cls", None, "cls"),
        ("avg", None, "avg"),
        ("cls+avg", None, "cls+avg"),
        ("block:0", 0, ""),
        ("block:11:cls", 11, "cls"),
        ("block:-1:avg", -1, "avg"),
        ("block:-12:cls+avg", -12, "cls+avg"),
    ],
)
def test_layers_of_tokens_are_told_by_their_names(name, block, pool):
    assert TokenLayer.read(name) == (block, pool)


OTHERS = ["", "map", "gap", "avg+cls", "block", "block:", "block:x", "block:1:", "block:1:gap", "block:1.5", "blocks.1"]


@pytest.mark.parametrize("name", OTHERS)
def test_other_names_are_of_other_layers(name):
    assert TokenLayer.read(name) is None
