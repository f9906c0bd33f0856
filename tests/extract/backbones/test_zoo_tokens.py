"""Layers of tokens are those of timm's own functions: seeded networks, small images."""

import os

import numpy as np
import pytest
import safetensors.torch
import torch

from fc7.errors import UsageError
from fc7.extract import load_backbone
from fc7.extract.backbones.architectures import architecture

timm = pytest.importorskip("timm", reason="timm is not installed (the extra fc7[timm])")

FULL = os.environ.get("FC7_ZOO") == "full"

# Those of a class token, of none and a register, of attention as pooling; then others with and without them.
NAMES = ["test_vit", "test_vit2", "test_vit3"]
if FULL:
    NAMES += ["beit_base_patch16_224", "deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224", "mixer_s32_224"]
    NAMES += ["vit_base_patch16_siglip_224", "vit_small_patch14_reg4_dinov2", "vit_tiny_patch16_dinov3_qkvb"]


@pytest.fixture
def seen(tmp_path):
    """Return a lively network, images for it, and a function that returns what fc7 computes of them."""

    def make(name, **options):
        net = architecture(f"timm:{name}").construct(0)
        torch.manual_seed(0)
        for parameter in net.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        weights = tmp_path / "lively.safetensors"
        weights.write_bytes(safetensors.torch.save({key: value.clone() for key, value in net.state_dict().items()}))

        def rows(layers):
            backbone = load_backbone(f"timm:{name}", layers, weights=f"file:{weights}", device="cpu", **options)
            transform = backbone.recipes[0].transform
            shape = (2, transform.crop, transform.crop, 3)
            pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
            images = (torch.from_numpy(pixels) / 255 - torch.tensor(transform.mean)) / torch.tensor(transform.std)
            found = dict(zip(layers, backbone.forward(pixels), strict=True))
            assert [recipe.dim for recipe in backbone.recipes] == [row.shape[1] for row in found.values()]
            return images.permute(0, 3, 1, 2), found

        return net, rows

    return make


def compare(found, expected):
    assert found.keys() == expected.keys()
    for layer, theirs in expected.items():
        theirs = theirs.numpy()
        length = np.linalg.norm(theirs, axis=1)
        assert (np.linalg.norm(theirs - theirs[::-1], axis=1) > 1e-3 * length).all(), f"{layer} is constant"
        assert (np.linalg.norm(found[layer] - theirs, axis=1) <= 1e-4 * length).all(), layer


def layers_of(net, images):
    """Return the layers of tokens as timm's documentation defines them."""
    has_class = net.cls_token is not None if hasattr(net, "cls_token") else False
    number = len(net.blocks) - 2

    def pooled(patches, first, name):
        found = {f"{name}avg": patches.mean(1)}
        if has_class:
            found |= {f"{name}cls": first[:, 0], f"{name}cls+avg": torch.cat([first[:, 0], patches.mean(1)], 1)}
        return found

    with torch.inference_mode():
        features, before = net.forward_features(images), getattr(net, "num_prefix_tokens", 0)
        prefixed = {"return_prefix_tokens": True} if before else {}
        ((block),) = net.forward_intermediates(
            images, indices=[number], norm=True, output_fmt="NLC", intermediates_only=True, **prefixed
        )
        patches, first = block if before else (block, None)
        expected = {"penultimate": net.forward_head(features, pre_logits=True), "logits": net(images)}
        expected |= pooled(features[:, before:], features, "")
        expected |= pooled(patches, first, "block:-2:") | pooled(patches, first, f"block:{number}:")
        expected[f"block:{number}"] = expected[f"block:{number}:{'cls' if has_class else 'avg'}"]
        if getattr(net, "attn_pool", None) is not None:
            expected["map"] = net.attn_pool(features if net.pool_include_prefix else features[:, before:])
    return expected, has_class


@pytest.mark.parametrize("name", NAMES)
def test_layers_of_tokens_are_timms(name, seen, cache_dir):
    net, rows = seen(name)
    images, _ = rows(["penultimate"])
    expected, has_class = layers_of(net, images)
    compare(rows(list(expected))[1], expected)
    absent = {"gap": "layer avg is the mean", "block:99": "its blocks are 0 to"}
    absent |= {} if has_class else {"cls": "no class token; there is avg", "block:0:cls": "no class token of a block"}
    absent |= {} if "map" in expected else {"map": "no function"}
    for layer, message in absent.items():
        line = rf"^timm:{name} has no layer '{layer}': .*{message}.* Layers: pen"
        with pytest.raises(UsageError, match=line) as caught:
            load_backbone(f"timm:{name}", layer, weights="random:0")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["test_vit3", *(["vit_small_patch14_dinov2"] if FULL else [])])
def test_images_of_another_size_get_position_embeddings_as_timm_resamples_them(name, seen, cache_dir, tmp_path):
    net, rows = seen(name, image_size=(224 if "dino" in name else 96, None))
    images, found = rows(["penultimate", "avg", "block:0:avg"])
    path = tmp_path / "timms.pth"
    torch.save(net.state_dict(), path)
    options = {"img_size": images.shape[-1], "pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}
    theirs = timm.create_model(name, **options).eval()
    assert theirs.pos_embed.shape != net.pos_embed.shape
    expected, _ = layers_of(theirs, images)
    with torch.inference_mode():
        patches = theirs.forward_features(images)[:, theirs.num_prefix_tokens :]
        block = theirs.forward_intermediates(images, [0], norm=True, output_fmt="NLC", intermediates_only=True)[0]
    compare(found, {"penultimate": expected["penultimate"], "avg": patches.mean(1), "block:0:avg": block.mean(1)})
