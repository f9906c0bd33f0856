"""Networks taken apart: the names of nodes, the ends, and what cannot be taken apart."""

import pytest
import torch
from torch import nn
from torchvision.models.feature_extraction import get_graph_node_names

from fc7.errors import UsageError
from fc7.extract.backbones.architectures import architecture
from fc7.extract.backbones.graph import TracedNetwork


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_nodes_are_those_of_torchvisions_feature_extractor(name):
    net = architecture(name).skeleton()
    assert TracedNetwork(net, 224).nodes[1:] == get_graph_node_names(net)[1][1:]  # the first are the images


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "vit_b_16"])
def test_layers_that_torchvision_does_not_look_into_keep_their_names(name):
    net = architecture(name).skeleton()
    traced, inside = TracedNetwork(net, 224), ("features.1", "features.12", "encoder.layers.encoder_layer_3.mlp")
    found = [node for node in get_graph_node_names(net)[1] if node in inside]
    assert found
    for node in found:
        assert traced.layer(node).node.startswith(f"{node}.")


class Mixed(nn.Module):
    """Registered in another order than run; one branch is not on the way to the end; takes a second argument."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.classes = nn.Linear(4, 10)
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.unused = nn.Linear(4, 7)
        self.register_buffer("scale", torch.ones(4), persistent=True)

    def forward(self, images, mask=None):
        maps = self.norm(self.conv(images))
        if mask is not None:
            maps = maps * mask
        vectors = maps.mean((2, 3)) * self.scale.sqrt()
        self.unused(vectors)
        return self.classes(vectors)


def test_penultimate_is_what_the_last_linear_layer_reads_and_logits_what_is_returned():
    net = Mixed().eval()
    traced = TracedNetwork(net, 16)
    layers = traced.ends()
    assert {name: layer.dim for name, layer in layers.items()} == {"penultimate": 4, "logits": 10}
    read = []
    net.classes.register_forward_pre_hook(lambda layer, given: read.append(given[0]))
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        expected = net(images)
        found = traced.cut(layer.node for layer in layers.values())(images)
    torch.testing.assert_close(found[layers["penultimate"].node], read[0])
    torch.testing.assert_close(found[layers["logits"].node], expected)


def test_what_is_made_of_buffers_follows_the_weights_that_are_loaded_later():
    traced = TracedNetwork(Mixed().eval(), 16)
    cut = traced.cut([traced.ends()["penultimate"].node])
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        before = cut(images)
        cut.load_state_dict({"scale": torch.full((4,), 9.0)}, strict=False)
        after = cut(images)
    for node in before:
        torch.testing.assert_close(after[node], 3 * before[node])


class TwoHeads(nn.Module):
    """Returns a mean of two heads: no linear layer is its end."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(3, 5), nn.Linear(3, 5)

    def forward(self, images):
        vectors = images.mean((2, 3))
        return (self.one(vectors) + self.other(vectors)) / 2

    def embed(self, images):
        return 2 * images.mean((2, 3)) + self.one(images.mean((2, 3))).sum(1, keepdim=True)


def test_without_a_last_linear_layer_there_is_no_penultimate():
    assert list(TracedNetwork(TwoHeads().eval(), 8).ends()) == ["logits"]


def parts(net, images, names):
    if names == [":nothing"]:
        raise RuntimeError("there is none\nof it")
    return {":embedding": net.embed(images), ":end": net.forward(images)}


def test_parts_of_the_librarys_functions_are_cut_beside_nodes():
    net = TwoHeads().eval()
    traced = TracedNetwork(net, 8, parts=parts)
    cut = traced.cut([":embedding", ":end", "one"])
    assert len(list(cut.modules())) == 3, "what both functions compute is there once"
    images = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        found, vectors = cut(images), images.mean((2, 3))
        for name, expected in ((":embedding", net.embed(images)), (":end", net(images)), ("one", net.one(vectors))):
            torch.testing.assert_close(found[name], expected)
    assert traced.nodes == TracedNetwork(net, 8).nodes


def test_a_part_that_is_not_there_is_said_in_one_line():
    with pytest.raises(LookupError, match=r"nothing cannot be traced \(there is none\)$"):
        TracedNetwork(TwoHeads().eval(), 8, parts=parts).cut([":nothing"])


def test_maps_of_classes_are_no_features():
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    assert TracedNetwork(net, 8, has_classes=True).layer("gap").node == "1"
    assert TracedNetwork(net, 8).layer("gap").node == "2"


class Asking(nn.Module):
    def forward(self, images):
        return images if images.sum() > 0 else -images


def test_what_cannot_be_followed_or_is_of_another_size_is_said_in_one_line():
    with pytest.raises(UsageError, match=r"^torch.fx cannot follow the forward pass of Asking \(.*\): no layer of it"):
        _ = TracedNetwork(Asking(), 8).nodes
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(UsageError, match=r"^Sequential cannot take images of 8 x 8 pixels: .*"):
        TracedNetwork(net, 8).ends()
    assert TracedNetwork(net, 2).ends()["logits"].dim == 2


class Strict(nn.Module):
    def forward(self, images):
        side = images.shape[-1]
        torch._assert(side == 8, f"{side} is not 8")
        return images.flatten(1)


def test_images_of_another_size_are_refused_in_the_networks_own_words():
    with pytest.raises(UsageError, match=r"^Strict cannot take images of 16 x 16 pixels: 16 is not 8$"):
        TracedNetwork(Strict(), 16).ends()


def test_tracing_leaves_the_network_as_it_was():
    net = Mixed().eval()
    before = {name: dict(vars(module)) for name, module in net.named_modules()}
    traced = TracedNetwork(net, 16)
    assert traced.ends()
    assert {name: dict(vars(module)) for name, module in net.named_modules()} == before
