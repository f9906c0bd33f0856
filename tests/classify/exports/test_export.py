"""Export: one network that answers as the bundle does, or nothing is written and the reason is said."""

import numpy as np
import onnxruntime
import pytest
import torch
from exported import LINEAR, SQUEEZENET, run_onnx, run_pt2
from scipy.special import softmax

from fc7.cache.recipe import Transform
from fc7.classify import Bundle, export, fit
from fc7.classify.data.joint import join
from fc7.classify.exports import formats
from fc7.classify.records import licences
from fc7.errors import BundleError, ExportError, UsageError
from fc7.extract import Backbone, extract, load_backbone, read_manifest

# The promise: as fc7 predict answers


@pytest.mark.parametrize(
    ("head", "classes", "max_error", "backbone"), [("logreg", 2, 0.1, SQUEEZENET), ("linear-svm", 3, None, {})]
)
def test_onnx_and_pt2_answer_as_predict(home, head, classes, max_error, backbone):
    bundle = home.bundle(head, classes, max_error=max_error, **backbone)
    expected, images = home.predicted(bundle), home.prepared(bundle)
    for suffix, run in ((".onnx", run_onnx), (".pt2", run_pt2)):
        written = home.exported(suffix, bundle)
        logits, probability = run(written.path, images)
        assert probability == pytest.approx(expected, abs=1e-4)
        assert softmax(logits, axis=1) == pytest.approx(probability, abs=1e-6)
        assert written.parity.probability < 1e-4
        assert written.parity.predicted < 1e-4
        assert written.size == written.path.stat().st_size


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_pixels_are_normalised_inside(home, suffix):
    bundle = home.bundle("logreg")
    written = home.exported(suffix, bundle, with_normalise=True)
    pixels = home.pixels(bundle)
    assert pixels.dtype == np.uint8
    run = run_onnx if suffix == ".onnx" else run_pt2
    assert run(written.path, pixels)[1] == pytest.approx(home.predicted(bundle), abs=1e-4)
    assert written.input == "pixels uint8 RGB (batch, 64, 64, 3)"


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_any_number_of_images_in_a_batch(home, suffix):
    bundle = home.bundle("logreg", max_error=0.1, **SQUEEZENET)
    path = home.exported(suffix, bundle).path
    images, run = home.prepared(bundle), run_onnx if suffix == ".onnx" else run_pt2
    whole = run(path, images)[1]
    for count in (1, 2, 5):
        assert run(path, images[:count])[1] == pytest.approx(whole[:count], abs=1e-5)


def test_a_module_of_ones_own(home, cache, tmp_path):
    backbone, bundle = home.small()
    path = export(bundle, tmp_path / "net.pt2", backbone=backbone, **cache).path
    found = run_pt2(path, home.prepared(bundle))[1]
    assert found == pytest.approx(home.predicted(bundle, backbone=backbone), abs=1e-4)
    with pytest.raises(BundleError, match="backbone="):
        export(bundle, tmp_path / "other.onnx", **cache)
    with pytest.raises(ExportError, match="your own"):
        export(bundle, tmp_path / "net.safetensors", backbone=backbone, **cache)


# Licences


def test_the_licence_of_the_weights_is_in_the_file(home):
    bundle = home.bundle("logreg", max_error=0.1, **SQUEEZENET)
    written = home.exported(".onnx", bundle)
    session = onnxruntime.InferenceSession(written.path.read_bytes(), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["weights_licence"] == "mit"
    assert not any("licence" in note or "commercial" in note for note in written.notes)


def test_a_licence_that_forbids_commercial_use_is_said(home, cache, tmp_path, monkeypatch):
    backbone, bundle = home.small()
    monkeypatch.setattr(licences, "licence_of", lambda *_: "cc-by-nc-4.0")
    written = export(bundle, tmp_path / "net.pt2", backbone=backbone, **cache)
    assert "weights under cc-by-nc-4.0: not for commercial use" in written.notes


# What differs, and why


def test_the_mean_with_the_mirror_image_is_inside(home):
    bundles = [home.bundle("logreg", mirror=True, **SQUEEZENET), home.bundle("logreg", max_error=0.1, **SQUEEZENET)]
    images = home.prepared(bundles[0])
    mirrored = np.ascontiguousarray(images[..., ::-1])
    differs = []
    for bundle in bundles:
        path = home.exported(".pt2", bundle).path
        assert run_pt2(path, images)[1] == pytest.approx(home.predicted(bundle), abs=1e-4)
        differs.append(np.abs(run_pt2(path, images)[1] - run_pt2(path, mirrored)[1]).max())
    assert differs[0] < 1e-5 < 1e-3 < differs[1]


def test_a_bundle_that_averages_over_views_says_that_the_network_sees_one(home, cache, tmp_path):
    net = load_backbone(**SQUEEZENET, views=2, batch_size=4, cache=home.cache, dtype="float32")
    rows = extract(read_manifest(home.pictures(2)), net, cache=home.cache)
    bundle = Bundle.of(fit(rows, "ridge", folds=2, average_views=True, preparation="scale"))
    written = export(bundle, tmp_path / "net.safetensors", **cache)
    assert written.notes == ("fc7 predict averages over 2 random views as well, the network sees one",)


def test_a_threshold_is_noted(home):
    (note,) = home.exported(".onnx", home.bundle("logreg", max_error=0.1, **SQUEEZENET)).notes
    assert "below the threshold in its metadata, fc7 predict says `not sure`" in note
    assert home.exported(".onnx", home.bundle("linear-svm", 3)).notes == ()


# Refusals: nothing is written


@pytest.mark.parametrize("head", ["knn", "rbf-svm", "baseline", "mlp", "hist-gb"])
def test_a_head_that_is_no_layer_is_refused_with_those_that_are(home, cache, nothing, head):
    with pytest.raises(ExportError) as caught:
        export(home.bundle(head), nothing / "net.onnx", **cache)
    assert f"The head {head} is not a layer" in str(caught.value)
    assert ", ".join((*LINEAR, "classifier")) in str(caught.value)


def test_embeddings_side_by_side_are_of_no_one_network(home, cache, nothing):
    manifest = read_manifest(home.pictures(2))
    backbones = [load_backbone(**SQUEEZENET | {"layer": layer}, batch_size=4, **cache) for layer in ("gap", "gmp")]
    bundle = Bundle.of(fit(join([extract(manifest, one, **cache) for one in backbones]), "ridge", folds=2))
    with pytest.raises(ExportError, match=r"takes 2 embeddings side by side \(squeezenet1_1: gap \+ gmp\)"):
        export(bundle, nothing / "net.onnx", **cache)


@pytest.mark.parametrize("tolerance", [0, -1, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused(home, cache, nothing, tolerance):
    with pytest.raises(UsageError, match=r"^tolerance"):
        export(home.bundle(), nothing / "net.onnx", tolerance=tolerance, **cache)


def test_a_file_that_cannot_be_written_is_an_error(home, cache, nothing):
    with pytest.raises(ExportError, match="cannot be written"):
        export(home.bundle(), nothing / "net.onnx" / "in a file.pt2", **cache)


def test_a_network_that_torch_cannot_export_is_refused(home, cache, nothing):
    class Stubborn(torch.nn.Module):
        def forward(self, images):
            means = images.mean(dim=(2, 3))
            return means if float(means.sum()) > 0 else -means

    backbone = Backbone(Stubborn(), Transform(32, 32), batch_size=4)
    bundle = Bundle.of(fit(extract(read_manifest(home.pictures(2)), backbone, cache=home.cache), "ridge", folds=2))
    with pytest.raises(ExportError, match="Stubborn output cannot be written as ONNX"):
        export(bundle, nothing / "net.onnx", backbone=backbone, **cache)


def test_a_head_that_was_tampered_with_is_an_error(home, cache, nothing):
    bundle = home.bundle("logreg")
    bundle.estimator["head"].estimator.coef_ = np.zeros((1, 3))
    with pytest.raises(ExportError, match="cannot be"):
        export(bundle, nothing / "net.onnx", **cache)
    bundle.estimator.steps = [("other", bundle.estimator["head"])]
    with pytest.raises(ExportError, match="cannot be read"):
        export(bundle, nothing / "net.onnx", **cache)


def test_other_weights_are_refused(home, cache, nothing):
    with pytest.raises(BundleError, match="with weights"):
        export(home.bundle(), nothing / "net.onnx", weights="random:1", **cache)


def test_the_file_is_what_was_checked(home, cache, tmp_path, monkeypatch):
    """The bytes that are written are those that ran."""
    seen, opened = [], formats.StateDict.open

    def watched(self, data):
        seen.append(data)
        return opened(self, data)

    monkeypatch.setattr(formats.StateDict, "open", watched)
    bundle = home.bundle("ridge", 2, "scale", dtype="float32", **SQUEEZENET)
    path = export(bundle, tmp_path / "new" / "net.safetensors", **cache).path
    assert [path.read_bytes()] == seen
