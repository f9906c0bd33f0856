"""Settings of backbones: the doors have their names and defaults."""

import inspect
from dataclasses import fields

import pytest

from fc7.extract import Backbone, load_backbone
from fc7.extract.settings import BackboneSettings
from fc7.extract.transformer import EmbeddingTransformer

DOORS = [
    (load_backbone, set()),
    (Backbone, {"image_size", "resize"}),  # of a module of one's own, they are in the transform
    (EmbeddingTransformer, {"decode", "views"}),
]


def of_door(door):
    parameters = inspect.signature(door).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}


@pytest.mark.parametrize(("door", "without"), DOORS)
def test_the_doors_have_the_settings_with_their_defaults(door, without):
    expected = {field.name: field.default for field in fields(BackboneSettings) if field.name not in without}
    assert expected.items() <= of_door(door).items()
