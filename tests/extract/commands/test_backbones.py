"""The verb backbones: what can run here."""

import pytest

pytestmark = pytest.mark.usefixtures("shared_cache")


def test_backbones(fc7, fc7_json):
    backbones = fc7_json("backbones")["backbones"]
    assert [backbone["backbone"] for backbone in backbones] == ["alexnet", "vgg16", "squeezenet1_1"]
    assert backbones[0]["layers"] == ["pool5", "fc6", "fc7", "gap", "gmp", "gap+gmp", "logits"]
    assert backbones[0]["here"] is False
    assert backbones[1]["entries"] == ["IMAGENET1K_V1", "IMAGENET1K_FEATURES"]
    code, out, err = fc7("backbones")
    assert (code, err) == (0, "")
    assert "pool5 fc6 fc7 gap gmp gap+gmp logits" in out
    assert "IMAGENET1K_V1 IMAGENET1K_FEATURES" in out


@pytest.mark.timeout(30)
def test_all_of_torchvisions_backbones_are_listed(fc7_json):
    backbones = fc7_json("backbones", "--all")["backbones"]
    assert len(backbones) > 50
    assert {"alexnet", "resnet50", "vit_b_16", "squeezenet1_0"} <= {backbone["backbone"] for backbone in backbones}
    entries = {backbone["backbone"]: backbone["entries"] for backbone in backbones}
    assert entries["resnet50"] == ["IMAGENET1K_V2", "IMAGENET1K_V1"], "the default first"
    assert all(backbone["file"].endswith((".pth", ".pt")) for backbone in backbones)
