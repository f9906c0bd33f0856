"""ONNX, torch's program and torchvision's state dict: what each says, and what it cannot hold."""

import json
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from exported import SMALL, SMALL_VIT, SQUEEZENET, run_state_dict
from safetensors import safe_open
from safetensors.torch import load_file

from fc7.classify import Bundle, export, fit
from fc7.classify.exports import formats
from fc7.errors import ExportError, MissingExtra, UsageError
from fc7.extract import extract, load_backbone, read_manifest


@pytest.mark.parametrize(("head", "classes"), [("logreg", 2), ("lda", 3)])
def test_on_one_scale_the_state_dict_of_torchvisions_class_answers_as_predict(home, cache, tmp_path, head, classes):
    bundle = home.bundle(head, classes, "scale", dtype="float32", **SQUEEZENET)
    written = export(bundle, tmp_path / "net.safetensors", **cache)
    _, probability = run_state_dict(written.path, home.prepared(bundle), "squeezenet1_1", classes)
    assert probability == pytest.approx(home.predicted(bundle), abs=1e-4)
    assert written.parity.predicted < 1e-4
    assert written.notes == ()


def test_the_relu_after_squeezenets_last_convolution_changes_nothing(home, cache, tmp_path):
    """Whatever the feature maps are: neither they nor the weights are negative."""
    bundle = home.bundle("logreg", 3, "scale", dtype="float32", **SQUEEZENET)
    state = load_file(export(bundle, tmp_path / "net.safetensors", **cache).path)
    assert float(state["classifier.1.weight"].min()) == 0
    assert float(state["classifier.1.bias"].min()) == 0
    assert state["classifier.1.weight"].shape == (3, 512, 1, 1)


def fitted(home, head, classes=2, **backbone):
    """Return a backbone, loaded once for all that a test does with it, and the bundle of a head on it."""
    net = load_backbone(**{"image_size": (64, 64)} | backbone, dtype="float32", batch_size=4, cache=home.cache)
    rows = extract(read_manifest(home.pictures(classes)), net, cache=home.cache)
    return net, Bundle.of(fit(rows, head, folds=2, epochs=1, preparation="scale"))


@pytest.mark.parametrize(("layer", "head"), [("fc7", "logreg"), ("pool5", "classifier")])
def test_alexnet(home, cache, tmp_path, layer, head):
    net, bundle = fitted(home, head, 3, name="alexnet", layer=layer, weights="random:0")
    bundle.estimator["head"].temperature = 0.05  # of seeded weights all answers are much the same otherwise
    expected, images = home.predicted(bundle, backbone=net), home.prepared(bundle)
    assert np.ptp(expected, axis=0).max() > 0.01
    path = export(bundle, tmp_path / "net.safetensors", backbone=net, **cache).path
    assert run_state_dict(path, images, "alexnet", 3)[1] == pytest.approx(expected, abs=1e-4)


def test_another_network_of_torchvision_with_its_normalisation_layers(home, cache, tmp_path):
    net, bundle = fitted(home, "ridge", **SMALL)
    written = export(bundle, tmp_path / "net.safetensors", backbone=net, **cache)
    found = run_state_dict(written.path, home.prepared(bundle), SMALL["name"], 2)[1]
    assert found == pytest.approx(home.predicted(bundle, backbone=net), abs=1e-4)


def test_a_vision_transformer_of_another_size_is_made_for_it(home, cache, tmp_path):
    path, generator = tmp_path / "vit.pth", torch.Generator().manual_seed(0)
    shapes = torchvision.models.get_model(SMALL_VIT, image_size=64).state_dict()
    torch.save({name: torch.randn(value.shape, generator=generator) for name, value in shapes.items()}, path)
    net, bundle = fitted(home, "ridge", name=SMALL_VIT, layer="penultimate", weights=f"file:{path}")
    written = export(bundle, tmp_path / "net.safetensors", backbone=net, **cache)
    assert f"torchvision.models.get_model('{SMALL_VIT}', num_classes=2, image_size=64)" in written.format
    module = torchvision.models.get_model(SMALL_VIT, num_classes=2, image_size=64).eval()
    module.load_state_dict(load_file(written.path))
    with torch.inference_mode():
        found = module(torch.as_tensor(home.prepared(bundle))).softmax(dim=1).numpy()
    expected = home.predicted(bundle, backbone=net)
    assert np.ptp(expected, axis=0).max() > 0.01
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.fixture
def own(home):
    """A bundle on weights in a file."""
    path = home.root / "own.pth"
    if not path.exists():  # once in a session
        torch.save(torchvision.models.get_model(SMALL["name"]).state_dict(), path)
    return home.bundle("ridge", 2, "scale", dtype="float32", **SMALL | {"weights": f"file:{path}"})


def test_onnx_says_how_to_prepare_an_image(home, own):
    bundle, path = own, home.exported(".onnx", own).path
    model = onnx.load(path)
    assert model.producer_name == "fc7"
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", formats.OPSET)]
    (given,) = model.graph.input
    shape = given.type.tensor_type.shape.dim
    assert (given.name, shape[0].dim_param, [side.dim_value for side in shape[1:]]) == ("images", "batch", [3, 64, 64])
    assert [one.name for one in model.graph.output] == ["logits", "probabilities"]
    about = {one.key: one.value for one in model.metadata_props}
    assert json.loads(about["classes"]) == list(bundle.classes)
    assert about["recipe_id"] == bundle.recipe.id
    assert (about["resize"], about["crop"], about["interpolation"]) == ("72", "64", "bilinear")
    assert tuple(json.loads(about["mean"])) == bundle.recipe.transform.mean
    assert tuple(json.loads(about["std"])) == bundle.recipe.transform.std
    assert about["input"] == "images float32 normalised (batch, 3, 64, 64)"
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == about


def test_the_other_formats_say_the_same(home, own):
    about = {one.key: one.value for one in onnx.load(home.exported(".onnx", own).path).metadata_props}
    extra = {"fc7.json": ""}
    torch.export.load(home.exported(".pt2", own).path, extra_files=extra)
    assert json.loads(extra["fc7.json"]) == about
    with safe_open(home.exported(".safetensors", own).path, "pt") as file:
        metadata = file.metadata()
    assert about.items() <= metadata.items()
    assert metadata["network"] == "torchvision.models.get_model('small', num_classes=2)"
    assert eval(metadata["network"], {"torchvision": torchvision})


def test_no_path_of_this_machine_is_in_a_file(home, own):
    for suffix in formats.FORMATS:
        data = home.exported(suffix, own).path.read_bytes()
        assert str(home.root).encode() not in data, suffix
        assert b"site-packages" not in data, suffix


def test_the_same_bundle_gives_the_same_onnx_network(home, cache, tmp_path):
    bundle = home.bundle("linear-svm", 3)
    again = export(bundle, tmp_path / "again.onnx", **cache).path
    assert again.read_bytes() == home.exported(".onnx", bundle).path.read_bytes()


def test_unit_length_is_no_layer_of_a_published_network(home, cache, nothing):
    with pytest.raises(
        ExportError, match=r"unit length.*FILE.onnx.* shell fc7 fit DATA --preparation scale --dtype float32"
    ):
        export(home.bundle(), nothing / "net.safetensors", **cache)


@pytest.mark.parametrize(
    ("name", "layer", "said"),
    [
        ("alexnet", "gap", "the last layer of alexnet reads fc7.*--layer fc7 --preparation scale.*--head classifier"),
        ("alexnet", "fc6", "the last layer of alexnet reads fc7"),
        ("squeezenet1_1", "gmp", "the last layer of squeezenet1_1 reads gap"),
        ("squeezenet1_0", "gap", "squeezenet1_0 ends in no linear layer.*FILE.onnx"),
    ],
)
def test_a_layer_that_no_published_network_ends_in_is_refused(home, cache, nothing, name, layer, said):
    rows = extract(read_manifest(home.pictures(2)), load_backbone(**SMALL, dtype="float32", **cache), **cache)
    renamed = replace(rows, recipe=replace(rows.recipe, backbone=name, layer=layer))
    bundle = Bundle.of(fit(renamed, "ridge", folds=2, preparation="scale"))
    with pytest.raises(ExportError, match=said):
        export(bundle, nothing / "net.safetensors", **cache)


def test_a_state_dict_cannot_mirror(home, cache, nothing):
    bundle = home.bundle("logreg", preparation="scale", mirror=True, **SQUEEZENET)
    with pytest.raises(ExportError, match=r"cannot take a mean with the mirror image\. Write FILE\.onnx"):
        export(bundle, nothing / "net.safetensors", **cache)


def test_a_state_dict_cannot_normalise(home, cache, nothing):
    bundle = home.bundle("ridge", 2, "scale")
    with pytest.raises(ExportError, match="cannot normalise pixels"):
        export(bundle, nothing / "net.safetensors", with_normalise=True, **cache)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_packages_the_extra_is_named(home, cache, nothing, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"^{package} is not installed.*fc7\[onnx\]"):
        export(home.bundle(), nothing / "net.onnx", **cache)


@pytest.mark.parametrize("name", ["net", "net.pth", "net.ONNX", "onnx"])
def test_an_unknown_format_is_refused_with_the_known_ones(home, cache, nothing, name):
    with pytest.raises(UsageError, match=r"FILE\.onnx, FILE\.pt2, FILE\.safetensors"):
        export(home.bundle(), nothing / name, **cache)
