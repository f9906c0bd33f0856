"""Outcome: what a record is built from."""

import numpy as np

from fc7.classify import Bundle, Run, fit


def test_a_seed_and_weights_of_numpy_can_be_written(table, tmp_path):
    weights = {"c0": np.float32(2), "c1": np.int64(1)}
    fitted = fit(table(val=5), "ridge", folds=2, random_state=np.int64(3), class_weight=weights)
    done = Run.load(fitted.run.save(tmp_path)).protocol
    assert (done["random_state"], done["class_weight"]) == (3, {"c0": 2.0, "c1": 1})
    path = Bundle.of(fitted).save(tmp_path / "x.fc7")
    assert Bundle.load(path).run["protocol"] == done
