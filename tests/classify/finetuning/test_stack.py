"""The stack on cached rows: as on pixels, with class weights, and what it needs."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import cross_val_score
from tuning import fitted_stack, tune, with_small_stack

from fc7.classify.bundles.bundle import Bundle
from fc7.classify.finetuning import inputs
from fc7.classify.finetuning.inputs import CachedRows
from fc7.classify.fitting.fit import fit
from fc7.classify.settings import Training
from fc7.errors import UsageError
from fc7.extract import extract, load_backbone, read_manifest
from fc7.extract.backbones.architectures import KNOWN


def test_the_cached_stack_and_the_pixels_agree(photos):
    """The published recipe with and without recomputing the convolutions: same order, same dropout, same losses."""
    training = Training(epochs=2, batch_size=6, learning_rate=0.002)
    from_pixels = tune(photos, "classifier", training, backbone="alexnet")
    backbone = load_backbone("alexnet", "pool5", weights="random:0", dtype="float32", device="cpu")
    _, cached = fitted_stack(extract(read_manifest(photos), backbone), training)
    assert len(from_pixels.run.curves) == len(cached.curves) == 2
    for pixels, rows in zip(from_pixels.run.curves, cached.curves, strict=True):
        for name in ("train_loss", "held_loss", "val_loss"):
            assert pixels[name] == pytest.approx(rows[name], abs=1e-3)
    np.testing.assert_allclose(from_pixels.run.probabilities.matrix(), cached.probabilities.matrix(), atol=2e-3)
    losses = [line["train_loss"] for line in cached.curves]
    assert len(set(losses)) == 2, "something was learned"


def test_a_stack_started_from_a_seed_says_so(photos, tmp_path):
    state = {k: v for k, v in KNOWN["alexnet"].initialise(0).items() if k.startswith("features.")}
    torch.save(state, tmp_path / "conv.pth")
    backbone = load_backbone("alexnet", "pool5", weights=f"file:{tmp_path / 'conv.pth'}", device="cpu")
    _, run = fitted_stack(extract(read_manifest(photos), backbone), Training(epochs=1))
    assert run.notes == ["started from a seed, not from pretrained values: classifier.1, classifier.4"]


def test_the_stack_takes_class_weights_and_records_them_by_name(table, monkeypatch):
    rows = with_small_stack(table((30, 30), val=8, spread=3.0), monkeypatch)
    plain, heavy = (fit(rows, "classifier", class_weight=kind, epochs=2) for kind in (None, {"c1": 50.0}))
    right = [fitted.estimator["head"].estimator.decision_function(rows.vectors).mean() for fitted in (plain, heavy)]
    assert right[1] > right[0] + 0.05
    assert (plain.run.protocol["class_weight"], heavy.run.protocol["class_weight"]) == (None, {"c1": 50.0})
    assert plain.run.id != heavy.run.id


def test_average_views_averages_the_views(table, monkeypatch):
    rows = table((20, 20), val=6, dtype="float32")
    rows = with_small_stack(rows, monkeypatch, views=[rows.vectors + shift for shift in (1.0, -2.0)])
    plain, averaged = (fit(rows, "classifier", average_views=asked, epochs=3) for asked in (False, True))
    evaluated = np.flatnonzero(rows.split == "val")
    views = (rows.vectors, *rows.views)
    for fitted, used in (plain, views[:1]), (averaged, views):
        right = np.mean([plain.estimator.predict_proba(view[evaluated]) for view in used], axis=0)
        order = [fitted.run.predictions["path"].index(path) for path in rows.paths[evaluated]]
        np.testing.assert_allclose(fitted.run.probabilities.matrix()[order], right, atol=2e-6)
    assert [fitted.run.protocol["average_views"] for fitted in (plain, averaged)] == [False, True]
    assert averaged.run.protocol["views"] == 2
    assert [Bundle.of(fitted).views for fitted in (plain, averaged)] == [0, 2]


def test_without_a_split_the_kept_stack_is_fitted_on_all_images(table, monkeypatch, tmp_path):
    rows = with_small_stack(table((20, 16), spread=3.0), monkeypatch)
    fitted = fit(rows, "classifier", epochs=4)
    assert any(note.startswith("refitted on all 36 images: ") for note in fitted.run.notes)
    temperatures = [fold["temperature"] for fold in fitted.run.folds]
    assert fitted.estimator["head"].temperature not in temperatures
    again = Bundle.load(Bundle.of(fitted, max_error=0.3).save(tmp_path / "a.fc7"))
    np.testing.assert_allclose(again.predict_proba(rows.vectors), fitted.estimator.predict_proba(rows.vectors))


def test_its_out_of_fold_predictions_are_those_of_the_folds(table, monkeypatch):
    rows = with_small_stack(table((20, 16), spread=3.0), monkeypatch)
    fitted = fit(rows, "classifier", epochs=4)
    # The folds' own temperatures aside, what the record evaluates is what abstention is measured on.
    assert fitted.abstention.right.sum() == fitted.run.metrics["correct"]
    assert len(fitted.abstention.right) == 36
    assert (fitted.abstention.distance > 0).all()


def test_with_a_split_they_are_those_of_the_part_that_was_held_out(table, monkeypatch):
    rows = with_small_stack(table((30, 26), val=6, spread=3.0), monkeypatch)
    fitted = fit(rows, "classifier", epochs=4)
    (fold,) = fitted.run.folds
    assert len(fitted.abstention.right) == fold["held_out"]
    assert fitted.abstention.right.mean() == pytest.approx(fold["accuracy"])
    assert len(fitted.abstention.reference) == fold["fitted"] + fold["held_out"]
    assert np.isfinite(fitted.abstention.distance).all()
    threshold = Bundle.of(fitted, max_error=0.5).threshold
    assert threshold.images == fold["held_out"]


def test_another_preparation_is_not_passed_off_as_done(table, monkeypatch):
    rows = with_small_stack(table((20, 20), val=5), monkeypatch)
    runs = [fit(rows, "classifier", epochs=1, preparation=kind).run for kind in ("unit", "scale")]
    assert [run.protocol["preparation"] for run in runs] == [None, None]
    assert "fitted without preparation scale: it takes rows as they are" in runs[1].notes


def test_scikit_learn_cannot_score_it_on_rows_that_it_was_trained_on(table, monkeypatch):
    rows = with_small_stack(table((20, 20), val=5), monkeypatch)
    estimator = fit(rows, "classifier", epochs=1).estimator
    with pytest.raises(ValueError, match="cross-validate it with"):
        cross_val_score(estimator, rows.vectors, rows.y, cv=3)


def test_the_stack_needs_pool5(photos):
    table = extract(read_manifest(photos), load_backbone("squeezenet1_1", weights="random:0"))
    with pytest.raises(UsageError, match=": layer pool5"):
        fit(table, "classifier")


@pytest.mark.parametrize("room", [float("inf"), 0.0])
def test_rows_that_a_device_keeps_are_the_same(room, monkeypatch):
    """In the device's memory as they are stored, or sent for each step where they do not fit."""
    monkeypatch.setattr(inputs, "free_memory", lambda device: room)
    views = [np.random.default_rng(view).standard_normal((9, 4)).astype(np.float16) for view in range(3)]
    groups = [np.array([5, 0, 3]), np.array([8])]
    here, there = (CachedRows(views, 1, device) for device in (None, torch.device("cpu")))
    for epoch in (None, 0, 1):
        pairs = zip(here.batches(groups, epoch), there.batches(groups, epoch), strict=True)
        assert all(torch.equal(one, other) and other.dtype == torch.float32 for one, other in pairs)
    assert (there._there is None) == (not room)
