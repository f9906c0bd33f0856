"""The stack on cached rows: as on pixels, with class weights, and what it needs."""

import numpy as np
import pytest
import torch
from tuning import fitted_stack, tune

from fc7.classify.finetuning.training_loop import Training
from fc7.classify.fitting.fit import fit
from fc7.errors import UsageError
from fc7.extract import extract, load_backbone, read_manifest
from fc7.extract.backbones.architectures import KNOWN


def test_the_cached_stack_and_the_pixels_agree(photos):
    """The published recipe with and without recomputing the convolutions: same order, same dropout, same losses."""
    training = Training(epochs=3, batch_size=6, learning_rate=0.002)
    from_pixels = tune(photos, "classifier", training, backbone="alexnet")
    backbone = load_backbone("alexnet", "pool5", weights="random:0", dtype="float32", device="cpu")
    _, cached = fitted_stack(extract(read_manifest(photos), backbone), training)
    assert len(from_pixels.run.curves) == len(cached.curves) == 3
    for pixels, rows in zip(from_pixels.run.curves, cached.curves, strict=True):
        for name in ("train_loss", "held_loss", "val_loss"):
            assert pixels[name] == pytest.approx(rows[name], abs=1e-3)
    np.testing.assert_allclose(from_pixels.run.probabilities.matrix(), cached.probabilities.matrix(), atol=2e-3)
    losses = [line["train_loss"] for line in cached.curves]
    assert len(set(losses)) == 3, "something was learned"


def test_a_stack_started_from_a_seed_says_so(photos, tmp_path):
    state = {k: v for k, v in KNOWN["alexnet"].initialise(0).items() if k.startswith("features.")}
    torch.save(state, tmp_path / "conv.pth")
    backbone = load_backbone("alexnet", "pool5", weights=f"file:{tmp_path / 'conv.pth'}", device="cpu")
    _, run = fitted_stack(extract(read_manifest(photos), backbone), Training(epochs=1))
    assert run.notes == ["started from a seed, not from pretrained values: classifier.1, classifier.4"]


def test_the_stack_takes_class_weights(photos):
    backbone = load_backbone("alexnet", "pool5", weights="random:0", device="cpu")
    table, training = extract(read_manifest(photos), backbone), Training(epochs=2, batch_size=6, learning_rate=0.02)
    (plain, _), (heavy, _) = (fitted_stack(table, training, kind) for kind in (None, {"light": 50.0}))
    light = [pipeline["head"].estimator.decision_function(table.vectors).mean() for pipeline in (plain, heavy)]
    assert light[1] > light[0] + 0.05


def test_class_weights_of_the_stack_are_in_its_record(photos):
    backbone = load_backbone("alexnet", "pool5", weights="random:0", device="cpu")
    table = extract(read_manifest(photos), backbone)
    plain, heavy = (fit(table, "classifier", class_weight=kind, epochs=1).run for kind in (None, {"light": 50.0}))
    assert (plain.protocol["class_weight"], heavy.protocol["class_weight"]) == (None, {"light": 50.0})
    assert plain.id != heavy.id


def test_the_stack_needs_pool5(photos):
    table = extract(read_manifest(photos), load_backbone("squeezenet1_1", weights="random:0"))
    with pytest.raises(UsageError, match="--layer pool5"):
        fitted_stack(table, Training())
