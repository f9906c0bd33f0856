"""The verb compare: a table with intervals, and records that are not computed again."""

import re

import pytest
from command_line import FAST, SQUEEZENET, draw_split

pytestmark = pytest.mark.usefixtures("shared_cache")


def test_compare_prints_a_table_with_n_intervals_and_the_baseline(fc7, data, tmp_path):
    code, out, _ = fc7("compare", data, "-o", tmp_path / "runs", "--heads", FAST, *SQUEEZENET, "--quiet")
    assert code == 0
    rows = {name: next(line for line in out.splitlines() if re.search(rf"\b{name}\b.*\d", line) and "gap" in line)
            for name in ("ridge", "centroid", "baseline")}  # fmt: skip
    for line in rows.values():
        assert re.search(r"[01]\.\d{3} +[01]\.\d{3}-[01]\.\d{3} +8 ", line), line
    assert "0.500" in rows["baseline"]
    assert "val" in out.splitlines()[0]
    assert len(list((tmp_path / "runs").glob("*.json"))) == 3


def test_compare_json_and_the_second_time_nothing_is_fitted(fc7_json, data, tmp_path, monkeypatch):
    words = ["compare", data, "-o", tmp_path / "runs", "--heads", FAST, *SQUEEZENET, "--quiet"]
    answer = fc7_json(*words)
    assert {run["head"] for run in answer["runs"]} == {"ridge", "centroid", "baseline"}
    for run in answer["runs"]:
        assert {"accuracy", "n", "interval", "log_loss", "seconds_fit", "hyperparameters"} <= run.keys()
    assert len(answer["pairs"]) == 3
    assert answer["best"] == answer["runs"][0]["id"]
    from fc7.classify.fitting.fit import Experiment

    monkeypatch.setattr(Experiment, "fit", lambda *given, **options: pytest.fail("fitted again"))
    assert fc7_json(*words) == answer


def test_a_head_that_cannot_be_fitted_is_said_with_its_reason(fc7, fc7_json, tmp_path):
    words = [
        "compare",
        draw_split(tmp_path / "few", 2, 2),
        "-o",
        tmp_path / "runs",
        "--heads",
        "ridge,lda",
        *SQUEEZENET,
    ]
    code, out, _ = fc7(*words)
    assert code == 0
    assert "squeezenet1_1 gap lda could not be fitted: Lda() cannot be fitted on 2 images: " in out
    answer = fc7_json(*words)
    assert {run["head"] for run in answer["runs"]} == {"ridge", "baseline"}
    assert [(one["head"], one["name"]) for one in answer["failed"]] == [("lda", "squeezenet1_1 gap lda")]
    assert "no class has two rows that differ" in answer["failed"][0]["reason"]
