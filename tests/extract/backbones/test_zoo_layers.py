"""Layers of the zoo are those of its libraries, or are refused: seeded networks, none of them constant.

``make test`` takes a few small networks, ``make zoo`` all of those below.
"""

import os

import numpy as np
import pytest
import safetensors.torch
import torch
from fakes import photographs_of_noise
from PIL import Image
from torch.nn.functional import normalize, relu

from fc7.errors import UsageError
from fc7.extract import load_backbone
from fc7.extract.backbones.architectures import architecture

FULL = os.environ.get("FC7_ZOO") == "full"
POOLED = ["gap", "gmp", "gap+gmp"]

# torchvision: the last linear layer, and the module whose output is the last feature map.
TORCHVISION = {
    "convnext_tiny": ("classifier.2", "features"),
    "densenet121": ("classifier", "features"),
    "efficientnet_b0": ("classifier.1", "features"),
    "googlenet": ("fc", "inception5b"),
    "inception_v3": ("fc", "Mixed_7c"),
    "maxvit_t": ("classifier.5", "blocks.3"),
    "mnasnet0_5": ("classifier.1", "layers"),
    "mobilenet_v2": ("classifier.1", "features"),
    "mobilenet_v3_small": ("classifier.3", "features"),
    "regnet_y_400mf": ("fc", "trunk_output"),
    "resnet18": ("fc", "layer4"),
    "resnext50_32x4d": ("fc", "layer4"),
    "shufflenet_v2_x0_5": ("fc", "conv5"),
    "squeezenet1_0": ("", "features"),
    "swin_t": ("head", "permute"),
    "swin_v2_t": ("head", "permute"),
    "vit_b_32": ("heads.head", ""),
}

# timm: whose features are maps, with channels first or last, and whose are tokens.
MAPS = (
    *("caformer_s18", "convnext_atto", "dla46_c", "dpn48b", "edgenext_xx_small", "efficientformerv2_s0"),
    *("efficientvit_b0", "mobilenetv3_small_050", "mobilenetv4_conv_small", "mobilevit_xxs", "pvt_v2_b0", "repvit_m1"),
    *("resnest14d", "resnetv2_18", "swiftformer_xs", "test_resnet", "tf_efficientnet_lite0"),
)
CHANNELS_LAST = ("mambaout_femto", "sam2_hiera_tiny", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256")
TOKENS = (
    *("crossvit_tiny_240", "deit_tiny_distilled_patch16_224", "efficientformer_l1", "efficientvim_m1", "gmlp_ti16_224"),
    *(
        "hiera_tiny_224",
        "levit_128s",
        "mixer_s32_224",
        "pit_ti_distilled_224",
        "test_vit",
        "vit_base_patch16_siglip_224",
    ),
    *("vit_tiny_patch16_224", "vit_tiny_patch16_dinov3_qkvb", "volo_d1_224", "xcit_nano_12_p16_224"),
)
TIMM = (*MAPS, *CHANNELS_LAST, *TOKENS)
FEW = {"squeezenet1_0", "deit_tiny_distilled_patch16_224", "test_resnet", "test_vit"}


def some(names):
    return [name for name in names if FULL or name in FEW]


def lively(net, images):
    """Let no parameter be constant, and give batch norms the statistics of photographs."""
    for parameter in map(torch.Tensor.detach, net.parameters()):
        if parameter.numel() > 1 and float(parameter.max() - parameter.min()) < 1e-3:
            around = float(parameter.mean()) if float(parameter.mean()) > 0.5 else 0.0
            parameter.uniform_(around - 0.2, around + 0.2)
    norms = [module for module in net.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = None  # statistics of what is seen now
    with torch.no_grad():
        net(images)
    return net.eval()


@pytest.fixture
def seen(tmp_path):
    """Make a network lively, and return it with photographs, and a function that returns what fc7 computes of them."""

    def make(name):
        transform = architecture(name).transform
        files = sorted(photographs_of_noise(tmp_path / "photographs", 4).rglob("*.png"))
        sides = transform.crop, transform.crop
        pixels = np.stack([np.asarray(Image.open(file).resize(sides)) for file in files])
        images = (torch.from_numpy(pixels) / 255 - torch.tensor(transform.mean)) / torch.tensor(transform.std)
        images = images.permute(0, 3, 1, 2)
        net = lively(architecture(name).construct(0), images)
        weights = tmp_path / "lively.safetensors"
        state = {key: value.contiguous().clone() for key, value in net.state_dict().items()}
        weights.write_bytes(safetensors.torch.save(state))

        def rows(layers):
            backbone = load_backbone(name, layers, weights=f"file:{weights}", device="cpu", batch_size=4)
            found = backbone.forward(pixels)
            assert [recipe.dim for recipe in backbone.recipes] == [row.shape[1] for row in found]
            return dict(zip(layers, found, strict=True))

        return net, images, rows

    return make


def compare(found, expected):
    assert found.keys() == expected.keys()
    for layer, theirs in expected.items():
        theirs = theirs.numpy()
        assert np.isfinite(theirs).all()
        others = np.roll(theirs, 1, axis=0)
        assert (np.linalg.norm(theirs - others, axis=1) > 1e-3 * np.linalg.norm(theirs, axis=1)).all(), "constant"
        assert found[layer].shape == theirs.shape, layer
        assert (np.linalg.norm(found[layer] - theirs, axis=1) <= 1e-4 * np.linalg.norm(theirs, axis=1)).all(), layer


def pools(maps, over):
    mean, largest = maps.mean(over), maps.amax(over)
    return dict(zip(POOLED, (mean, largest, torch.cat([normalize(mean), normalize(largest)], 1)), strict=True))


def refused(name, layers):
    for layer in layers:
        line = rf"^{name} has no layer '{layer[:3]}.*'.* Layers: .*logits"
        with pytest.raises(UsageError, match=line) as caught:
            load_backbone(name, layer, weights="random:0")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", some(TORCHVISION))
def test_layers_of_torchvision(name, seen, cache_dir):
    net, images, rows = seen(name)
    linear, module = TORCHVISION[name]
    expected = {}
    if linear:
        net.get_submodule(linear).register_forward_pre_hook(
            lambda layer, given: expected.update(penultimate=given[0].clone())
        )
    if module:
        after = relu if name.startswith("densenet") else torch.clone
        net.get_submodule(module).register_forward_hook(
            lambda layer, given, returned: expected.update(pools(after(returned), (2, 3)))
        )
    with torch.inference_mode():
        expected["logits"] = net(images)
    compare(rows(list(expected)), expected)
    refused(name, [*([] if linear else ["penultimate"]), *([] if module else POOLED)])


@pytest.mark.parametrize("name", some(TIMM))
def test_layers_of_timm(name, seen, cache_dir):
    pytest.importorskip("timm", reason="timm is not installed (the extra fc7[timm])")
    net, images, rows = seen(f"timm:{name}")
    with torch.inference_mode():
        features = net.forward_features(images)
        expected = {"penultimate": net.forward_head(features, pre_logits=True), "logits": net(images)}
        if name not in TOKENS:
            expected |= pools(features, (1, 2) if name in CHANNELS_LAST else (2, 3))
    compare(rows(list(expected)), expected)
    refused(f"timm:{name}", POOLED if name in TOKENS else [])
