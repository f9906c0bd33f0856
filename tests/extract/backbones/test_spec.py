"""A backbone is found again from its recipes, in another process or on another machine."""

import pickle

import pytest
import torch

from fc7.cache.recipe import Transform
from fc7.extract import load_backbone
from fc7.extract.backbones.architectures import KNOWN
from fc7.extract.backbones.spec import BackboneSpec, find_backbone
from fc7.extract.weights import downloads


@pytest.fixture
def path(tmp_path):
    """A file that nobody published."""
    path = tmp_path / "mine.pth"
    torch.save(KNOWN["squeezenet1_1"].initialise(3), path)
    return path


@pytest.fixture
def no_download(monkeypatch):
    monkeypatch.setattr(downloads.TorchvisionWeights, "sha256", lambda self, index: "ab" * 32)


OWN = Transform(300, 256, (0.5,) * 3, (1 / 255,) * 3, "bicubic")


@pytest.mark.parametrize(
    ("name", "layers", "options"),
    [
        ("vgg16", ["gap", "fc7"], {"weights": "torchvision:IMAGENET1K_FEATURES"}),
        ("vgg16", ["gap"], {"weights": "torchvision:IMAGENET1K_FEATURES", "image_size": (448, None)}),
        ("vgg16", ["gap"], {"transform": "IMAGENET1K_FEATURES"}),
        ("resnet50", ["penultimate"], {"weights": "torchvision:IMAGENET1K_V1"}),
        ("resnet50", ["penultimate"], {"weights": "torchvision:IMAGENET1K_V1", "transform": "IMAGENET1K_V2"}),
        ("vit_b_16", ["penultimate"], {"weights": "torchvision:IMAGENET1K_SWAG_E2E_V1", "mirror": True}),
        ("squeezenet1_1", ["gap"], {"weights": "file:"}),
        ("squeezenet1_1", ["gap"], {"weights": "file:", "transform": OWN, "dtype": "float32"}),
        ("squeezenet1_1", ["gap"], {"weights": "file:", "image_size": (224, 224), "decode": "scaled", "views": 1}),
    ],
)
def test_any_recipe_leads_to_its_backbone(name, layers, options, path, no_download, cache_dir, caplog):
    options = {key: f"file:{path}" if value == "file:" else value for key, value in options.items()}
    made = load_backbone(name, layers, **options)
    caplog.clear()
    found = find_backbone(made.recipes, made.weights_source, views=made.views)
    assert found.recipes == made.recipes
    assert found.recipes_of_views == made.recipes_of_views
    sent = pickle.loads(pickle.dumps(BackboneSpec.of(made)))
    assert sent.load(cache_dir).recipes == made.recipes
    said = [line for line in caplog.messages if "not for commercial use" not in line]
    assert not said, "the recipe has the transform: nothing is taken for granted"
