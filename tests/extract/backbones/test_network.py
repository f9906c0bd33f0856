"""Networks with their weights, for the images that they are made for."""

import hashlib

import numpy as np
import pytest
import torch
import torchvision

from fc7.errors import UsageError, WeightsError
from fc7.extract import load_backbone
from fc7.extract.backbones.architectures import architecture
from fc7.extract.backbones.network import restore, with_classes
from fc7.extract.weights.sources import find_weights


@pytest.fixture
def vit(narrow, tmp_path):
    """A file of a ViT for images of 384 pixels, as SWAG_E2E is, that nobody published."""
    path = tmp_path / "mine.pth"
    torch.save(torchvision.models.vit_b_16(weights=None, image_size=384).state_dict(), path)
    return path


@pytest.mark.parametrize("options", [{}, {"image_size": (256, None)}])
def test_position_embeddings_of_another_size_are_one_line_with_the_way_on(vit, options, cache_dir, capfd):
    backbone = load_backbone("vit_b_16", weights=f"file:{vit}", device="cpu", **options)
    size = backbone.recipes[0].transform.crop
    with pytest.raises(UsageError) as caught:
        backbone.load()
    assert str(caught.value) == (
        f"vit_b_16 penultimate cannot take image_size {size}: the position embeddings of the weights file:{vit} are "
        "for 384 pixels. Take image_size 384 or transform IMAGENET1K_SWAG_E2E_V1."
    )
    said = capfd.readouterr()
    assert "Traceback" not in said.err
    assert "While executing" not in said.err


@pytest.mark.parametrize("options", [{"image_size": (384, 384)}, {"transform": "IMAGENET1K_SWAG_E2E_V1"}])
def test_the_way_on_works(vit, options, cache_dir):
    load_backbone("vit_b_16", weights=f"file:{vit}", device="cpu", batch_size=1, **options).load()


@pytest.mark.parametrize("name", ["vit_b_16", "maxvit_t"])
def test_a_size_that_no_patch_or_window_divides_is_one_line(name, narrow, cache_dir):
    with pytest.raises(UsageError, match=rf"{name} cannot be made for images of this size, .*250.*: Input [^\n]*$"):
        load_backbone(name, weights="random:0", image_size=(250, 250), device="cpu").load()


def test_maxvit_equals_torchvisions(narrow, cache_dir):
    """Tracing computes constants from its buffers, which must be there."""
    options = {"weights": "random:0", "device": "cpu", "batch_size": 1, "dtype": "float32"}
    backbone = load_backbone("maxvit_t", "logits", **options)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    net = torchvision.models.maxvit_t(weights=None).eval()
    net.load_state_dict(architecture("maxvit_t").initialise(0))
    transform = backbone.recipes[0].transform
    images = (torch.from_numpy(pixels) / 255 - torch.tensor(transform.mean)) / torch.tensor(transform.std)
    with torch.inference_mode():
        right = net(images.permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(backbone.forward(pixels)[0], right, atol=1e-4 * np.abs(right).max())
    assert architecture("maxvit_t").at(448).sized == {"input_size": (448, 448)}


def test_fine_tuning_takes_the_size_of_the_images_as_well(vit):
    net = architecture("vit_b_16")
    weights = find_weights(f"file:{vit}", net)
    sha256 = hashlib.sha256(vit.read_bytes()).hexdigest()
    module, last, new = with_classes(net.at(384), 3, weights, sha256, seed=0)
    assert (last, len(new)) == ("heads.head", 2)
    assert torch.equal(module.encoder.pos_embedding, torch.load(vit, weights_only=True)["encoder.pos_embedding"])
    with pytest.raises(UsageError, match="are for 384 pixels"):
        with_classes(net, 3, weights, sha256, seed=0)


def test_restored_tensors_have_the_shape_of_what_they_replace():
    module = torch.nn.Linear(2, 3)
    restore(module, {"bias": torch.arange(3.0)})
    assert module.bias.tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match=r"bias is \(1,\), needed is \(3,\)"):  # which would be broadcast
        restore(module, {"bias": torch.zeros(1)})


def test_a_tensor_of_another_shape_is_named(tmp_path):
    path = tmp_path / "w.pth"
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(state | {"bn1.bias": torch.zeros(3)}, path)
    net = architecture("resnet18")
    with pytest.raises(WeightsError, match=r"do not fit resnet18: bn1.bias is \(3,\), needed is \(64,\)"):
        with_classes(net, 3, find_weights(f"file:{path}", net), hashlib.sha256(path.read_bytes()).hexdigest(), seed=0)


@pytest.mark.parametrize(
    ("name", "layer"), [("densenet121", "features.norm5"), ("googlenet", "inception5b.branch1.bn")]
)
def test_a_layer_is_the_same_alone_and_beside_others_that_write_over_it(name, layer, cache_dir):
    """Forward passes of both call ``relu(..., inplace=True)``, which is no layer of the network."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)

    def first(layers):
        return load_backbone(name, layers, weights="random:0", device="cpu", batch_size=1).forward(pixels)[0]

    alone = first(layer)
    assert alone.min() < 0
    np.testing.assert_array_equal(first([layer, "penultimate"]), alone)
