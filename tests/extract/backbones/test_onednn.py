import numpy as np
import pytest
import torch
from torchvision.models.feature_extraction import create_feature_extractor

from fc7.extract import load_backbone
from fc7.extract.backbones.architectures import architecture
from fc7.extract.backbones.onednn import _Convolution, _Linear, is_available, packed

pytestmark = pytest.mark.skipif(not is_available(), reason="this build of torch has no packed operators")
NODES = {"alexnet": ["classifier.5"], "squeezenet1_1": ["features"], "vgg11_bn": ["features", "classifier.4"]}
NODES |= {"resnet18": ["flatten"], "mobilenet_v3_small": ["flatten"], "densenet121": ["flatten"]}


@pytest.mark.parametrize("name", NODES)
def test_packed_networks_compute_the_same(name):
    torch.manual_seed(0)
    net = architecture(name).construct(0)
    plain = create_feature_extractor(net, NODES[name], suppress_diff_warning=True).eval().requires_grad_(False)
    images = torch.randn(2, 3, 96, 96).to(memory_format=torch.channels_last)
    fast = packed(plain, images[:1], 2)
    with torch.inference_mode():
        expected, found = plain(images), fast(images)
    for node in NODES[name]:
        scale = expected[node].abs().max()
        assert (found[node] - expected[node]).abs().max() < 1e-4 * scale
    whole = name == "mobilenet_v3_small"  # whose convolutions torchvision's tracer does not look into
    assert any(isinstance(module, _Convolution) for module in fast.modules()) != whole


def test_normalisation_by_fixed_statistics_is_folded_into_the_convolution_before_it():
    net = architecture("resnet18").construct(0)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics of a trained network, not those it starts with
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    plain = create_feature_extractor(net, ["flatten"], suppress_diff_warning=True).eval().requires_grad_(False)
    images = torch.randn(2, 3, 96, 96)
    fast = packed(plain, images[:1], 2)
    with torch.inference_mode():
        expected, found = plain(images)["flatten"], fast(images)["flatten"]
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    left = {str(node.target) for node in fast.graph.nodes if node.op == "call_module"}
    assert not any(isinstance(fast.get_submodule(name), torch.nn.BatchNorm2d) for name in left)


def test_every_layer_of_alexnet_is_packed_with_its_relu():
    plain = create_feature_extractor(architecture("alexnet").construct(0), ["classifier.5"]).eval()
    fast = packed(plain, torch.randn(1, 3, 224, 224), 1)
    kinds = [type(fast.get_submodule(str(node.target))) for node in fast.graph.nodes if node.op == "call_module"]
    assert kinds.count(_Convolution) == 5
    assert kinds.count(_Linear) == 2
    assert torch.nn.ReLU not in kinds


def test_a_tapped_layer_before_relu_stays_before_relu(cache_dir):
    """fc6 before and after ReLU from one pass: the reader of the first is not only ReLU."""
    layers = ["classifier.1", "classifier.2"]
    backbone = load_backbone("alexnet", layers, weights="random:1", device="cpu", batch_size=2)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    before, after = backbone.forward(pixels)
    assert (before < 0).any()
    np.testing.assert_array_equal(np.maximum(before, 0), after)


def test_bfloat16_is_near_float32(cache_dir):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)
    options = {"weights": "random:1", "device": "cpu", "batch_size": 4}
    exact, fast = (
        load_backbone("alexnet", precision=precision, **options).forward(pixels)[0] for precision in ("fp32", "bf16")
    )
    cosine = (exact * fast).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(fast, axis=1)
    assert fast.dtype == np.float32
    assert cosine.min() > 0.999
    assert not np.array_equal(exact, fast)
