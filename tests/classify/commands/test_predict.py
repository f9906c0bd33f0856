"""fc7 predict on the command line: lists on standard input, columns, thresholds and what is said of them."""

import csv
import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from fakes import noisy, one_line
from PIL import Image

from fc7.classify.bundles.prediction import COLUMNS
from fc7.cli import main

COLOURS = {"blue": (20, 20, 220), "red": (220, 20, 20)}
PROMISE = ["--max-error", "0.1", "--confidence", "0.5"]  # from ten images
BACKBONE = ["--backbone", "squeezenet1_1", "--layer", "gap", "--weights", "random:0", "--batch-size", "4"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Pictures, a cache, and a bundle with a threshold."""
    root = tmp_path_factory.mktemp("cli-predict")
    for label, colour in COLOURS.items():
        for number in range(8):
            split = "train" if number < 5 else "val"
            noisy(root / "data" / split / label / f"{number}.png", colour, number)
    made = ["fit", root / "data", "-o", root / "a.fc7", "--head", "ridge", *PROMISE, *BACKBONE]
    assert main([str(word) for word in [*made, "--cache", root / "cache", "--quiet"]]) == 0
    return root


@pytest.fixture
def predicted(home, fc7):
    """Run predict on the bundle: rows of the csv, stderr."""

    def run(*words, bundle="a.fc7", code=0):
        exit_code, out, err = fc7("predict", home / bundle, *words, "--cache", home / "cache", "--batch-size", "4")
        assert exit_code == code, err
        return list(csv.DictReader(io.StringIO(out))), err

    return run


@pytest.fixture
def stdin(monkeypatch):
    """Put bytes on standard input."""
    return lambda data: monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_list_on_standard_input(home):
    folder = home / "data" / "val" / "red"
    odd = noisy(folder.parent / os.fsdecode("café".encode() + b" \xff.png"), COLOURS["red"], 3)
    names = [os.fsencode(path) for path in (folder / "5.png", odd, folder / "6.png")]
    command = [sys.executable, "-m", "fc7", "predict", home / "a.fc7", "-", home / "data" / "val" / "blue" / "5.png"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}  # the terminal's encoding is not the file's
    done = subprocess.run(
        [*command, "--cache", home / "cache"],
        input=b"\n".join([*names, b""]),
        capture_output=True,
        check=True,
        env=environment,
    )
    rows = list(csv.DictReader(io.StringIO(os.fsdecode(done.stdout))))
    assert [row["path"].rpartition("/")[2] for row in rows] == ["5.png", odd.name, "6.png", "5.png"]
    assert [row["label"] for row in rows] == ["red", "red", "red", "blue"]
    odd.unlink()


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\0", "\r\n\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_end_in_several_ways_and_a_mark_is_no_part_of_the_first(home, predicted, stdin, ends, mark):
    paths = [str(home / "data" / "val" / "red" / f"{number}.png") for number in (5, 6)]
    stdin((mark + ends.join([*paths, ""])).encode())
    assert [(row["path"], row["label"]) for row in predicted("-")[0]] == [(path, "red") for path in paths]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_list_in_another_encoding_is_refused_and_no_disk_walked(home, predicted, stdin, encoding):
    stdin(f"{home / 'data' / 'val' / 'red' / '5.png'}\r\n".encode(encoding))
    rows, err = predicted("-", code=2)
    assert (rows, "UTF-16" in one_line(err)) == ([], True)


def test_a_closed_standard_input_is_one_line(predicted, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)  # so Python calls it
    rows, err = predicted("-", code=2)
    assert rows == []
    assert "closed" in one_line(err)


def test_an_empty_word_is_not_the_current_folder(home, predicted, monkeypatch):
    monkeypatch.chdir(home / "data" / "val" / "red")
    rows, _ = predicted("", "5.png")
    assert [(row["path"], row["label"], row["rejected"]) for row in rows] == [
        ("", "", "an empty name"),
        ("5.png", "red", ""),
    ]


def test_an_empty_list_is_an_error(predicted, stdin):
    stdin(b"")
    assert predicted("-", code=1) == ([], "fc7: There are no images in an empty list.\n")


def test_columns_for_the_most_probable_classes(predicted, home):
    rows, _ = predicted(home / "data" / "val" / "red" / "5.png", home / "absent.png", "--top", "3")
    assert tuple(rows[0])[:8] == COLUMNS
    assert list(rows[0])[8:] == [f"{name}_{place}" for place in (1, 2, 3) for name in ("label", "probability")]
    assert (rows[0]["label_1"], rows[0]["label_2"], rows[0]["label_3"]) == ("red", "blue", "")
    assert float(rows[0]["probability_1"]) + float(rows[0]["probability_2"]) == pytest.approx(1, abs=2e-4)
    assert rows[1]["rejected"]
    assert [rows[1][name] for name in list(rows[1])[8:]] == [""] * 6


def test_it_prints_what_share_is_answered(predicted, home, fc7_json):
    pictures = home / "data" / "val"
    rows, err = predicted(pictures)
    answered = sum(row["answer"] in COLOURS for row in rows)
    assert f"6 files: {answered} answered, {6 - answered} not sure, 0 rejected." in err
    assert "The head answers from probability" in err
    assert "With confidence 0.5 at most" in err
    assert "0.1 was asked for" in err
    assert "0.25 was asked for" in predicted(pictures, "--max-error", "0.25")[1]
    strict = predicted(pictures, "--confidence", "0.99")[1]
    assert "cannot promise an error of at most 0.1 with confidence 0.99" in strict
    assert "even without a mistake it takes 44 images, and there are 10" in strict
    answer = fc7_json("predict", home / "a.fc7", pictures, "--cache", home / "cache", "--quiet")
    assert answer["threshold"]["max_error"] == 0.1
    assert answer["threshold"]["wrong"] <= 0.1 * answer["threshold"]["answered"]
    assert {prediction["answer"] for prediction in answer["predictions"]} <= {*COLOURS, "not sure"}
    assert all(
        prediction["unlike"] == (prediction["distance"] > answer["unlike_beyond"])
        for prediction in answer["predictions"]
    )


def test_a_page_has_the_pictures_and_the_terminal_says_where_the_others_are(home, fc7, tmp_path, monkeypatch):
    there = ["--cache", home / "cache", "--quiet", "-o", tmp_path / "p.html"]
    asked = ["predict", home / "a.fc7", home / "data" / "val", home / "absent.png", *there]
    assert fc7(*asked)[1] == f"Wrote 6 predictions to {tmp_path / 'p.html'}; rejected: 1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["p.html"]
    html = (tmp_path / "p.html").read_text()
    assert html.count('src="data:image/jpeg;base64,') == 6
    assert str(home) not in html
    monkeypatch.setattr("fc7.classify.pages.pictures.EMBEDDED", 2)
    assert fc7(*asked)[1].splitlines()[1].endswith(f"in the folder beside it: {tmp_path / 'p-thumbnails'}")
    assert len([*(tmp_path / "p-thumbnails").glob("*.jpg")]) == 6


def test_a_file_has_what_stdout_has_and_every_class(home, fc7, predicted, tmp_path):
    asked = [home / "data" / "val", home / "absent.png"]
    rows, _ = predicted(*asked)
    there = ["--cache", home / "cache", "--batch-size", "4", "--quiet"]
    code, out, _ = fc7("predict", home / "a.fc7", *asked, *there, "-o", tmp_path / "p.csv")
    assert (code, out) == (0, f"Wrote 6 predictions to {tmp_path / 'p.csv'}; rejected: 1\n")
    with (tmp_path / "p.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [{name: row[name] for name in rows[0]} for row in written] == rows
    assert [*written[0]][len(rows[0]) :] == ["probability_blue", "probability_red"]


def test_every_row_of_a_table_has_an_answer_or_a_reason(home, predicted, tmp_path):
    there = home / "data" / "val" / "red" / "5.png"
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "some.csv").write_text(f"path\nabsent.png\n{there}\nnotes.txt\n")
    rows, _ = predicted(tmp_path / "some.csv")
    assert [(row["path"], row["label"], row["rejected"][:12]) for row in rows] == [
        (str(there), "red", ""),
        (str(tmp_path / "absent.png"), "", "no such file"),
        (str(tmp_path / "notes.txt"), "", "suffix '.txt"),
    ]


def test_what_cannot_be_written_is_said_before_a_bundle_is_read(fc7, tmp_path):
    code, out, err = fc7("predict", tmp_path / "absent.fc7", "a.png", "-o", tmp_path / "p.xlsx")
    assert (code, out) == (2, "")
    assert "one of .csv, .json, .parquet" in one_line(err)
    code, out, err = fc7("predict", tmp_path / "absent.fc7", tmp_path / "p.csv", "-o", tmp_path / "p.csv")
    assert (code, out) == (1, "")
    assert "what is read" in one_line(err)


def test_fit_says_what_the_threshold_does(home, fc7_json, fc7):
    made = ["fit", home / "data", "-o", home / "b.fc7", "--head", "centroid", *BACKBONE, "--cache", home / "cache"]
    code, out, _ = fc7(*made, "--max-error", "0.3", "--quiet")
    assert code == 0
    assert "It answers from probability" in out
    assert fc7_json(*made, "--quiet")["threshold"] is None
    assert fc7(*made, "--confidence", "0.8", "--quiet")[0] == 2


def test_sets_hold_more_classes_where_the_head_is_less_sure(home, fc7_json, fc7):
    asked = ["predict", home / "a.fc7", home / "data" / "val", "--cache", home / "cache", "--batch-size", "4"]
    few = fc7_json(*asked, "--coverage", "0.8", "--quiet")["predictions"]
    assert all(one["classes"][0] == one["label"] for one in few)
    every = fc7_json(*asked, "--coverage", "0.95", "--quiet")["predictions"]
    assert all(len(one["classes"]) == 2 for one in every), "ten images cannot tell 0.95: 19 are needed"
    code, out, err = fc7(*asked, "--coverage", "0.95")
    assert code == 0
    assert next(csv.DictReader(io.StringIO(out)))["classes"] == "blue; red"
    assert "number of classes: 2 in 6 images" in err
    assert fc7(*asked, "--class-conditional", "--quiet")[0] == 2


def test_counts_add_up_to_the_files(home, fc7, fc7_json, tmp_path):
    stripes = np.zeros((60, 60, 3), np.uint8)
    stripes[::4] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    asked = ["predict", home / "a.fc7", home / "data" / "val", tmp_path / "stripes.png", tmp_path / "absent.png"]
    asked += ["--cache", home / "cache", "--batch-size", "4"]
    flagged = fc7_json(*asked, "--max-error", "0.3", "--quiet")["counts"]
    assert flagged == {"files": 8, "answered": 7, "not_sure": 0, "rejected": 1, "unlike": flagged["unlike"]}
    answer = fc7_json(*asked, "--max-error", "0.3", "--unlike", "not-sure", "--quiet")
    found, unlike = answer["counts"], sum(one["unlike"] for one in answer["predictions"])
    assert unlike == flagged["unlike"] == found["unlike"]
    assert (found["answered"], found["not_sure"], found["rejected"]) == (7 - unlike, unlike, 1)
    assert all(one["answer"] == "not sure" for one in answer["predictions"] if one["unlike"])
    err = fc7(*asked, "--unlike", "not-sure")[2]
    assert f"8 files: {7 - unlike} answered, {unlike} not sure, 1 rejected." in err


def test_files_are_found_again_by_the_names_in_the_answer(home, fc7, fc7_json, tmp_path, monkeypatch):
    picture = (home / "data" / "val" / "red" / "5.png").read_bytes()
    for name in ("a\nb.png", "a\\nb.png", "\ufeff.png", "c\r.png", "d\u3000.png", "=1.png", "café.png", "\udcff.png"):
        (tmp_path / name).write_bytes(picture)
    there = {str(path) for path in tmp_path.iterdir()}
    words = ["predict", home / "a.fc7", tmp_path, "--cache", home / "cache", "--batch-size", "4", "--quiet"]
    assert {answer["path"] for answer in fc7_json(*words)["predictions"]} == there
    file = io.BytesIO()
    # As Windows opens it: another encoding, and two characters for the end of a line.
    stdout = io.TextIOWrapper(file, encoding="ascii", newline="\r\n")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main([str(word) for word in words]) == 0
    monkeypatch.undo()
    text = file.getvalue().decode("utf-8", "surrogateescape")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {row["path"] for row in rows} == there
    assert {row["label"] for row in rows} == {"red"}


def test_a_class_that_is_called_not_sure_is_refused_with_a_threshold(home, fc7, tmp_path):
    lines = [
        f"{home / 'data' / split / label / f'{number}.png'},{'not sure' if label == 'red' else label},{split}"
        for label in COLOURS
        for number in range(8)
        for split in ["train" if number < 5 else "val"]
    ]
    (tmp_path / "odd.csv").write_text("\n".join(["path,label,split", *lines]) + "\n")
    made = ["fit", tmp_path / "odd.csv", "-o", tmp_path / "odd.fc7", "--head", "ridge", *BACKBONE]
    made += ["--cache", home / "cache", "--quiet"]
    code, out, err = fc7(*made, "--max-error", "0.1")
    assert (code, out) == (2, "")
    assert "not sure" in one_line(err)
    assert fc7(*made)[0] == 0
    picture = home / "data" / "val" / "red" / "5.png"
    asked = ["predict", tmp_path / "odd.fc7", picture, "--cache", home / "cache", "--batch-size", "4", "--quiet"]
    code, out, err = fc7(*asked, "--max-error", "0.1")
    assert (code, out) == (2, "")
    assert "not sure" in one_line(err)
    assert fc7(*asked)[1].splitlines()[1].startswith(f"{picture},not sure,")


@pytest.mark.parametrize("share", ["1", "-0.1", "nan", "x"])
@pytest.mark.parametrize("verb", [["predict", "a.fc7", "x.png"], ["fit", "data", "-o", "a.fc7"]])
def test_an_error_that_is_no_share_is_2(fc7, verb, share):
    code, out, err = fc7(*verb, "--max-error", share)
    assert (code, out) == (2, "")
    assert "--max-error" in err


@pytest.mark.usefixtures("shared_cache")
def test_predicting_nothing_but_rejects_is_not_0(fc7, bundle, tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    code, out, _ = fc7("predict", bundle, tmp_path / "bad.png")
    assert code == 1
    assert "not an image" in out


@pytest.mark.usefixtures("shared_cache")
def test_predict_with_other_weights_is_1_with_both_hashes(fc7, bundle, data):
    code, out, err = fc7("predict", bundle, data, "--weights", "random:1")
    assert (code, out) == (1, "")
    assert len(re.findall(r"\b[0-9a-f]{64}\b", one_line(err))) == 2


@pytest.mark.usefixtures("shared_cache")
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"cos\nsystem\n(S'true'\ntR."])
def test_a_file_that_is_no_bundle_is_1(fc7, data, tmp_path, content):
    (tmp_path / "x.fc7").write_bytes(content)
    code, out, err = fc7("predict", tmp_path / "x.fc7", data)
    assert (code, out) == (1, "")
    assert "x.fc7" in one_line(err)


def test_neighbours_are_named_with_each_prediction(home, fc7, fc7_json, tmp_path):
    made = ["fit", home / "data", "-o", tmp_path / "near.fc7", "--head", "ridge", *BACKBONE, "--with-neighbours"]
    assert fc7(*made, "--cache", home / "cache", "--quiet")[0] == 0
    words = [tmp_path / "near.fc7", home / "data" / "train" / "red" / "0.png", tmp_path / "absent.png"]
    words += ["--cache", home / "cache", "--batch-size", "4", "--neighbours", "2"]
    first, absent = fc7_json("predict", *words)["predictions"]
    assert [near["label"] for near in first["neighbours"]] == ["red", "red"]
    assert first["neighbours"][0] == {"path": "train/red/0.png", "score": 1, "label": "red"}
    assert "neighbours" not in absent
    _, out, _ = fc7("predict", *words)
    row, other = csv.DictReader(io.StringIO(out))
    assert (row["neighbour_1"], row["neighbour_label_2"], row["neighbour_score_1"]) == ("train/red/0.png", "red", "1.0")
    assert other["neighbour_1"] == ""
    code, _, err = fc7("predict", home / "a.fc7", *words[1:])
    assert code == 1
    assert "--with-neighbours" in one_line(err)


COSTS = ["true,blue,red\nblue,0,1\nred,50,0\n", "true;red;blue\nred;0;50\nblue;1;0\n"]


def test_costs_decide_and_their_mean_is_that_of_the_answers(home, fc7, fc7_json, tmp_path):
    made = ["fit", home / "data", "--head", "centroid", *BACKBONE, "--cache", home / "cache", "--quiet"]
    asked = [home / "data" / "val", "--cache", home / "cache", "--batch-size", "4", "--quiet"]
    price, answers = {("blue", "red"): 1, ("red", "blue"): 50}, []
    for number, text in enumerate(COSTS):
        (tmp_path / f"{number}.csv").write_text(text)
        there = ["-o", tmp_path / f"{number}.fc7", "--costs", tmp_path / f"{number}.csv"]
        costs = fc7_json(*made, *there)["costs"]
        answers.append(fc7_json("predict", tmp_path / f"{number}.fc7", *asked)["predictions"])
        paid = [price.get((one["path"].split("/")[-2], one["label"]), 0) for one in answers[-1]]
        assert costs["least_cost"]["value"] == pytest.approx(np.mean(paid))
        blue = [one["probabilities"]["blue"] > 50 * one["probabilities"]["red"] for one in answers[-1]]
        assert [one["label"] == "blue" for one in answers[-1]] == blue
        assert "answers of least expected cost" in fc7(*made, *there)[1]
    assert answers[0] == answers[1], "the order of rows and columns decides nothing"
    plain = [*made, "-o", tmp_path / "plain.fc7"]
    assert fc7_json(*plain)["costs"] is None
    assert (
        fc7_json("predict", tmp_path / "plain.fc7", *asked, "--costs", tmp_path / "1.csv")["predictions"] == answers[0]
    )
    sets = fc7_json("predict", tmp_path / "0.fc7", *asked, "--coverage", "0.5", "--class-conditional")["predictions"]
    assert all(one["label"] in one["classes"] for one in sets)


def test_costs_and_a_threshold_exclude_each_other(home, fc7, tmp_path):
    (tmp_path / "costs.csv").write_text(COSTS[0])
    costs = ["--costs", tmp_path / "costs.csv"]
    made = ["fit", home / "data", "-o", tmp_path / "a.fc7", *BACKBONE, "--cache", home / "cache", *costs]
    asked = ["predict", home / "a.fc7", home / "data" / "val", "--cache", home / "cache", *costs]
    for words in ([*made, *PROMISE], asked):
        code, out, err = fc7(*words, "--quiet")
        assert (code, out) == (2, "")
        assert "give one. A bundle keeps the one that it was fitted with" in one_line(err)
    _, _, err = fc7(*made, "--head", "ridge", "--class-weight", "balanced")
    assert "Costs need true ones" in err


@pytest.mark.parametrize("word", ["0", "1", "1.5", "nan", "-0.1", "much"])
def test_what_is_no_share_is_refused_before_anything_is_read(fc7, word):
    for option in ("--coverage", "--confidence"):
        code, out, err = fc7("predict", "absent.fc7", "a.png", f"{option}={word}")
        assert (code, out) == (2, "")
        assert option in one_line(err)
    assert fc7("fit", "absent", "-o", "b.fc7", "--max-error", "0.1", f"--confidence={word}")[0] == 2


def test_one_file_is_one_file(home, fc7):
    asked = ["predict", home / "a.fc7", home / "data" / "val" / "red" / "5.png", "--cache", home / "cache"]
    _, _, err = fc7(*asked, "--max-error", "0.1", "--coverage", "0.5", "--batch-size", "4")
    assert "1 file: " in err
    assert re.search(r"number of classes: \d in 1 image\.", err)
