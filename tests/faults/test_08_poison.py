"""Fault test 8: parameter files and bundles that would run code, or fill the memory, when they are read. None does."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import zipfile

import joblib
import numpy as np
import pytest
import skops.io
import torch
from bundles import members, sealed
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from fc7.cache import Embeddings, Recipe
from fc7.cache.index import Index
from fc7.cache.recipe import Transform
from fc7.classify import Bundle, fit
from fc7.errors import FC7Error
from fc7.extract import load_backbone
from fc7.extract.backbones.architectures import KNOWN, Architecture, Layer, entry_of
from fc7.extract.weights.sources import find_weights


class Call:
    """Unpickled, it leaves a marker."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


class Build:
    """The same by way of the instructions that object construction has."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return eval, (f"__import__('os').mkdir({self.marker!r})",)


def oldest(marker):
    """Return the same in pickle's first protocol, without torch's or joblib's wrapping."""
    return b"cos\nmkdir\n(S'" + os.fsencode(marker) + b"'\ntR."


def torch_file(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def joblib_file(value):
    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    return buffer.getvalue()


def array_file(value):
    buffer = io.BytesIO()
    np.save(buffer, np.array([value], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def payloads(marker):
    """Return files that run code when the usual function reads them, by what they are."""
    found = {}
    for name, evil in (("call", Call(marker)), ("eval", Build(marker))):
        found |= {
            f"torch file, {name}": torch_file(evil),
            f"torch file, {name} in a state dict": torch_file({"a": torch.zeros(2), "b": evil}),
            f"torch file, {name}, old format": torch_file(evil, _use_new_zipfile_serialization=False),
            f"pickle, {name}": pickle.dumps(evil),
            f"pickle, {name}, in a dict": pickle.dumps({"state_dict": evil}, protocol=2),
            f"joblib, {name}": joblib_file({"head": evil}),
            f"object array, {name}": array_file(evil),
        }
    return found | {"pickle, first protocol": oldest(marker)}


def readers(data):
    """Read a payload as a careless program would, until one of the ways works."""
    for read in (
        lambda: torch.load(io.BytesIO(data), weights_only=False),
        lambda: pickle.loads(data),
        lambda: joblib.load(io.BytesIO(data)),
        lambda: np.load(io.BytesIO(data), allow_pickle=True),
    ):
        try:
            read()
        except Exception:
            continue


def attempt(read, marker, name):
    """Return the error that a file is refused with, after checking that it says which and that nothing ran."""
    with pytest.raises(FC7Error) as caught:
        read()
    message = str(caught.value)
    assert not marker.exists(), f"{name} was executed"
    assert message
    assert "\n" not in message, name
    return message


def test_twin_the_payloads_work(tmp_path):
    for number, (name, data) in enumerate(payloads(tmp_path / "marker").items()):
        readers(data)
        assert (tmp_path / "marker").exists(), name
        (tmp_path / "marker").rename(tmp_path / f"marker {number}")


@pytest.mark.timeout(300)
def test_poisoned_weights_are_refused_and_nothing_runs(tmp_path, monkeypatch, figure):
    """In torchvision's own folder under its own names, in files whose digits fit, and in files of the user's."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    marker, attacks = tmp_path / "marker", 0
    index = Index(tmp_path)
    for name, data in payloads(marker).items():
        for network in ("alexnet", "vgg16", "squeezenet1_1"):
            path = folder / KNOWN[network].default.file
            path.write_bytes(data)
            message = attempt(lambda network=network: load_backbone(network).load(), marker, name)
            assert str(path) in message
            assert "file:" in message, "the way on"
            attacks += 1
        digits = hashlib.sha256(data).hexdigest()[:8]
        entry = entry_of(f"alexnet-owt-{digits}.pth", 1.0, 1.0, Transform())
        net = Architecture("alexnet", {"x": Layer("flatten", 1)}, "x", {"x": entry})
        (folder / net.default.file).write_bytes(data)
        weights = find_weights("torchvision", net)
        assert "not a state dict" in attempt(lambda w=weights: w.state_dict(w.sha256(index)), marker, name)
        attacks += 1
        for suffix in ("pth", "pt", "safetensors"):
            path = tmp_path / f"mine.{suffix}"
            path.write_bytes(data)
            message = attempt(lambda p=path: load_backbone("alexnet", weights=f"file:{p}").load(), marker, name)
            assert path.name in message
            attacks += 1
    figure("Poisoned weights", f"{attacks} files that run code when torch or pickle reads them", "0 ran, all refused")


# Bundles


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    generator = np.random.default_rng(0)
    labels = np.repeat(["ant", "bee"], 10)
    embeddings = Embeddings(
        vectors=(generator.standard_normal((20, 4)) + (labels == "ant")[:, None]).astype(np.float16),
        labels=labels,
        paths=np.array([f"{number}.png" for number in range(20)]),
        split=np.full(20, ""),
        group=np.full(20, ""),
        sha256=generator.integers(0, 256, (20, 32), dtype=np.uint8),
        classes=("ant", "bee"),
        recipe=Recipe("fake", "tiles", 4, "f" * 64),
        weights_source="fake",
    )
    return Bundle.of(fit(embeddings, "centroid", folds=2)).save(tmp_path_factory.mktemp("bundle") / "good.fc7")


def packed(parts):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def with_head(parts, head, **changes):
    """Put another head into a bundle and its true sha256 beside it, as an attacker would."""
    about = json.loads(parts["bundle.json"])
    return packed(sealed(parts | {"bundle.json": json.dumps(about | changes).encode(), "head.skops": head}))


def head_with_arrays(head, array):
    with zipfile.ZipFile(io.BytesIO(head)) as archive:
        names = archive.namelist()
        assert any(name.endswith(".npy") for name in names)
        return packed({name: array if name.endswith(".npy") else archive.read(name) for name in names})


def zeros(megabytes):
    """Return a skops-like archive of a thousandth of its unpacked size."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("schema.json", "w", force_zip64=True) as member,
    ):
        for _ in range(megabytes):
            member.write(bytes(2**20))
    return buffer.getvalue()


def lying(data):
    """Let every member of an archive declare 100 bytes, whatever it holds."""
    changed = bytearray(data)
    for signature, place in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        start = changed.find(signature)
        while start >= 0:
            changed[start + place : start + place + 4] = (100).to_bytes(4, "little")
            start = changed.find(signature, start + 4)
    return bytes(changed)


def hostile_bundles(path, marker):
    parts = members(path)
    head, about = parts["head.skops"], json.loads(parts["bundle.json"])
    other = about["versions"] | {"scikit-learn": "0.24.2"}
    elsewhere = {name: data for name, data in parts.items() if name != "bundle.json"}
    found = {f"{name} as a bundle": data for name, data in payloads(marker).items()}
    for name, data in payloads(marker).items():
        found[f"{name} as the head"] = with_head(parts, data)
        found[f"{name} as an array in the head"] = with_head(parts, head_with_arrays(head, data))
        found[f"{name} as the description"] = packed(sealed(parts | {"bundle.json": data}))
        found[f"{name} as the abstention"] = packed(sealed(parts | {"abstention.safetensors": data}))
        found[f"{name} as the sums"] = packed(parts | {"sha256.json": data})
        found[f"{name} as one more member"] = packed(parts | {"more.pkl": data})
    for name in ("posix.system", "builtins.eval", "os.mkdir", "subprocess.run"):
        found[f"a head that calls {name}"] = with_head(parts, calling(name))
    return found | {
        "a path upwards": packed(elsewhere | {"../../bundle.json": parts["bundle.json"]}),
        "an absolute path": packed(elsewhere | {"/tmp/bundle.json": parts["bundle.json"]}),
        "a bomb as the head": with_head(parts, zeros(1100)),
        "a bomb as the description": packed(sealed(parts | {"bundle.json": b" " * 2**26 + b"{"})),
        "a bomb that lies about it": lying(packed(parts)),
        "another head than the recorded": packed(parts | {"head.skops": head + b"x"}),
        "another scikit-learn": with_head(parts, head, versions=other),
        "another format": with_head(parts, head, format=99),
    }


def calling(name):
    functions = {
        "posix.system": os.system,
        "builtins.eval": eval,
        "os.mkdir": os.mkdir,
        "subprocess.run": subprocess.run,
    }
    return skops.io.dumps(Pipeline([("prepare", FunctionTransformer(functions[name]))]))


@pytest.mark.timeout(300)
def test_hostile_bundles_are_refused_and_nothing_runs(good, tmp_path, figure):
    marker, path = tmp_path / "marker", tmp_path / "x.fc7"
    bundles = hostile_bundles(good, marker)
    for name, data in bundles.items():
        path.write_bytes(data)
        message = attempt(lambda: Bundle.load(path), marker, name)
        assert path.name in message, name
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["x.fc7"], "nothing was unpacked"
    assert Bundle.load(good).classes == ("ant", "bee"), "the twin: unchanged it is read"
    figure("Hostile bundles", f"{len(bundles)} files: pickles, calls, bombs, other versions", "0 ran, all refused")


def test_another_scikit_learn_is_named_with_the_way_on(good, tmp_path):
    parts = members(good)
    versions = json.loads(parts["bundle.json"])["versions"] | {"scikit-learn": "0.24.2"}
    (tmp_path / "x.fc7").write_bytes(with_head(parts, parts["head.skops"], versions=versions))
    message = attempt(lambda: Bundle.load(tmp_path / "x.fc7"), tmp_path / "marker", "version")
    assert "scikit-learn 0.24.2" in message
    assert "pip install" in message
