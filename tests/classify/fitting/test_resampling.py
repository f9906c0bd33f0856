"""Random splits and few-shot curves of every head: kept in records, the same for all, computed once."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fc7.classify import compare, fit, load_runs
from fc7.classify.commands.stability_tables import stability, stability_lines
from fc7.classify.data.resampling import few_images, random_split
from fc7.classify.fitting import resampling
from fc7.classify.fitting.fit import Experiment
from fc7.classify.fitting.search import FoldSearch
from fc7.classify.records.ranking import choose
from fc7.classify.records.stability import few_shot_curve, over_splits
from fc7.classify.settings import FitSettings
from fc7.errors import Interrupted, UsageError

HEADS = ["logreg", "ridge", "centroid"]


@pytest.fixture
def fits(monkeypatch):
    """Count the searches that are made."""
    made = []
    search = FoldSearch.search
    monkeypatch.setattr(FoldSearch, "search", lambda *args, **rest: made.append(1) or search(*args, **rest))
    return made


def test_every_head_has_the_same_splits_and_their_figures_are_those_of_fits(table, tmp_path):
    """The oracle: the split is written into the data, and fitted as any other."""
    embeddings = table((30, 30), val=8, spread=4.0)
    runs = compare(embeddings, HEADS, folder=tmp_path, repeat=3, folds=3, learning_curve=False)
    experiment = Experiment(embeddings, FitSettings(folds=3))
    for number in range(3):
        fitted, predicted = random_split(experiment.embeddings, experiment.protocol, number)
        split = np.full(60, "", "<U5")
        split[fitted], split[predicted] = "train", "val"
        for run in runs:
            other = fit(replace(experiment.embeddings, split=split), run.head, folds=3).run
            (found,) = [entry for entry in run.repeats if entry["split"] == number]
            assert (found["fitted"], found["evaluated"]) == (44, 16)
            assert found["correct"] == other.metrics["correct"]
            assert found["log_loss"] == pytest.approx(other.selection["log_loss"])
    assert [run.id for run in load_runs(tmp_path)] != []
    assert {run.id: run.repeats for run in load_runs(tmp_path)} == {run.id: run.repeats for run in runs}


@pytest.mark.parametrize("options", [{"val": 8}, {}], ids=["split", "folds"])
def test_a_second_run_computes_nothing_and_a_larger_one_what_is_new(table, tmp_path, fits, options):
    embeddings = table((24, 24), spread=3.0, **options)
    asked = {"folder": tmp_path, "folds": 3, "learning_curve": False}
    plain = compare(embeddings, HEADS, **asked)
    before = len(fits)
    whole = compare(embeddings, HEADS, repeat=2, few_shot=[3], **asked)
    pairs = 1 if options else 3
    assert len(fits) == before + 4 * (2 + 10 * pairs)
    fits.clear()
    again = compare(embeddings, HEADS, repeat=2, few_shot=[3], **asked)
    assert not fits
    assert stability(again) == stability(whole)
    assert stability_lines(again) == stability_lines(whole)
    compare(embeddings, HEADS, repeat=3, few_shot=[2, 3], **asked)
    assert len(fits) == 4 * (1 + 10 * pairs)
    assert [run.id for run in again] == [run.id for run in plain]
    assert [run.metrics for run in again] == [run.metrics for run in plain]
    assert "repeats" not in plain[0].to_dict()
    assert "few_shot" not in plain[0].to_dict()


def test_what_was_computed_before_an_interrupt_is_kept(table, tmp_path, fits, monkeypatch):
    embeddings = table((24, 24), val=6)
    asked = {"folder": tmp_path, "folds": 3, "learning_curve": False, "repeat": 4}
    measure, made = resampling._measure, []

    def interrupted(*args):
        made.append(1)
        if len(made) > 6:
            raise KeyboardInterrupt
        return measure(*args)

    monkeypatch.setattr(resampling, "_measure", interrupted)
    with pytest.raises(Interrupted, match="The same command goes on from there"):
        compare(embeddings, HEADS, **asked)
    assert sum(len(run.repeats) for run in load_runs(tmp_path)) == 6
    monkeypatch.setattr(resampling, "_measure", measure)
    fits.clear()
    compare(embeddings, HEADS, **asked)
    assert len(fits) == 4 * 4 - 6


def test_a_few_images_are_chosen_in_and_fitted_on_alone(table):
    """The oracle: the images that are not drawn are taken out of the data."""
    embeddings = table((30, 30), val=8, spread=4.0)
    (run, *_) = compare(embeddings, ["ridge"], few_shot=[4], folds=3, learning_curve=False)
    experiment = Experiment(embeddings, FitSettings(folds=3))
    fitted, predicted = experiment.protocol.pairs[0]
    for number in (0, 9):
        drawn = few_images(experiment.embeddings, fitted, 4, [0, 4, number, 0])
        alone = experiment.embeddings[np.sort(np.concatenate([drawn, predicted]))]
        (point,) = [point for point in run.few_shot if point["draw"] == number]
        assert point["accuracy"] == fit(alone, "ridge", folds=3).run.metrics["accuracy"]


def test_the_verdict_over_splits(table):
    runs = compare(table((40, 40), val=10, spread=4.0), HEADS, repeat=4, folds=2, learning_curve=False)
    chosen = choose(runs)
    splits = over_splits(runs, chosen)
    assert [row.id for row in splits.rows[:2]] == ["", chosen.id]
    assert sum(row.first for row in splits.rows[1:]) == 4
    accuracy = {run.id: np.array([split["correct"] / split["evaluated"] for split in run.repeats]) for run in runs}
    for row in splits.rows[1:]:
        assert row.accuracy.mean == pytest.approx(accuracy[row.id].mean())
        assert 0 <= row.accuracy.low <= row.accuracy.mean <= row.accuracy.high <= 1
        if row.difference:
            assert row.difference.mean == pytest.approx((accuracy[chosen.id] - accuracy[row.id]).mean())
    anew = [max(runs, key=lambda run, at=at: (run.head != "baseline", -run.repeats[at]["log_loss"])) for at in range(4)]
    assert splits.rows[0].accuracy.mean == pytest.approx(np.mean([accuracy[run.id][at] for at, run in enumerate(anew)]))
    text = "\n".join(stability_lines(runs))
    assert "Over 4 random splits of the same images (60 fitted and 20 evaluated in each" in text
    assert "Nadeau and Bengio 2003" in text
    json.dumps(stability(runs), allow_nan=False)


def test_the_usual_numbers_end_with_the_smallest_class(table):
    runs = compare(table((12, 20), val=4), ["centroid"], few_shot=[], learning_curve=False)
    curve = few_shot_curve(runs[0])
    assert [point["per_class"] for point in curve] == [2, 5, 8]
    assert all(point["low"] <= point["accuracy"] + 1e-9 and point["repeats"] == 10 for point in curve)


@pytest.mark.parametrize("sizes", [[1], [3, 99]])
def test_numbers_that_cannot_be_drawn_are_refused_before_anything_is_fitted(table, fits, sizes):
    with pytest.raises(UsageError, match=r"few_shot \d+: from 2, .* to 8, of which"):
        compare(table((12, 20), val=4), ["centroid"], few_shot=sizes, learning_curve=False)
    assert not fits


def test_one_split_is_refused_before_anything_is_fitted(table, fits):
    with pytest.raises(UsageError, match="repeat 1: an interval needs two splits"):
        compare(table((12, 20), val=4), ["centroid"], repeat=1)
    assert not fits


def test_a_head_that_cannot_be_fitted_lacks_its_points_and_the_others_have_theirs(table, caplog):
    runs = compare(table((12, 12), val=4), ["lda", "centroid"], few_shot=[2], repeat=2, learning_curve=False)
    points = {run.head: len(run.few_shot) for run in runs}
    assert points == {"lda": 0, "centroid": 10, "baseline": 10}
    assert len([record for record in caplog.records if "lda is left out on 2 images" in record.message]) == 1


def test_groups_stay_together_in_splits_and_draws(table):
    names = [f"{code}-{place // 3}" for code in (0, 1) for place in range(30)]
    runs = compare(table((30, 30), group=names), ["centroid"], repeat=2, few_shot=[6], folds=2, learning_curve=False)
    assert all(len(run.repeats) == 2 and len(run.few_shot) == 10 for run in runs)
    assert all(split["fitted"] % 3 == 0 for run in runs for split in run.repeats)
