"""Layers and transforms of a few small networks are those of their libraries, or are refused: tests/zoo.py.

``make zoo`` compares many more.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fc7.errors import UsageError
from fc7.extract import load_backbone
from fc7.extract.backbones import network, onednn
from fc7.extract.backbones.architectures import architecture

timm = pytest.importorskip("timm", reason="timm is not installed (the extra fc7[timm])")
zoo = pytest.importorskip("zoo")

SERVED = {
    "squeezenet1_0": {"logits", *zoo.POOLED},
    "timm:test_resnet": {"penultimate", "logits", *zoo.POOLED},
    "timm:test_vit": {"penultimate", "logits", *zoo.TOKENS, *(f"block:-2:{layer}" for layer in zoo.TOKENS)},
    "timm:test_vit3": {"penultimate", "logits", "avg", "map", "block:-2:avg"},
}


@pytest.fixture(autouse=True)
def one_thread(cache_dir):
    """Let nothing depend on the cores of the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", SERVED)
def test_layers_and_transform_are_the_librarys(name):
    assert set(zoo.check(name)["equal"]) == SERVED[name]


def test_another_layer_or_transform_is_noticed(monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(AssertionError, match="avg differs by"):
        patch.setattr(zoo, "token_layers", lambda patches, first, name="": {f"{name}avg": patches.amax(1)})
        zoo.check("timm:test_vit3")
    with monkeypatch.context() as patch, pytest.raises(AssertionError, match="other pixels"):
        patch.setattr(zoo, "view", lambda image, wanted, key: np.zeros((wanted.transform.crop,) * 2 + (3,), np.uint8))
        zoo.check("timm:test_resnet")
    rows = np.eye(2, dtype=np.float32)
    for found, expected, message in ((rows, rows[[0, 0]], "constant"), (rows, rows * 1.001, "differs by 0.00")):
        with pytest.raises(AssertionError, match=message):
            zoo.compared({"avg": found}, {"avg": expected})


@pytest.mark.parametrize(
    ("tried", "same"), [("picture", True), ("white noise", False), ("bias", False), ("weight", False)]
)
def test_rounding_costs_no_packed_layers_and_a_fault_does(tried, same, monkeypatch):
    """Deep networks enlarge the last digits of what they were not made for, until nothing is told from a fault."""
    if tried == "white noise":
        monkeypatch.setattr(network, "_picture", lambda crop: torch.rand(1, crop, crop, 3))
    if tried in ("white noise", "picture"):
        monkeypatch.setitem(onednn.TOLERANCES, torch.float32, 1e-5)
    else:
        honest = onednn._folded

        def faulty(plain, norm):
            folded = honest(plain, norm)
            getattr(folded, tried).data[0] *= 1.1
            return folded

        monkeypatch.setattr(onednn, "_folded", faulty)
    monkeypatch.setattr(zoo, "BRANCH", 1.0)
    net, made = architecture("efficientnet_b0"), zoo.made("efficientnet_b0")
    pixels = np.stack([np.asarray(image.resize((net.crop, net.crop))) for image in zoo.photographs(2)])
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.45) / 0.22
    taps = [net.layer("penultimate")]
    cut = net.cut(taps, zoo.lively(made, images).requires_grad_(False))
    assert network.Normalised(network.Tapped(cut, taps), net.transform).pack(1) == same


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("timm:test_vit", {"gap": "layer avg is the mean", "map": "no function", "block:99": "its blocks are 0 to"}),
        ("timm:test_vit3", {"cls": "no class token; there is avg", "block:0:cls": "no class token of a block"}),
        ("timm:test_resnet", {"avg": "layer gap is its mean"}),
        ("squeezenet1_0", {"penultimate": ""}),
    ],
)
def test_other_layers_are_refused_in_a_line_that_says_what_there_is(name, absent):
    for layer, message in absent.items():
        line = rf"^{name} has no layer '{layer}'.*{message}.* Layers: .*logits"
        with pytest.raises(UsageError, match=line) as caught:
            load_backbone(name, layer, weights="random:0")
        assert "\n" not in str(caught.value)


def test_images_of_another_size_get_position_embeddings_as_timm_resamples_them(tmp_path):
    name, crop = "test_vit3", 96
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, crop, crop, 3), dtype=np.uint8)
    net, path = zoo.made(f"timm:{name}"), tmp_path / "weights.pth"
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    torch.save(net.state_dict(), path)
    layers = ["penultimate", "avg", "block:-2:avg"]
    backbone = load_backbone(f"timm:{name}", layers, weights=f"file:{path}", image_size=(crop, None), device="cpu")
    found = dict(zip(layers, backbone.forward(pixels), strict=True))
    overlay = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}
    theirs = timm.create_model(name, img_size=crop, **overlay).eval()
    assert theirs.pos_embed.shape != net.pos_embed.shape
    transform = backbone.recipes[0].transform
    images = (torch.from_numpy(pixels) / 255 - torch.tensor(transform.mean)) / torch.tensor(transform.std)
    with torch.inference_mode():
        expected = zoo.of_timm(name, theirs, images.permute(0, 3, 1, 2))
    zoo.compared(found, {layer: rows.numpy() for layer, rows in expected.items()})


DOCUMENT = Path(zoo.__file__).parents[1] / "docs" / "zoo.md"
ROW = {"parameters": 1_000_000, "dimension": 2, "equal": ["x", "y"], "refused": [], "script": zoo.VERSION}
ROW |= {"float32": 2e-7, "stored": 0.0, "loses": 3e-4}


@pytest.mark.parametrize("differs", [False, True])
def test_a_run_fails_if_its_table_lacks_a_row(differs, monkeypatch, tmp_path, capsys):
    """Rows that another version of the script has written are measured again."""

    def check(name):
        assert not (differs and name == "b"), "gap differs"
        return ROW | {"backbone": name}

    monkeypatch.setattr(zoo, "names", lambda: ["a", "b"])
    monkeypatch.setattr(zoo, "check", check)
    figures, document = tmp_path / "zoo.json", tmp_path / "zoo.md"
    figures.write_text(json.dumps({"b": ROW | {"backbone": "b", "script": "old"}}))
    document.write_text(DOCUMENT.read_text("utf-8"))
    assert zoo.main(figures, document) == differs
    assert ("they differ: `b`." in document.read_text("utf-8")) == differs
    assert ("b: AssertionError: gap differs" in capsys.readouterr().out) == differs
    assert zoo.main(figures, document, "none*") == 1


def test_the_committed_table_has_a_row_for_every_network():
    lines = DOCUMENT.read_text("utf-8").splitlines()
    assert [line.split("`")[1] for line in lines if line.startswith("| `")] == zoo.names()


def test_a_document_without_the_lines_of_the_table_is_refused():
    text = DOCUMENT.read_text("utf-8")
    new = zoo.document(text, [ROW | {"backbone": "a"}])
    assert "| `a` | 1.0 | 2 | x, y |  | 2e-07 | 0e+00 | 3e-04 |" in new
    assert new.startswith(text.partition(zoo.BEGIN)[0])
    with pytest.raises(ValueError, match="lacks the lines"):
        zoo.document("# Title\n", [ROW])
