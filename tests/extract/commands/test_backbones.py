"""The verb backbones: what can run here."""

import pytest

pytestmark = pytest.mark.usefixtures("shared_cache")


def test_backbones(fc7, fc7_json):
    found = fc7_json("backbones")["backbones"]
    assert [one["backbone"] for one in found] == ["alexnet", "vgg16", "squeezenet1_1"]
    assert found[0]["layers"] == ["pool5", "fc6", "fc7", "gap", "gmp", "gap+gmp", "logits"]
    assert found[0]["here"] is False
    code, out, err = fc7("backbones")
    assert (code, err) == (0, "")
    assert "pool5 fc6 fc7 gap gmp gap+gmp logits" in out


@pytest.mark.timeout(30)
def test_all_of_torchvisions_backbones_are_listed(fc7_json):
    found = fc7_json("backbones", "--all")["backbones"]
    assert len(found) > 50
    assert {"alexnet", "resnet50", "vit_b_16", "squeezenet1_0"} <= {one["backbone"] for one in found}
    assert all(one["file"].endswith((".pth", ".pt")) for one in found)
