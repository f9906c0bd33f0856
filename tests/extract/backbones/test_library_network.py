"""Networks of libraries taken apart: layers of tokens, and networks that torch.fx cannot follow."""

import inspect

import pytest
import torch
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer

from fc7.errors import UsageError
from fc7.extract.backbones import timm_models, torchvision_models
from fc7.extract.backbones.library_network import LibraryNetwork
from fc7.extract.backbones.network import Tapped


def lively(net):
    """Return a seeded network in which nothing is constant, as fresh class tokens and norms are."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0.5 if parameter.dim() == 1 else 0, 0.2)
    return net.eval()


def vit():
    return lively(VisionTransformer(32, 8, num_layers=3, num_heads=2, hidden_dim=12, mlp_dim=24, num_classes=5))


def images(size=32):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def vectors(opened, names):
    taps = [opened.layer(name) for name in names]
    with torch.inference_mode():
        found = Tapped(opened.cut(tap.node for tap in taps), taps)(images(opened.crop))
    assert [tap.dim for tap in taps] == [vector.shape[1] for vector in found]
    return dict(zip(names, found, strict=True))


def side_by_side(tokens, prefix):
    first, mean = tokens[:, 0], tokens[:, prefix:].mean(1)
    return {"cls": first, "avg": mean, "cls+avg": torch.cat([first, mean], 1)}


def test_tokens_of_torchvisions_transformers_are_those_of_its_encoder():
    net, outputs = vit(), {}
    for number, block in enumerate([*net.encoder.layers, net.encoder.ln]):
        block.register_forward_hook(lambda module, given, returned, number=number: outputs.update({number: returned}))
    with torch.inference_mode():
        logits = net(images())
        tokens = {number: net.encoder.ln(outputs[number]) for number in range(3)}
    last = side_by_side(outputs[3], 1)
    expected = {**last, "penultimate": last["cls"], "logits": logits}
    expected |= {f"block:1:{pool}": vector for pool, vector in side_by_side(tokens[1], 1).items()}
    expected |= {"block:0": tokens[0][:, 0], "block:-3:avg": tokens[0][:, 1:].mean(1), "block:-1": last["cls"]}
    opened = LibraryNetwork(vit(), 32, torchvision_models)
    assert (opened.blocks[0], list(opened.blocks[1])) == (3, ["cls", "avg", "cls+avg"])
    assert list(opened.layers) == ["penultimate", "logits", "cls", "avg", "cls+avg"]
    for name, vector in vectors(opened, list(expected)).items():
        torch.testing.assert_close(vector, expected[name], rtol=1e-5, atol=1e-6, msg=name)


def test_a_transformer_of_windows_has_the_mean_of_its_tokens():
    options = {"embed_dim": 12, "depths": [1, 1], "num_heads": [2, 2], "window_size": [4, 4], "num_classes": 5}
    net = lively(SwinTransformer(patch_size=[4, 4], **options))
    opened = LibraryNetwork(net, 32, torchvision_models)
    with torch.inference_mode():
        expected = net.norm(net.features(images())).mean((1, 2))
    for name, vector in vectors(opened, ["avg", "gap", "penultimate"]).items():
        torch.testing.assert_close(vector, expected, rtol=1e-5, atol=1e-6, msg=name)
    with pytest.raises(LookupError, match=r"it has no class token; there is avg"):
        opened.layer("cls")
    with pytest.raises(LookupError, match=r"no function for the tokens of a block"):
        opened.layer("block:0")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("block:3", r"its blocks are 0 to 2, or -3 to -1"),
        ("block:-4:avg", r"its blocks are 0 to 2"),
        ("gap", r"tokens of \(17, 12\), not a map .*; --layer avg is the mean of the patches' tokens"),
        ("map", r"no function for it"),
        ("nothing", r"^$"),
    ],
)
def test_layers_that_are_not_there_are_refused_with_what_is(name, message):
    with pytest.raises(LookupError, match=message):
        LibraryNetwork(vit(), 32, torchvision_models).layer(name)


class Deciding(nn.Module):
    """A network with the functions of timm's, which torch.fx cannot follow; it counts the passes."""

    num_features, num_prefix_tokens, feature_info = 6, 2, (0, 1, 2)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.blocks = nn.Conv2d(3, 6, 4, 4), nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
        self.cls_token, self.register = nn.Parameter(torch.randn(1, 1, 6)), nn.Parameter(torch.randn(1, 1, 6))
        self.norm, self.fc_norm, self.head = nn.LayerNorm(6), nn.LayerNorm(6), nn.Linear(6, 5)
        self.passes = 0
        lively(self)

    def forward_intermediates(
        self, images, indices, norm, output_fmt, return_prefix_tokens=False, intermediates_only=False, stop_early=False
    ):
        assert norm
        assert output_fmt == "NLC"
        self.passes += 1
        tokens, found = self._tokens(images), []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            if number in indices:
                found.append((self.norm(tokens)[:, 2:], self.norm(tokens)[:, :2]))
        return found if intermediates_only else (self.norm(tokens), found)

    def _tokens(self, images):
        if images.shape[0] > 5000 or images.abs().sum() < 0:  # what torch.fx cannot know
            raise ValueError
        patches = self.stem(images).flatten(2).transpose(1, 2)
        first = [token.expand(len(images), -1, -1) for token in (self.cls_token, self.register)]
        return torch.cat([*first, patches], 1)

    def forward_features(self, images):
        return self.forward_intermediates(images, [], norm=True, output_fmt="NLC")[0]

    def forward_head(self, features, pre_logits=False):
        vectors = self.fc_norm(features[:, 0])
        return vectors if pre_logits else self.head(vectors)

    def forward(self, images):
        return self.forward_head(self.forward_features(images))


@pytest.fixture
def no_timm(monkeypatch):
    monkeypatch.setattr(timm_models, "tracer", dict)


def test_a_network_that_cannot_be_followed_has_the_layers_of_its_librarys_functions(no_timm):
    net = Deciding()
    opened = LibraryNetwork(net, 16, timm_models)
    with torch.inference_mode():
        features, logits = net.forward_features(images(16)), net(images(16))
        penultimate = net.fc_norm(features[:, 0])
        (block,) = net.forward_intermediates(images(16), [1], norm=True, output_fmt="NLC", intermediates_only=True)
    expected = {**side_by_side(features, 2), "logits": logits, "penultimate": penultimate}
    expected |= {"block:1": block[1][:, 0], "block:-2:avg": block[0].mean(1), "block:-1:cls": features[:, 0]}
    for name in expected:
        assert opened.layer(name).dim == expected[name].shape[1]
    net.passes = 0
    for name, vector in vectors(opened, list(expected)).items():
        torch.testing.assert_close(vector, expected[name], msg=name)
    cut = opened.cut([":features", ":block:0"])
    cut.passes = 0
    cut(images(16))
    assert cut.passes == 1
    assert cut.state_dict().keys() == net.state_dict().keys()


def test_its_nodes_are_refused_in_one_line(no_timm):
    with pytest.raises(LookupError, match=r"^torch.fx cannot follow the forward pass of Deciding \(.*\): no layer"):
        LibraryNetwork(Deciding(), 16, timm_models).layer("blocks.1")


def test_images_that_it_cannot_take_are_said_with_its_own_words():
    class Strict(Deciding):
        def _tokens(self, images):
            if images.shape[-1] != 16:
                raise AssertionError(f"{images.shape[-1]} is not 16")
            return super()._tokens(images)

    with pytest.raises(UsageError, match=r"^Strict cannot take images of 32 x 32 pixels: 32 is not 16$"):
        LibraryNetwork(Strict(), 32, timm_models).layer("cls")


@pytest.mark.parametrize("library", [timm_models, torchvision_models])
def test_libraries_have_the_same_functions(library):
    names = ["construct", "skeleton", "sized", "fitted", "entries", "is_published"]
    names += ["tracer", "parts", "run", "blocks", "channels", "prefix"]
    for name in names:
        assert inspect.isfunction(getattr(library, name)), name
