"""The backbones of a bundle are those that its head was fitted on, whatever transform they had."""

import pytest

from fc7.cache.recipe import JointRecipe, Transform
from fc7.classify.bundles.backbones import find_backbones, require_same
from fc7.errors import BundleError
from fc7.extract import load_backbone
from fc7.extract.backbones.architectures import KNOWN
from fc7.extract.weights import downloads, files

OPTIONS = [
    {"weights": "torchvision:IMAGENET1K_FEATURES"},
    {"weights": "torchvision:IMAGENET1K_FEATURES", "image_size": (320, None)},
    {"weights": "torchvision:IMAGENET1K_FEATURES", "transform": "IMAGENET1K_V1"},
    {"weights": "file:somewhere.pth"},
    {"weights": "file:somewhere.pth", "transform": "IMAGENET1K_FEATURES"},
    {"weights": "file:somewhere.pth", "transform": Transform(240, 240, (0.5,) * 3, (0.5,) * 3, "bicubic")},
]


@pytest.fixture(autouse=True)
def no_files(monkeypatch):
    for kind in (files.Weights, downloads.TorchvisionWeights):
        monkeypatch.setattr(kind, "sha256", lambda self, index: "ab" * 32)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_backbone_of_a_recipe_is_found(options, cache_dir, caplog):
    made = load_backbone("vgg16", "gap", **options)
    caplog.clear()
    found = find_backbones(made.recipes[0], made.weights_source, 0)
    require_same(found, made.recipes[0])
    assert [backbone.recipes for backbone in found] == [made.recipes]
    assert not caplog.records


def test_layers_under_two_transforms_are_two_backbones(cache_dir):
    first, second = (load_backbone("vgg16", "gap", **OPTIONS[number]) for number in (0, 2))
    joint = JointRecipe((*first.recipes, *second.recipes))
    found = find_backbones(joint, first.weights_source, 0)
    require_same(found, joint)
    transforms = [backbone.recipes[0].transform for backbone in found]
    assert transforms == [KNOWN["vgg16"].entries["IMAGENET1K_FEATURES"].transform, Transform()]


def test_layers_of_one_network_share_a_pass_wherever_they_stand(cache_dir):
    vgg16 = load_backbone("vgg16", ["fc6", "fc7"], weights=OPTIONS[3]["weights"])
    alexnet = load_backbone("alexnet", "fc7", weights=OPTIONS[3]["weights"])
    joint = JointRecipe((vgg16.recipes[0], *alexnet.recipes, vgg16.recipes[1]))
    found = find_backbones(joint, OPTIONS[3]["weights"], 0)
    require_same(found, joint)
    assert [backbone.recipes for backbone in found] == [vgg16.recipes, alexnet.recipes]
    with pytest.raises(BundleError, match="layers: here 1, in the bundle 3"):
        require_same([alexnet], joint)
    with pytest.raises(BundleError, match="layer: here fc6, in the bundle fc7"):
        require_same([load_backbone("alexnet", "fc6", weights=OPTIONS[3]["weights"])], alexnet.recipes[0])
