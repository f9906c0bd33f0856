import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.cache import Recipe
from fc7.cache.recipe import RESIZE_MODES, FunctionTransform, Transform
from fc7.errors import CacheError

RECIPE = Recipe("vgg16", "fc7", 4096, "a" * 64)
OWN = replace(RECIPE, transform=FunctionTransform(32, 32, name="mine", code="c" * 64)).to_json()

texts = st.text(max_size=8)
transforms = st.builds(Transform, st.integers(1, 999), st.integers(1, 999), resize_mode=st.sampled_from(RESIZE_MODES))
recipes = st.builds(
    Recipe, texts, texts, st.integers(1, 9999), texts, transforms, texts, st.integers(0, 9), st.booleans(), texts, texts
)


@given(recipes)
def test_json_round_trip(recipe):
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert Recipe.from_json(recipe.to_json()).id == recipe.id


@given(recipes, recipes)
def test_ids_are_equal_exactly_when_recipes_are(first, second):
    assert (first.id == second.id) == (first == second)


@pytest.mark.parametrize("field", [field.name for field in fields(Recipe)])
def test_each_field_decides_the_id_and_is_named_when_it_differs(field):
    value = getattr(RECIPE, field)
    changed = (
        replace(value, crop=300) if isinstance(value, Transform) else value * 2 if isinstance(value, str) else value + 1
    )
    other = replace(RECIPE, **{field: changed})
    assert other.id != RECIPE.id
    name = "transform.crop" if field == "transform" else field
    assert list(RECIPE.differences(other)) == [name]


@pytest.mark.parametrize("field", [field.name for field in fields(Transform)])
def test_each_field_of_the_transform_decides_the_id(field):
    value = getattr(RECIPE.transform, field)
    changed = value + 1 if isinstance(value, int) else "bicubic" if isinstance(value, str) else (0.5, 0.5, 0.5)
    assert replace(RECIPE, transform=replace(RECIPE.transform, **{field: changed})).id != RECIPE.id


def test_what_came_after_0_1_0_is_absent_at_its_default():
    assert not {"padding", "resize_mode"} & json.loads(RECIPE.to_json())["transform"].keys()
    squashed = replace(RECIPE, transform=Transform(resize_mode="squash"))
    assert json.loads(squashed.to_json())["transform"]["resize_mode"] == "squash"
    assert RECIPE.differences(squashed) == {"transform.resize_mode": ("crop", "squash")}


def test_a_function_is_its_name_and_its_code():
    recipe = Recipe.from_json(OWN)
    assert recipe.to_json() == OWN
    assert json.loads(OWN)["transform"] == {"function": "mine", "code": "c" * 64, "crop": 32}
    assert recipe == replace(recipe, transform=replace(recipe.transform, function=len))
    assert recipe != replace(recipe, transform=Transform(32, 32))


def test_no_difference_from_itself():
    assert RECIPE.differences(RECIPE) == {}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"backbone": 1}', RECIPE.to_json()[:-1] + ',"extra":1}', OWN.replace('"code"', '"x"')],
)
def test_foreign_json_is_refused(text):
    with pytest.raises(CacheError):
        Recipe.from_json(text)


def test_id_is_stable():
    """A cache lives for years: the same recipe must have the same id in every later version."""
    assert json.loads(RECIPE.to_json())["transform"]["std"] == [0.229, 0.224, 0.225]
    assert RECIPE.id == "764a414b6f10e56b67852cfdd5afa36d4a643297114277539f5087dd57107fcb"
