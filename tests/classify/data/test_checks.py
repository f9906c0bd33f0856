"""What is said of labels and groups before anything is fitted."""

import numpy as np

from fc7.classify.data.checks import say_missing


def test_what_programs_write_for_nothing_is_pointed_out(caplog):
    say_missing(["none", "a", "nan"], ["", "nan", "NaN", "nan"])
    assert [record.getMessage() for record in caplog.records] == [
        "fc7: 1 image is of the class nan. If that stands for none, leave the cell empty.",
        "fc7: 2 images are of the group nan. If that stands for none, leave the cell empty.",
        "fc7: 1 image is of the group NaN. If that stands for none, leave the cell empty.",
    ]
    caplog.clear()
    say_missing(["none", "nanny"], ["", ""])
    assert not caplog.records, "a class may be called none"


def test_a_verb_says_it(fc7, tmp_path):
    labels = np.repeat(["a", "b"], 8)
    rows = np.random.default_rng(0).normal(size=(16, 3)) + 3.0 * (labels == "a")[:, None]
    groups = np.array([str(np.nan) if row % 4 == 0 else f"g{row}" for row in range(16)])
    np.savez(tmp_path / "v.npz", embeddings=rows.astype(np.float32), labels=labels, group=groups)
    code, _, err = fc7("compare", tmp_path / "v.npz", "-o", tmp_path / "runs", "--heads", "centroid")
    assert code == 0
    assert "4 images are of the group nan" in err
