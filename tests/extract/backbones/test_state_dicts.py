"""Files of older versions give the vectors that torchvision's own loading gives."""

import hashlib
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torchvision.models import densenet

from fc7.errors import WeightsError
from fc7.extract import load_backbone
from fc7.extract.backbones.architectures import architecture
from fc7.extract.backbones.network import with_classes
from fc7.extract.backbones.state_dicts import adapt
from fc7.extract.weights.sources import find_weights

PIXELS = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
MNASNETS = ["mnasnet0_5", "mnasnet1_0"]


def as_densenet_was_published(state):
    """Return the names of 2017: with dots in the names of modules, and without batch norm's counters."""
    renamed = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): value for name, value in state.items()
    }
    return {name: value for name, value in renamed.items() if not name.endswith("num_batches_tracked")}


def as_vit_was_published(state):
    return {
        name.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2."): value
        for name, value in state.items()
    }


def lively(net):
    """Draw everything that would be constant, so that a wrong name shows."""
    generator = torch.Generator().manual_seed(1)
    for value in net.state_dict().values():
        if value.is_floating_point() and value.dim() == 1:
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return net.eval()


def images(transform, pixels=PIXELS):
    pixels = torch.from_numpy(pixels) / 255
    return ((pixels - torch.tensor(transform.mean)) / torch.tensor(transform.std)).permute(0, 3, 1, 2)


def seeded(name, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchvision.models.get_model(name, weights=None, **options)


def drawn(name, **options):
    """Return a large network with small numbers for all parameters, drawn at once: its own take seconds."""
    with torch.device("meta"):
        net = torchvision.models.get_model(name, weights=None, **options)
    generator = torch.Generator().manual_seed(0)
    for value in net.to_empty(device="cpu").parameters():
        value.data.uniform_(-0.05, 0.05, generator=generator)
    return lively(net)


def loaded(name, path, layer, **options):
    """Return what fc7 computes at a layer with a file, and its transform."""
    backbone = load_backbone(
        name, layer, weights=f"file:{path}", device="cpu", batch_size=1, dtype="float32", **options
    )
    transform = backbone.recipes[0].transform
    pixels = np.random.default_rng(0).integers(0, 256, (1, transform.crop, transform.crop, 3), dtype=np.uint8)
    return backbone.forward(pixels)[0], images(transform, pixels)


def close(found, right):
    np.testing.assert_allclose(found, right.numpy(), atol=1e-4 * float(right.abs().max()))
    assert float(right.std()) > 0


def test_a_published_densenet_equals_what_torchvision_loads(tmp_path, cache_dir):
    path = tmp_path / "densenet121.pth"
    torch.save(as_densenet_was_published(lively(seeded("densenet121")).state_dict()), path)
    right = torchvision.models.densenet121(weights=None).eval()
    file = SimpleNamespace(get_state_dict=lambda **_: torch.load(path, weights_only=True))
    densenet._load_state_dict(right, file, progress=False)
    found, inputs = loaded("densenet121", path, "logits")
    with torch.inference_mode():
        close(found, right(inputs))


def test_a_published_vit_equals_what_torchvision_loads(narrow, tmp_path, cache_dir):
    path = tmp_path / "vit.pth"
    state = as_vit_was_published(drawn("vit_b_32").state_dict())
    torch.save(state, path)
    right = drawn("vit_b_32")
    right.load_state_dict(state)
    found, inputs = loaded("vit_b_32", path, "logits")
    with torch.inference_mode():
        close(found, right(inputs))


def test_vit_of_another_size_equals_what_torchvision_loads(narrow, tmp_path, cache_dir):
    """As the weights SWAG_E2E, whose images are of 384 pixels."""
    path = tmp_path / "swag.pth"
    net = drawn("vit_b_16", image_size=384)
    torch.save(net.state_dict(), path)
    found, inputs = loaded("vit_b_16", path, "logits", transform="IMAGENET1K_SWAG_E2E_V1")
    assert inputs.shape == (1, 3, 384, 384)
    with torch.inference_mode():
        close(found, net(inputs))


@pytest.mark.parametrize("name", MNASNETS)
def test_mnasnet_is_seeded_as_torchvision_does(name, cache_dir):
    backbone = load_backbone(name, "logits", weights="random:0", device="cpu", batch_size=1, dtype="float32")
    with torch.inference_mode():
        close(backbone.forward(PIXELS)[0], seeded(name).eval()(images(backbone.recipes[0].transform)))


@pytest.mark.parametrize("name", MNASNETS)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.filterwarnings("ignore:A new version of MNASNet")
def test_every_mnasnet_file_equals_what_torchvision_loads(name, suffix, version, tmp_path, cache_dir):
    """Of both versions, and with or without the number of the version, which .safetensors has not."""
    net = seeded(name)
    if version == 1:
        net._load_from_state_dict({}, "", {"version": 1}, False, [], [], [])
    state = lively(net).state_dict()
    state._metadata[""]["version"] = version
    path = tmp_path / f"mnasnet.{suffix}"
    safetensors.torch.save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    right = torchvision.models.get_model(name, weights=None).eval()
    right.load_state_dict(state)
    assert version == 2 or len(right.layers[0].weight) == 32
    found, inputs = loaded(name, path, "logits")
    with torch.inference_mode():
        close(found, right(inputs))
    module, last, new = with_classes(
        architecture(name), 3, find_weights(f"file:{path}", architecture(name)), sha256_of(path), seed=1
    )
    assert (last, new) == ("classifier.1", {"classifier.1.weight", "classifier.1.bias"})
    assert module.classifier[1].out_features == 3
    for key, value in module.state_dict().items():
        assert key.startswith("classifier.1.") or torch.equal(value, state[key]), key


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_seeded_stem_leaves_the_generator_alone():
    network = architecture("mnasnet0_5").skeleton()
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    with pytest.warns(UserWarning, match="MNASNet"):
        adapt(network, {"layers.0.weight": torch.zeros(32, 3, 3, 3)})
    assert len(network.layers[0].weight) == 32
    assert torch.equal(torch.rand(1), before)


@pytest.mark.parametrize(
    ("name", "published"), [("densenet121", as_densenet_was_published), ("vit_b_32", as_vit_was_published)]
)
def test_fine_tuning_starts_from_published_files(name, published, narrow, tmp_path):
    path = tmp_path / "published.pth"
    state = lively(seeded(name)).state_dict()
    torch.save(published(state), path)
    net = architecture(name)
    module, last, new = with_classes(net, 3, find_weights(f"file:{path}", net), sha256_of(path), seed=1)
    assert {name.rpartition(".")[0] for name in new} == {last}
    for key, value in module.state_dict().items():
        counter = key.endswith("num_batches_tracked")
        assert counter or key.startswith(f"{last}.") or torch.equal(value, state[key]), key


def test_a_file_of_something_else_has_none_of_its_tensors(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"x": torch.zeros(1)}, path)
    net = architecture("resnet18")
    with pytest.raises(WeightsError, match="have none of the"):
        with_classes(net, 3, find_weights(f"file:{path}", net), sha256_of(path), seed=0)


def test_no_other_class_of_torchvision_has_rules_for_older_files():
    """What this module must know. A later torchvision with another rule fails here."""
    prefix = "torchvision.models."
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(prefix) and name.count(".") == 2]
    rules = {
        f"{thing.__module__.removeprefix(prefix)}.{thing.__name__}"
        for module in modules
        for thing in vars(module).values()
        if isinstance(thing, type) and "_load_from_state_dict" in vars(thing)
    }
    loaders = {module.__name__.removeprefix(prefix) for module in modules if hasattr(module, "_load_state_dict")}
    assert (rules, loaders) == ({"mnasnet.MNASNet", "vision_transformer.MLPBlock"}, {"densenet"})
