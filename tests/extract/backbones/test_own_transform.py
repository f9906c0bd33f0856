"""Functions of the user's own that prepare images for a network of their own."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

from fc7.cache import Store
from fc7.cache.recipe import FunctionTransform, Recipe, Transform, read_recipe
from fc7.classify import Bundle, fit
from fc7.classify.exports.export import export
from fc7.errors import BundleError, ExportError, UsageError
from fc7.extract import Backbone, extract, fill, load_backbone, read_manifest
from fc7.extract.backbones.custom import own_transform
from fc7.extract.backbones.transforms import read_transform
from fc7.extract.decoding.decode_pool import DecodePool
from fc7.extract.engines.accounting import Clock
from fc7.extract.engines.local import Pipeline
from fc7.extract.engines.unit_loop import Plan
from fc7.extract.in_memory import embed

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STEPS = transforms.Compose(
    [transforms.Resize((32, 32)), transforms.Grayscale(3), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
)


def grey(image):
    return STEPS(image)


def left(image):
    return torch.from_numpy(np.asarray(image.crop((0, 0, 32, 32))).transpose(2, 0, 1) / np.float32(255))


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3, stride=2)

    def forward(self, images):
        return self.conv(images).relu().mean((2, 3))


def made(function=grey, name="grey", **options):
    settings = {"dtype": "float32", "device": "cpu", "batch_size": 4, "transform_name": name}
    return Backbone(Plain(), function, **(settings | options))


@pytest.fixture
def folder(tmp_path):
    for number in range(8):
        path = tmp_path / "d" / ("train" if number < 6 else "val") / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 30 * number + 40, (60, 40 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return tmp_path / "d"


def test_the_network_sees_what_the_function_makes_of_the_image(folder, cache_dir):
    table = extract(read_manifest(folder), made())
    for path, vector in zip(table.paths, table.vectors, strict=True):
        with Image.open(folder / path) as image, torch.inference_mode():
            expected = Plain()(grey(image.convert("RGB"))[None])[0].numpy()
        np.testing.assert_allclose(vector, expected, atol=1e-6)
    assert fill(read_manifest(folder), [made()])[0].computed == 0


def test_a_mirrored_vector_and_pictures_in_memory_are_made_of_the_same(folder):
    with Image.open(folder / "val" / "a" / "6.png") as image:
        picture = image.convert("RGB")
    backbone = made(left, "left", mirror=True)
    by_recipe, rejected = embed([picture], [backbone])
    assert not rejected
    with torch.inference_mode():
        both = Plain()(torch.stack([left(picture), left(picture).flip(2)])).mean(0).numpy()
    np.testing.assert_allclose(by_recipe[backbone.recipes[0]][0], both, atol=1e-6)


def test_name_and_code_are_part_of_the_recipe(cache_dir):
    first = made().recipes[0]
    assert json.loads(first.to_json())["transform"] == {"function": "grey", "code": first.transform.code, "crop": 32}
    assert len(first.transform.code) == 64
    assert made().recipes[0] == first
    assert read_recipe(first.to_json()) == first
    assert Recipe.from_json(first.to_json()).id == first.id
    assert made(left).recipes[0].differences(first).keys() == {"transform.code"}
    assert made(name="gray").recipes[0].differences(first) == {"transform.name": ("gray", "grey")}
    plain = Backbone(Plain(), Transform(32, 32), dtype="float32").recipes[0]
    assert plain.differences(first)["transform.name"] == (None, "grey")


def test_a_function_whose_code_cannot_be_known_is_known_by_its_name(caplog):
    with Path(__file__).open(encoding="utf-8") as file, caplog.at_level(logging.WARNING):

        def holding(image):
            return grey(image) if file else None

        assert own_transform(holding, "mine").code == ""
    assert "fc7 knows mine by its name only" in caplog.text


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda image: 1 / 0, "mine failed on a made-up picture: ZeroDivisionError"),
        (lambda image: image, r"returns uint8 \(60, 90, 3\)"),
        (lambda image: torch.zeros(3, image.height, image.height), r"returns float32 \(3, 90, 90\)"),
        (lambda image: torch.zeros(3, 32, 30), r"returns float32 \(3, 32, 30\)"),
        (lambda image: torch.zeros(3, 32, 32, dtype=torch.uint8), r"returns uint8 \(3, 32, 32\)"),
        (lambda image: torch.rand(3, 32, 32), "draws at random"),
        (lambda image: torch.full((3, 32, 32), torch.nan), "not finite"),
        (lambda image: None, "returns object"),
        ("grey", "a str cannot be called"),
        (lambda image: {"pixel_values": [grey(image)]}, r"a dict of pixel_values; .*\['pixel_values'\]\[0\]"),
    ],
)
def test_what_is_no_preparation_is_refused(function, said):
    with pytest.raises(UsageError, match=said):
        own_transform(function, "mine")


def test_without_a_name_or_for_a_published_network_it_is_refused():
    for given in (grey, STEPS):
        with pytest.raises(UsageError, match="transform_name=NAME"):
            read_transform(given)
    with pytest.raises(UsageError, match="FunctionTransform is not a transform"):
        load_backbone("alexnet", weights="random:0", transform=own_transform(grey, "grey"))


@pytest.mark.parametrize("options", [{"views": 2}, {"decode": "scaled"}])
def test_it_gets_whole_images_once(options):
    with pytest.raises(UsageError, match="grey gets whole images"):
        made(**options)


def test_an_image_that_it_cannot_take_is_looked_at_again(folder, cache_dir):
    broken = [True]

    def choosy(image):
        if broken and image.width == 43:
            raise ValueError("too narrow\nfor this")
        return grey(image)

    backbone, manifest = made(choosy, "choosy"), read_manifest(folder)
    (reject,) = fill(manifest, [backbone])[0].rejects
    assert reject.reason == "not readable: choosy failed: ValueError: too narrow"
    broken.clear()
    done = fill(manifest, [backbone])[0]
    assert (done.computed, done.rejects) == (1, [])


def test_no_decoding_process_has_its_code(folder, tmp_path):
    backbone = made()
    plan = Plan([backbone], [Store(backbone.recipes[0], tmp_path / "cache")], lambda keys: [], Clock())
    pipeline = Pipeline(plan, decoders=DecodePool(1))
    pipeline._accelerated = True  # as beside a device
    with pipeline.started([]):
        assert pipeline.decoders is None


def test_a_bundle_predicts_with_the_same_function_and_no_other(folder, cache_dir, tmp_path):
    backbone = made()
    bundle = Bundle.of(fit(extract(read_manifest(folder), backbone), "ridge", folds=2))
    bundle.save(tmp_path / "b.fc7")
    loaded, files = Bundle.load(tmp_path / "b.fc7"), [folder / "val" / "a" / "6.png"]
    assert isinstance(loaded.recipe.transform, FunctionTransform)
    assert loaded.predict(files, backbone=made())[0].label in "ab"
    with pytest.raises(BundleError, match=r"transform.code: here \w+.*, in the bundle"):
        loaded.predict(files, backbone=made(left))
    with pytest.raises(BundleError, match="Your function grey prepared the images"):
        loaded.predict(files, backbone=Plain())
    with pytest.raises(ExportError, match="Your function grey prepares the images"):
        export(loaded, tmp_path / "b.pt2", backbone=backbone)
