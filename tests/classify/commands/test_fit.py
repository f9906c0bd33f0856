"""The verb fit: what is wrong is said before any extraction, and a bundle predicts."""

import csv
import io
import re
import shutil

import numpy as np
import pytest
from command_line import COLOURS, FAST, SQUEEZENET, draw_split
from fakes import noisy, one_line

from fc7.classify import Bundle

pytestmark = pytest.mark.usefixtures("shared_cache")


@pytest.mark.parametrize(
    "words",
    [["--folds", "1"], ["--folds", "0"], ["--folds", "-3"], ["--epochs", "0"], ["--epochs", "-1"],
     ["--random-state", "-1"], ["--random-state", str(2**40)]],
)  # fmt: skip
def test_numbers_that_make_no_sense_are_errors_in_one_line(fc7, clean, tmp_path, words):
    code, out, err = fc7(
        "fit", clean, "-o", tmp_path / "x.fc7", "--head", "torch-linear", *SQUEEZENET, *words, "--quiet"
    )
    assert code in (1, 2)
    assert out == ""
    assert words[1] in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (tmp_path / "x.fc7").exists()


@pytest.mark.parametrize("verb", ["fit", "compare"])
def test_an_unknown_head_is_2_before_any_extraction(fc7, data, tmp_path, forwards, verb):
    option = {"fit": "--head", "compare": "--heads"}[verb]
    words = [
        verb,
        data,
        "-o",
        tmp_path / "out",
        option,
        "logrge",
        *SQUEEZENET,
        "--cache",
        tmp_path / "cache",
        "--quiet",
    ]
    code, out, err = fc7(*words)
    assert (code, out) == (2, "")
    assert "logrge" in one_line(err)
    assert "logreg" in err
    assert forwards == [], "minutes of work before a spelling mistake is said"


def test_too_few_images_are_said_before_any_extraction(fc7, tmp_path, forwards):
    for number in range(4):
        noisy(tmp_path / "data" / "red" / f"{number}.png", COLOURS["red"], number)
    noisy(tmp_path / "data" / "blue" / "0.png", COLOURS["blue"], 0)
    words = ["fit", tmp_path / "data", "-o", tmp_path / "x.fc7", *SQUEEZENET, "--cache", tmp_path / "cache", "--quiet"]
    code, out, err = fc7(*words)
    assert (code, out) == (1, "")
    assert re.search(r"'blue' has 1 image.*1 of 'blue', 4 of 'red'", one_line(err))
    assert forwards == []


def test_fit_takes_one_layer_and_says_so_before_any_extraction(fc7, clean, tmp_path, forwards):
    words = [*SQUEEZENET, "--layer", "gap", "--layer", "logits", "--cache", tmp_path / "cache", "--quiet"]
    code, out, err = fc7("fit", clean, "-o", tmp_path / "x.fc7", *words)
    assert (code, out) == (2, "")
    assert "one layer" in one_line(err)
    assert forwards == []


def test_fit_writes_a_bundle_that_predicts(fc7, fc7_json, data, tmp_path, forwards):
    path = tmp_path / "new" / "colours.fc7"
    answer = fc7_json("fit", data, "-o", path, "--head", "centroid", *SQUEEZENET, "--quiet")
    assert answer["bundle"] == str(path)
    run = answer["run"]
    assert (run["head"], run["n"], run["backbone"], run["layer"]) == ("centroid", 8, "squeezenet1_1", "gap")
    low, high = run["interval"]
    assert 0 <= low <= run["accuracy"] <= high <= 1
    assert "random weights" in run["notes"][0]
    forwards.clear()
    picture = noisy(tmp_path / "n" / "a.png", COLOURS["red"], 77)
    (tmp_path / "n" / "bad.png").write_text("no image")
    code, out, err = fc7("predict", path, picture, tmp_path / "n" / "bad.png", "--batch-size", "4")
    assert (code, err) == (0, "")
    assert len(forwards) == 1
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["path"] for row in rows] == [str(picture), str(tmp_path / "n" / "bad.png")]
    assert list(rows[0])[:4] == ["path", "answer", "label", "probability"]
    assert rows[0]["label"] == "red"
    assert 0.5 <= float(rows[0]["probability"]) <= 1
    assert rows[0]["rejected"] == ""
    assert (rows[1]["label"], rows[1]["probability"]) == ("", "")
    assert "not an image" in rows[1]["rejected"]
    predictions = fc7_json("predict", path, picture)["predictions"]
    assert predictions[0]["probabilities"].keys() == {"red", "blue"}


def test_epoch_lines_are_on_stderr(fc7, data, tmp_path):
    words = ["--head", "torch-linear", "--epochs", "3", "--folds", "2", *SQUEEZENET]
    code, out, err = fc7("fit", data, "-o", tmp_path / "x.fc7", *words)
    assert code == 0
    lines = [line for line in err.splitlines() if line.startswith("epoch ")]
    pattern = r"epoch [123]/3 train loss \d+\.\d{4} acc [01]\.\d{3} val loss \d+\.\d{4} acc [01]\.\d{3}"
    assert len(lines) == 3
    assert all(re.fullmatch(pattern, line) for line in lines)
    assert not re.search(r"epoch \d", out)


def test_balanced_classes_from_the_command_line(fc7, fc7_json, data, tmp_path):
    words = ["--head", "ridge", "--class-weight", "balanced", "--quiet", *SQUEEZENET]
    code, out, _ = fc7("fit", data, "-o", tmp_path / "x.fc7", *words)
    assert (code, Bundle.load(tmp_path / "x.fc7").run["protocol"]["class_weight"]) == (0, "balanced")
    code, out, err = fc7("fit", data, "-o", tmp_path / "y.fc7", "--head", "knn", *words[2:])
    assert (code, out) == (2, "")
    assert "knn has no class weights" in one_line(err)
    assert "torch-linear" in err
    runs = fc7_json("compare", data, "-o", tmp_path / "runs", "--heads", FAST, *words[2:])["runs"]
    notes = {run["head"]: " ".join(run["notes"]) for run in runs}
    assert "class weights" in notes["centroid"]
    assert "class weights" not in notes["ridge"]
    assert fc7("fit", data, "-o", tmp_path / "z.fc7", *words[:2], "--class-weight", "equal", *SQUEEZENET)[0] == 2


def test_leakage_is_4_with_both_paths_unless_allowed(fc7, fc7_json, tmp_path):
    leaky = draw_split(tmp_path / "leaky", 4, 2)
    shutil.copy(leaky / "train" / "red" / "00.png", leaky / "val" / "red" / "again.png")
    words = ["fit", leaky, "-o", tmp_path / "x.fc7", "--head", "centroid", *SQUEEZENET, "--cache", tmp_path / "cache"]
    code, out, err = fc7(*words)
    assert (code, out) == (4, "")
    message = one_line(err)
    assert "train/red/00.png" in message
    assert "val/red/again.png" in message
    assert not (tmp_path / "x.fc7").exists()
    assert fc7_json(*words, code=4)["exit_code"] == 4
    code, _, err = fc7(*words, "--allow-leakage")
    assert code == 0
    assert "optimistic" in err
    assert fc7("compare", leaky, "-o", tmp_path / "runs", *words[4:])[0] in (2, 4)


def test_a_folder_without_splits_is_cross_validated(fc7_json, tmp_path):
    for place, (label, colour) in enumerate(COLOURS.items()):
        for number in range(8):
            noisy(tmp_path / "plain" / label / f"{number}.png", colour, 100 * place + number)
    words = ["fit", tmp_path / "plain", "-o", tmp_path / "x.fc7", "--head", "centroid", *SQUEEZENET]
    assert fc7_json(*words)["run"]["n"] == 16


def test_the_split_to_evaluate_on(fc7, fc7_json, data, tmp_path):
    words = ["fit", data, "-o", tmp_path / "x.fc7", "--head", "centroid", *SQUEEZENET, "--quiet"]
    assert fc7_json(*words, "--on", "val")["run"]["n"] == 8
    code, _, err = fc7(*words, "--on", "test")
    assert code == 1
    assert "'test'" in one_line(err)


def test_of_vectors_that_others_made_no_images_are_predicted(fc7, tmp_path):
    labels = np.repeat(["a", "b"], 8)
    rows = np.random.default_rng(0).normal(size=(16, 3)) + 3.0 * (labels == "a")[:, None]
    np.savez(tmp_path / "v.npz", embeddings=rows.astype(np.float32), labels=labels)
    code, out, _ = fc7("fit", tmp_path / "v.npz", "-o", tmp_path / "v.fc7", "--head", "centroid", "--quiet")
    assert code == 0
    assert "In Python: Bundle.load(FILE).predict_proba(vectors)" in out
    assert "fc7 predict" not in out
