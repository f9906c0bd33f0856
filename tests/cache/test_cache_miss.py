from dataclasses import replace

import numpy as np
import pytest

from fc7.cache import Recipe, Store
from fc7.cache.cache_miss import explain
from fc7.cache.recipe import Transform
from fc7.cache.shard import Shard
from fc7.errors import CacheError

RECIPE = Recipe("vgg16", "fc7", 4, "f" * 64, dtype="float32")
KEYS = [bytes([number]) * 32 for number in range(5)]


def fill(recipe, keys, directory):
    Store(recipe, directory).append(Shard(keys, np.zeros((len(keys), 4), recipe.dtype)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"precision": "bf16"}, "precision is bf16 there, fp32 here. To use those, change --precision."),
        ({"dtype": "float16"}, "dtype is float16 there, float32 here. To use those, change --dtype."),
        ({"weights": "0" * 64}, "weights is 00000000.. there, ffffffff.. here. To use those, change --weights."),
        (
            {"transform": Transform(resize=512, crop=448)},
            "transform.resize is 512 there, 256 here; transform.crop is 448 there, 224 here. "
            "To use those, change --image-size.",
        ),
        ({"decode": "exact-0"}, "decode is exact-0 there, exact-1 here."),
        (
            {"transform": Transform(resize=224, resize_mode="squash")},
            "transform.resize is 224 there, 256 here; transform.resize_mode is squash there, crop here. "
            "To use those, change --resize.",
        ),
    ],
)
def test_the_field_both_values_and_what_to_do(tmp_path, change, said):
    fill(replace(RECIPE, **change), KEYS[:3], tmp_path)
    found = explain(tmp_path, RECIPE, KEYS)
    assert found.startswith("3 of them are cached under recipe ")
    assert found.strip().endswith(said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resize": 232}, "transform.resize is 232 there, 256 here. To use those, change --transform or --image-size."),
        (
            {"interpolation": "bicubic"},
            "transform.interpolation is bicubic there, bilinear here. To use those, change ",
        ),
        (
            {"resize": 384, "crop": 384, "interpolation": "bicubic"},
            "transform.interpolation is bicubic there, bilinear here. To use those, change --transform.",
        ),
        ({"std": (1 / 255,) * 3}, "(0.229, 0.224, 0.225) here. To use those, change --transform."),
    ],
)
def test_the_transform_of_other_weights_is_named_so(tmp_path, change, said):
    fill(replace(RECIPE, transform=replace(RECIPE.transform, **change)), KEYS[:3], tmp_path)
    found = explain(tmp_path, RECIPE, KEYS)
    assert found.startswith("3 of them are cached with the transform of other weights, under recipe ")
    assert said in found


def test_other_weights_with_another_transform_are_other_weights(tmp_path):
    fill(replace(RECIPE, weights="0" * 64, transform=Transform(resize=232)), KEYS, tmp_path)
    found = explain(tmp_path, RECIPE, KEYS)
    assert found.startswith("5 of them are cached under recipe ")
    assert "--weights" in found


def test_of_relatives_with_as_many_images_the_nearest_is_named(tmp_path):
    for number in range(4):
        fill(replace(RECIPE, weights=str(number) * 64, transform=Transform(resize=232)), KEYS, tmp_path)
    fill(replace(RECIPE, transform=Transform(resize=232)), KEYS, tmp_path)
    assert "5 of them are cached with the transform of other weights" in explain(tmp_path, RECIPE, KEYS)


def test_the_relative_with_most_of_the_images_is_named(tmp_path):
    fill(replace(RECIPE, dtype="float16"), KEYS[:1], tmp_path)
    fill(replace(RECIPE, precision="bf16"), KEYS[:4], tmp_path)
    assert "4 of them" in explain(tmp_path, RECIPE, KEYS)


def test_strangers_and_empty_recipes_are_not_named(tmp_path):
    fill(replace(RECIPE, layer="fc6"), KEYS, tmp_path)
    fill(replace(RECIPE, backbone="alexnet"), KEYS, tmp_path)
    Store(replace(RECIPE, precision="bf16"), tmp_path)
    assert explain(tmp_path, RECIPE, KEYS) == ""


def test_rows_that_are_missing_explain_themselves(tmp_path):
    fill(replace(RECIPE, precision="bf16"), KEYS, tmp_path)
    with pytest.raises(CacheError, match=r"5 of 5 .* precision is bf16 there, fp32 here.* fc7 extract"):
        Store(RECIPE, tmp_path).rows(KEYS)
