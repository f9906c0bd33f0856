"""Networks of the user's own."""

import copy

import numpy as np
import pytest
import torch
import torchvision
from fakes import noisy
from torch import nn

from fc7.cache.recipe import Transform
from fc7.classify import Bundle, fit
from fc7.errors import BundleError, UsageError
from fc7.extract import Backbone, extract, fill, load_backbone, read_manifest
from fc7.extract.backbones.architectures import architecture

SMALL = Transform(resize=36, crop=32)
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


class Plain(nn.Module):
    """A network that torch.fx can follow."""

    def __init__(self, seed=0, stride=2):
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, 6, 3, stride=stride, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.out = nn.Linear(6, 5)

    def forward(self, images):
        return self.out(self.act(self.conv(images)).mean((2, 3)))


class Branching(Plain):
    """One that asks for values on its way."""

    def forward(self, images):
        maps = self.conv(images)
        return self.out((maps if maps.sum() > 0 else -maps).amax((2, 3)))


def normalised(transform=SMALL):
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255
    return torchvision.transforms.functional.normalize(images, transform.mean, transform.std)


def made(module, layer="output", **options):
    return Backbone(module, SMALL, layer, device="cpu", batch_size=4, **options)


@pytest.mark.parametrize("kind", [Plain, Branching])
def test_the_vectors_are_what_the_module_returns_in_eval_mode(kind):
    module = kind().train()
    ours = made(module).forward(PIXELS)[0]
    with torch.inference_mode():
        theirs = module.eval()(normalised()).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_nodes_and_pooled_layers_come_from_one_pass():
    module = Plain()
    backbone = made(module, ["conv", "gap", "output"])
    conv, gap, output = backbone.forward(PIXELS)
    assert [recipe.dim for recipe in backbone.recipes] == [6 * 16 * 16, 6, 5]
    assert (conv < 0).any(), "the ReLU in place must not reach it"
    np.testing.assert_allclose(gap, np.maximum(conv.reshape(4, 6, -1), 0).mean(2), atol=1e-5)
    np.testing.assert_allclose(
        gap @ module.out.weight.detach().numpy().T + module.out.bias.detach().numpy(), output, atol=1e-5
    )


def test_the_module_is_left_as_it_was_and_later_changes_do_not_reach_the_backbone():
    module = Plain().train()
    before = made(module).forward(PIXELS)[0]
    assert module.training
    assert module.act.inplace
    assert all(parameter.requires_grad for parameter in module.parameters())
    backbone = made(module)
    nn.init.zeros_(module.out.weight)
    np.testing.assert_array_equal(backbone.forward(PIXELS)[0], before)


def test_the_recipe_has_the_hash_of_parameters_and_structure():
    def weights(module, **options):
        return made(module, **options).recipes[0].weights

    module = Plain()
    assert weights(module) == weights(copy.deepcopy(module)) == weights(Plain())
    assert weights(module, name="other") == weights(module)
    others = [Plain(seed=1), Plain(stride=1), Branching(), nn.Sequential(module, nn.ReLU())]
    assert len({weights(one) for one in [module, *others]}) == 5
    assert made(module).recipes[0].backbone == "Plain"
    assert made(module, name="mine").recipes[0].backbone == "mine"


def test_a_published_network_gives_the_same_rows_by_either_way(cache_dir):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    module = architecture("squeezenet1_1").construct(3)
    preset = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    options = {"device": "cpu", "batch_size": 2}
    ours = Backbone(module, preset, **options)
    published = load_backbone("squeezenet1_1", "logits", weights="random:3", **options)
    np.testing.assert_array_equal(ours.forward(pixels)[0], published.forward(pixels)[0])
    assert ours.recipes[0].transform == published.recipes[0].transform


def test_rows_are_cached_and_a_head_on_them_predicts_with_the_same_module_only(tmp_path, cache_dir):
    for number in range(20):
        noisy(tmp_path / "d" / "ab"[number % 2] / f"{number}.png", (200 * (number % 2), 90, 60), number)
    manifest = read_manifest(tmp_path / "d")
    table = extract(manifest, made(Plain()))
    assert fill(manifest, [made(Plain())])[0].computed == 0
    bundle = Bundle.load(Bundle.of(fit(table, "centroid")).save(tmp_path / "own.fc7"))
    found = bundle.predict(manifest.files, backbone=made(Plain()))
    assert [one.label for one in found] == list(table.labels)
    with pytest.raises(BundleError, match="weights: here"):
        bundle.predict(manifest.files, backbone=made(Plain(seed=1)))
    with pytest.raises(BundleError, match="fitted on Plain, a module that fc7 cannot find by name"):
        bundle.predict(manifest.files)


class Pair(Plain):
    def forward(self, images):
        return images, images


@pytest.mark.parametrize(
    ("module", "layer", "message"),
    [
        (Plain(), "conv9", "Plain has no layer 'conv9'. Layers: output, gap"),
        (Branching(), "conv", "torch.fx cannot follow the forward pass of Branching"),
        (Pair(), "output", "Pair returns a tuple"),
        (nn.Conv2d(1, 1, 1), "output", "cannot take images of 32 x 32 pixels"),
        (nn.Flatten(), "gap", "no layer with a height and a width"),
    ],
)
def test_what_cannot_be_tapped_is_said(module, layer, message):
    with pytest.raises(UsageError, match=message):
        made(module, layer)
