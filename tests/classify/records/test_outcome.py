"""What a record is built from."""

import numpy as np
import pytest

from fc7.classify import Bundle, Run, fit
from fc7.classify.evaluation.effective_size import effective_size, fold_inflation


def test_a_seed_and_weights_of_numpy_can_be_written(table, tmp_path):
    weights = {"c0": np.float32(2), "c1": np.int64(1)}
    fitted = fit(table(val=5), "ridge", folds=2, random_state=np.int64(3), class_weight=weights)
    done = Run.load(fitted.run.save(tmp_path)).protocol
    assert (done["random_state"], done["class_weight"]) == (3, {"c0": 2.0, "c1": 1})
    path = Bundle.of(fitted).save(tmp_path / "x.fc7")
    assert Bundle.load(path).run["protocol"] == done


def test_groups_and_copies_are_what_a_record_counts(table, tmp_path):
    group = [f"animal {place // 3}" for place in range(60)]
    fitted = fit(table((30, 30), group=group, spread=4.0), "centroid", folds=2)
    run = Run.load(fitted.run.save(tmp_path))
    assert (run.metrics["n"], run.metrics["groups"]) == (60, 20)
    assert run.count == "60 images in 20 groups"
    assert sorted(set(run.predictions["group"])) == list(range(20))
    assert run.metrics["effective"] == effective_size(run.right, run.groups, 2)
    alone = fit(table((30, 30), spread=4.0), "centroid", folds=2).run
    assert (alone.metrics["groups"], alone.in_groups, alone.groups) == (60, "", None)
    copies = fit(table((30, 30), keys=[place // 2 for place in range(60)]), "centroid", folds=2).run
    assert copies.metrics["groups"] == 30


def test_a_record_says_in_which_fold_an_image_was_predicted(table):
    run = fit(table((30, 30)), "centroid", cross_validate=3).run
    assert np.bincount(run.predictions["fold"])[1:].tolist() == [fold["evaluated"] for fold in run.folds]
    assert run.metrics["effective"] == pytest.approx(60 / fold_inflation(3))
    split = fit(table((30, 30), val=5), "centroid").run
    assert "fold" not in split.predictions
    assert split.metrics["effective"] == split.metrics["n"] == 10
