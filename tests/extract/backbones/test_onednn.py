import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import ConvNeXt, SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.feature_extraction import create_feature_extractor

from fc7.extract import load_backbone
from fc7.extract.backbones import onednn
from fc7.extract.backbones.architectures import architecture
from fc7.extract.backbones.graph import TracedNetwork
from fc7.extract.backbones.onednn import TOLERANCES, _Attention, _Convolution, _Linear, is_available, pack

pytestmark = pytest.mark.skipif(not is_available(), reason="this build of torch has no packed operators")
NODES = {"alexnet": ["classifier.5"], "squeezenet1_1": ["features"], "vgg11_bn": ["features", "classifier.4"]}
NODES |= {"resnet18": ["flatten"], "mobilenet_v3_small": ["flatten"], "densenet121": ["flatten"]}


@pytest.mark.parametrize("name", NODES)
def test_packed_networks_compute_the_same(name):
    torch.manual_seed(0)
    net = architecture(name).construct(0)
    plain = create_feature_extractor(net, NODES[name], suppress_diff_warning=True).eval().requires_grad_(False)
    images = torch.randn(2, 3, 96, 96).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = plain(images)
        assert pack(plain, images[:1], 2)
        found = plain(images)
    for node in NODES[name]:
        scale = expected[node].abs().max()
        assert (found[node] - expected[node]).abs().max() < 1e-4 * scale
    whole = name == "mobilenet_v3_small"  # whose convolutions torchvision's tracer does not look into
    assert any(isinstance(module, _Convolution) for module in plain.modules()) != whole


def test_normalisation_by_fixed_statistics_is_folded_into_the_convolution_before_it():
    net = architecture("resnet18").construct(0)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics of a trained network, not those it starts with
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    plain = create_feature_extractor(net, ["flatten"], suppress_diff_warning=True).eval().requires_grad_(False)
    images = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        expected = plain(images)["flatten"]
        assert pack(plain, images[:1], 2)
        found = plain(images)["flatten"]
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    left = {str(node.target) for node in plain.graph.nodes if node.op == "call_module"}
    assert not any(isinstance(plain.get_submodule(name), torch.nn.BatchNorm2d) for name in left)


def test_every_layer_of_alexnet_is_packed_with_its_relu():
    plain = create_feature_extractor(architecture("alexnet").construct(0), ["classifier.5"]).eval()
    assert pack(plain, torch.randn(1, 3, 224, 224), 1)
    kinds = [type(plain.get_submodule(str(node.target))) for node in plain.graph.nodes if node.op == "call_module"]
    assert kinds.count(_Convolution) == 5
    assert kinds.count(_Linear) == 2
    assert torch.nn.ReLU not in kinds


def test_a_relu_that_several_convolutions_share_is_part_of_each():
    net = TracedNetwork(architecture("resnet18").construct(0), 64).cut(["flatten"])
    assert pack(net, torch.randn(1, 3, 64, 64), 1)
    left = [node for node in net.graph.nodes if "relu" in str(node.target)]
    assert len(left) == 8, "those after a sum, one in each block"


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


class Reading(torch.nn.Module):
    """What the modules below have in common: two convolutions' worth of layers and a linear one."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.relu = torch.nn.ReLU()
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(3) for _ in range(2))
        for norm in self.norms:
            torch.nn.init.uniform_(norm.running_mean, -1, 1)
            torch.nn.init.uniform_(norm.running_var, 0.1, 2)
            torch.nn.init.uniform_(norm.weight, 0.5, 2)
        self.linear = torch.nn.Linear(3, 3)

    def end(self, maps):
        return self.linear(maps.mean((2, 3)))


class TwiceThenReluOnce(Reading):
    def forward(self, images):
        return self.end(self.conv(self.relu(self.conv(images))))


class OneConvolutionTwoNorms(Reading):
    def forward(self, images):
        return self.end(torch.cat([norm(self.conv(images)) for norm in self.norms], 3))


class OneNormTwoConvolutions(Reading):
    def __init__(self):
        super().__init__()
        self.other = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images):
        return self.end(self.norms[0](self.conv(images)) + self.norms[0](self.other(images)))


class LinearTwice(Reading):
    def forward(self, images):
        return self.linear(self.relu(self.linear(images.mean((2, 3)))))


class UnderTwoNames(Reading):
    def __init__(self):
        super().__init__()
        self.again = self.conv

    def forward(self, images):
        return self.end(self.again(self.relu(self.norms[0](self.conv(images)))))


class ReadElsewhere(Reading):
    """A layer whose parameters something else reads as well."""

    def forward(self, images):
        maps = torch.nn.functional.conv2d(self.relu(self.conv(images)), self.conv.weight, padding=1)
        return self.linear(maps.mean((2, 3))) @ self.linear.weight


class PartOfAnother(Reading):
    """A layer that another one calls as well, which torch.fx does not look into."""

    def __init__(self):
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(3, 1, batch_first=True)
        torch.nn.init.normal_(self.attention.out_proj.bias)

    def forward(self, images):
        rows = self.attention.out_proj(images.mean((2, 3)))
        return self.attention(rows[:, None], rows[:, None], rows[:, None])[0].flatten(1)


class WithoutStatistics(Reading):
    """Norms of the batch's own statistics: nothing that could be folded."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, images):
        return self.end(self.norm(self.conv(images)))


class ByName(Reading):
    """Layers may be called with the name of their argument."""

    def forward(self, images):
        return self.linear(input=self.relu(self.conv(input=images)).mean((2, 3)))


def hooked(before):
    module = OneNormTwoConvolutions().eval()
    if before:
        module.conv.register_forward_pre_hook(lambda layer, given: (given[0] * 3 - 1,))
    else:
        module.conv.register_forward_hook(lambda layer, given, found: found * 3 - 1)
    return module


def patched():
    """A layer whose forward pass is another one."""
    module = OneNormTwoConvolutions().eval()
    module.conv.forward = lambda images: images * 2
    return module


def parametrised():
    module = OneNormTwoConvolutions()
    torch.nn.utils.parametrizations.weight_norm(module.conv)
    with torch.no_grad():
        module.conv.parametrizations.weight.original0.mul_(3)
    return module.eval()


KINDS = [
    ReadElsewhere,
    PartOfAnother,
    TwiceThenReluOnce,
    OneConvolutionTwoNorms,
    OneNormTwoConvolutions,
    LinearTwice,
    UnderTwoNames,
]
CASES = {kind.__name__: kind for kind in [*KINDS, WithoutStatistics, ByName]}
CASES |= {"hook": lambda: hooked(False), "pre-hook": lambda: hooked(True)}
CASES |= {"patched": patched, "parametrised": parametrised}


@pytest.mark.parametrize("case", CASES)
def test_layers_that_are_more_than_one_call_of_their_class_stay_plain(case):
    module = CASES[case]().eval().requires_grad_(False)
    images = torch.randn(4, 3, 16, 16)
    with torch.inference_mode():
        expected = module(images)
        traced = TracedNetwork(module, 16)
        cut = traced.cut(traced.nodes[-1:])
        assert pack(cut, images[:1], 4), "the layers that are packed were chosen well: the check found nothing"
        (found,) = cut(images).values()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_deep_network_with_statistics_of_its_own_stays_within_the_tolerance_of_its_type(dtype):
    net = architecture("resnet50").construct(0)
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.3, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.3, 3)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.3, 0.3)
    plain = (
        create_feature_extractor(net, ["flatten"], suppress_diff_warning=True).eval().requires_grad_(False).to(dtype)
    )
    images = torch.randn(1, 3, 64, 64).to(dtype)
    with torch.inference_mode():
        expected = plain(images)["flatten"].double()
        assert pack(plain, images, 1)
        found = plain(images)["flatten"].double()
    assert any(isinstance(module, _Convolution) for module in plain.modules())
    assert (found - expected).norm() < TOLERANCES[dtype] / 4 * expected.norm()


def test_a_packed_network_that_differs_is_not_used_and_that_is_said(monkeypatch, caplog, cache_dir):
    honest, pixels = onednn._replace, np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    options = {"weights": "random:1", "device": "cpu", "batch_size": 2}
    expected = load_backbone("squeezenet1_1", **options).forward(pixels)[0]

    def wrong(network, sizes):
        honest(network, sizes)
        first = next(module for module in network.modules() if isinstance(module, _Convolution))
        first.bias = torch.nn.Parameter(first.bias + 0.1, requires_grad=False)

    monkeypatch.setattr(onednn, "_replace", wrong)
    backbone = load_backbone("squeezenet1_1", **options)
    np.testing.assert_allclose(backbone.forward(pixels)[0], expected, rtol=1e-4, atol=1e-6)
    assert not any(isinstance(module, _Convolution) for module in backbone.network.modules())
    assert "its plain layers run" in caplog.text


@pytest.mark.parametrize("name", ["xcit_nano_12_p8_224", "edgenext_xx_small"])
def test_networks_with_nodes_that_are_no_tensors_are_packed(name):
    """They split and unpack tensors: not every layer's input is a node with a shape."""
    timm = pytest.importorskip("timm", reason="timm is not installed (the extra fc7[timm])")
    torch.manual_seed(0)
    net = timm.create_model(name).eval().requires_grad_(False)
    traced = TracedNetwork(net, 64)
    images = torch.randn(2, 3, 64, 64)
    cut = traced.cut([traced.ends()["logits"].node])
    with torch.inference_mode():
        expected = net(images)
        assert pack(cut, images[:1], 2)
        (found,) = cut(images).values()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def small_vit():
    return VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=24)


def small_swin():
    return SwinTransformer([2, 2], embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=[2, 2])


def small_convnext():
    return ConvNeXt([CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 1)], layer_scale=1.0)


def lively(module):
    """Give parameters that start as zeros or ones other values, so that no layer drops out of what is compared."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, std=0.5)
    return module.eval().requires_grad_(False)


TOKENS = {small_vit: (2, 2 * 2 + 2 * 2 + 1), small_swin: (0, 2 * 2 * 2 + 2), small_convnext: (0, 2 * 3 + 1)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", TOKENS)
def test_linear_layers_on_tokens_and_on_channels_last_are_packed_with_their_gelu(kind, dtype):
    net, images = lively(kind()).to(dtype), torch.randn(3, 3, 32, 32).to(dtype)
    with torch.inference_mode():
        expected = net(images).double()
        cut = packed(net, images)
        (found,) = cut(images).values()
    called = [type(cut.get_submodule(str(node.target))) for node in cut.graph.nodes if node.op == "call_module"]
    inside = [type(module) for module in cut.modules()]
    assert (called.count(_Attention), inside.count(_Linear)) == TOKENS[kind]
    assert not {nn.GELU, nn.Linear, nn.MultiheadAttention} & {*called}
    assert (found.double() - expected).norm() < (1e-5 if dtype == torch.float32 else 0.05) * expected.norm()


def packed(module, images, batch=None):
    traced = TracedNetwork(module, images.shape[-1])
    cut = traced.cut(traced.nodes[-1:])
    assert pack(cut, images[:1], batch or len(images)), "the layers that are packed were chosen well"
    return cut


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", TOKENS)
def test_rows_of_packed_tokens_depend_on_no_other_row(kind, dtype):
    """Neither on their place in the batch, nor on their neighbours or zeros after them."""
    net, images = lively(kind()).to(dtype), torch.randn(4, 3, 32, 32).to(dtype)
    with torch.inference_mode():
        cut = packed(net, images)
        (expected,) = cut(images).values()
        (turned,) = cut(images.flip(0)).values()
        (padded,) = cut(torch.cat([images[:1], torch.zeros_like(images[1:])])).values()
        (among,) = cut(torch.cat([100 * images[:3], images[3:]])).values()
    assert torch.equal(turned.flip(0), expected)
    assert torch.equal(padded[0], expected[0])
    assert torch.equal(among[3], expected[3])


class Tokens(nn.Module):
    """Patches as tokens ``(B, N, C)``, mixed by what a class below says."""

    options = ("batch_first", "bias")

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.last = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, **{"bias": False, **dict.fromkeys(self.options, True)})
        self.first, self.second, self.gelu = nn.Linear(8, 8), nn.Linear(8, 8), nn.GELU()

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        return self.last(self.mixed(tokens)).flatten(1)

    def attended(self, tokens, **options):
        return self.attention(tokens, tokens, tokens, need_weights=False, **options)[0]

    mixed = attended


class Masked(Tokens):
    def mixed(self, tokens):
        return self.attended(tokens, attn_mask=torch.ones(16, 16).triu(1).bool())


class PlacesFirst(Tokens):
    options = ("bias",)


class WithBiasTokens(Tokens):
    options = ("batch_first", "bias", "add_bias_kv")


class WithZeros(Tokens):
    options = ("batch_first", "bias", "add_zero_attn")


class OtherKeys(Tokens):
    def mixed(self, tokens):
        return self.attention(tokens, tokens.flip(1), tokens, need_weights=False)[0]


class WeightsRead(Tokens):
    def mixed(self, tokens):
        mixed, weights = self.attention(tokens, tokens, tokens)
        return mixed + weights.mean(2, keepdim=True)


class PartCalled(Tokens):
    def mixed(self, tokens):
        return self.attention.out_proj(self.attended(tokens))


class PartRead(Tokens):
    def mixed(self, tokens):
        return nn.functional.linear(self.attended(tokens), self.attention.out_proj.weight)


class AttentionTwice(Tokens):
    def mixed(self, tokens):
        return self.attended(self.attended(tokens))


class WithoutBias(Tokens):
    options = ("batch_first",)


class TiedWeights(Tokens):
    """Two layers with one parameter."""

    def __init__(self):
        super().__init__()
        self.second.weight = self.first.weight

    def mixed(self, tokens):
        return self.second(self.gelu(self.first(tokens)))


class GeluReadTwice(Tokens):
    def mixed(self, tokens):
        found = self.first(tokens)
        return self.second(self.gelu(found)) + found


class OneGelu(Tokens):
    """One activation behind two layers."""

    def mixed(self, tokens):
        return self.gelu(self.second(self.gelu(self.first(tokens))))


class Tanh(Tokens):
    """GELU by its approximation, as a function."""

    def mixed(self, tokens):
        return 100 * nn.functional.gelu(self.first(tokens), approximate="tanh")


class OneRow(Tokens):
    """A layer that is given no batch."""

    def mixed(self, tokens):
        return tokens + self.first(tokens.mean((0, 1)))


KINDS_OF_TOKENS = [Masked, PlacesFirst, WithBiasTokens, WithZeros, OtherKeys, WeightsRead, PartCalled, PartRead]
KINDS_OF_TOKENS += [AttentionTwice, WithoutBias, TiedWeights, GeluReadTwice, OneGelu, Tanh, OneRow]
PACKED_ATTENTION = {WithoutBias}


@pytest.mark.parametrize("kind", KINDS_OF_TOKENS)
def test_what_mixes_tokens_otherwise_computes_the_same(kind):
    module = lively(kind())
    images = torch.randn(1, 3, 16, 16)
    with torch.inference_mode():
        expected = module(images)
        cut = packed(module, images)
        (found,) = cut(images).values()
    assert any(isinstance(each, _Attention) for each in cut.modules()) == (kind in PACKED_ATTENTION)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("place", ["attention", "first"])
@pytest.mark.parametrize("before", [False, True])
def test_hooks_of_layers_on_tokens_run(place, before):
    class Both(Tokens):
        def mixed(self, tokens):
            return self.first(self.attended(tokens))

    module, calls = Both().eval().requires_grad_(False), []
    layer = getattr(module, place)
    (layer.register_forward_pre_hook if before else layer.register_forward_hook)(lambda *given: calls.append(1))
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        expected = module(images)
        cut = packed(module, images)
        calls.clear()
        (found,) = cut(images).values()
    assert calls
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
