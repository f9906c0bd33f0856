"""Fixtures: pictures to embed, a cache to keep them in, and what may lie beside the checkout."""

from pathlib import Path

import pytest
from fakes import FakeBackbone, draw

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture
def fake():
    return FakeBackbone()


@pytest.fixture
def pictures(tmp_path):
    """Ten pictures of two classes, train and val: reds and blues."""
    root = tmp_path / "pictures"
    for number in range(10):
        split = "train" if number < 6 else "val"
        label = "red" if number % 2 else "blue"
        shade = 120 + 10 * number
        colour = (shade, 0, 0) if label == "red" else (0, 0, shade)
        draw(root / split / label / f"{number}.png", colour)
    return root


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    """Where the default cache is during a test: never the user's."""
    monkeypatch.setenv("FC7_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hymenoptera():
    folder = SHARED / "data" / "hymenoptera_data"
    if not folder.is_dir():
        pytest.skip("the ants and bees are not beside the checkout (../shared/data/hymenoptera_data)")
    return folder


@pytest.fixture
def vgg16_conv_stack():
    path = SHARED / "weights" / "vgg16-features-imagenet-fp16.safetensors"
    if not path.is_file():
        pytest.skip("the VGG16 conv stack is not beside the checkout (../shared/weights)")
    return path
