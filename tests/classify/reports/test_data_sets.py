"""A folder with several data sets, old records or folds: each set of images is judged by itself, every fold speaks."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from html_page import Page

from fc7.classify.commands.tables import data_sets, runs_table
from fc7.classify.records.contest import contest
from fc7.classify.records.failures import Failure, write_failures
from fc7.classify.records.pairs import compare_pairs
from fc7.classify.records.ranking import choose
from fc7.classify.reports.report import csv_table, markdown, report
from fc7.classify.reports.sections import folds, training
from fc7.classify.reports.verdict import findings, verdict


@pytest.fixture(scope="module")
def grown(made_up):
    """Runs on 60 images and on 40 of them, and on others: the run on the fewest looks best."""
    small = {"name": "small", "fingerprint": "1" * 64}
    few = [made_up(np.arange(40) > place, head=head, data=small, selection=0.98) for place, head in enumerate("ab")]
    many = [made_up(np.arange(60) > 5 * place, head=head) for place, head in enumerate("ab", start=1)]
    return [*few, *many]


def test_each_set_of_images_has_a_verdict_as_if_it_were_alone(grown):
    few, many = grown[:2], grown[2:]
    said = findings(grown)
    assert said[0] == f"made-up on val, 60 images: {verdict(many)[0]}"
    assert f"small on val, 40 images: {verdict(few)[0]}" in said
    assert said == [
        f"made-up on val, 60 images: {findings(many)[0]}",
        *findings(many)[1:],
        f"small on val, 40 images: {findings(few)[0]}",
        "All of these images are in “made-up on val, 60 images”, too, so the two results are not independent.",
        *findings(few)[1:],
    ]
    assert choose(grown) is contest(many).chosen


def test_the_terminal_has_a_table_for_each(grown):
    text = runs_table(grown)
    assert text.count("backbone") == 2
    parts = text.split("\n\n")
    assert [part.splitlines()[0] for part in parts] == ["made-up on val, 60 images:", "small on val, 40 images:"]
    assert parts[0].partition("\n")[2] == runs_table(grown[2:])


def test_an_answer_has_an_entry_for_each(grown):
    entries = data_sets(grown)
    assert json.loads(json.dumps(entries)) == entries
    assert [(entry["title"], entry["n"], entry["runs"]) for entry in entries] == [
        ("made-up on val, 60 images", 60, [run.id for run in grown[2:]]),
        ("small on val, 40 images", 40, [run.id for run in grown[:2]]),
    ]
    assert [entry["best"] in entry["runs"] for entry in entries] == [True, True]


def test_the_csv_says_which_runs_can_be_compared(grown):
    rows = list(csv.DictReader(io.StringIO(csv_table(grown))))
    assert [row["images"] for row in rows] == [run.images[:16] for run in [*grown[2:], *grown[:2]]]
    assert [row["data"] for row in rows] == ["made-up", "made-up", "small", "small"]


def test_markdown_has_the_classes_and_the_splits(made_up):
    split = {"fitted": 8, "evaluated": 6, "log_loss": 0.3}
    few = [{"per_class": 2, "draw": draw, "accuracy": 0.5 + draw / 4} for draw in range(2)]
    runs = [
        replace(made_up([True] * right + [False], head=head, classes=("a|b", "c")), few_shot=few,
                repeats=[{"split": number, "correct": right - number, **split} for number in range(3)])
        for head, right in (("one", 5), ("two", 4))
    ]  # fmt: skip
    text = markdown([replace(run, repeats=run.repeats) for run in runs[:1]])
    assert "| class | images | recall | 95 % |" in text
    assert r"| a\|b | 3 | 1.000 |" in text
    assert "| run | here | mean | 95 % | least-most |" in text
    assert text.count("about fitting again") == 1
    assert "| run | 2 |" in text


def test_markdown_has_a_heading_for_each(grown):
    text = markdown(grown)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## made-up on val, 60 images",
        "## small on val, 40 images",
    ]
    assert text == "\n".join(
        f"## {title}\n\n{markdown(runs)}"
        for title, runs in (("made-up on val, 60 images", grown[2:]), ("small on val, 40 images", grown[:2]))
    )


def test_the_page_has_all_sections_for_each(grown, tmp_path):
    page = Page(report(grown, tmp_path / "report.html").read_text())
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"}
    assert links <= set(ids)
    for name in ("set", "runs", "tests", "confusion", "images"):
        assert {f"{name}-1", f"{name}-2"} <= set(ids)
    tables = [rows for rows in map(page.rows, range(len(page.tables))) if rows[0][0] == "Run"]
    assert [len(rows) for rows in tables] == [3, 3]
    assert "60 images" in page.text
    assert "40 images" in page.text
    corrected = [pair.p_corrected for pair in compare_pairs(grown)]
    assert corrected == [pair.p for pair in compare_pairs(grown)], "one pair on each: nothing is corrected"


def test_the_verb_answers_for_each(grown, fc7, fc7_json, tmp_path):
    for run in grown:
        run.save(tmp_path)
    code, out, _ = fc7("report", tmp_path, "--csv", tmp_path / "r.csv")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "made-up on val, 60 images",
        "small on val, 40 images",
        f"Wrote {tmp_path / 'r.csv'}",
    ]
    answer = fc7_json("report", tmp_path, "--csv", tmp_path / "r.csv")
    assert [entry["n"] for entry in answer["data_sets"]] == [60, 40]


def test_old_records_alone_make_a_page(made_up, write_old, tmp_path):
    for head in ("logreg", "knn"):
        write_old(made_up([True, False, True], head=head), tmp_path)
    text = " ".join(Page(report(tmp_path, tmp_path / "report.html").read_text()).text.split())
    assert "gets 2 of 3 right" in text
    assert "records of an earlier fc7 do not say what was predicted, so nothing can be tested" in text
    assert "Evaluated on val: 3 images; what else was done is unknown." in text
    assert "Paired tests" not in text


def test_old_records_beside_new_ones_are_shown_and_not_tested(made_up, write_old, tmp_path):
    best = made_up([True] * 9 + [False], selection=0.99)
    write_old(best, tmp_path)
    new = made_up([True] * 8 + [False] * 2, head="knn", selection=0.9)
    new.save(tmp_path)
    page = Page(report(tmp_path, tmp_path / "report.html").read_text())
    assert [row[1] for row in page.rows(0)[1:]] == ["90.0", "80.0"]
    text = " ".join(page.text.split())
    assert "vgg16 fc7 knn gets 8 of 10 right" in text
    assert "the other runs on these images are old" in text
    assert "record of an earlier fc7: what was done and predicted is unknown" in text


# Folds


def test_every_fold_is_in_the_page(made_up, fold, tmp_path):
    choices = [fold(5, hyperparameters={"C": 10.0**-k}, temperature=2.0 + k, unconverged=k) for k in range(2)]
    run = made_up([True] * 10, folds=choices, data={"evaluated": "2-fold cross-validation"})
    assert [(row["fold"], row["chosen"]) for row in folds(contest([run]))] == [(1, "C = 1"), (2, "C = 0.1")]
    page = Page(report([run, made_up([True] * 10, head="knn")], tmp_path / "report.html").read_text())
    table = next(rows for rows in map(page.rows, range(len(page.tables))) if rows[0][1] == "Fold")
    assert [row[1:3] + row[4:5] + row[7:] for row in table[1:]] == [
        ["1", "244", "C = 1", "2", "0"],
        ["2", "244", "C = 0.1", "3", "1"],
    ]
    assert "C = 0.1 to 1" in page.text


def test_heads_that_could_not_be_fitted_are_in_every_output(made_up, fc7, fc7_json, tmp_path):
    reason = "lda cannot be fitted on 4 images: <b>too few</b> | in /home/ann/4"
    page, text, table = outputs = [tmp_path / name for name in ("r.html", "r.md", "r.csv")]
    options = [word for pair in zip(("-o", "--markdown", "--csv"), outputs, strict=True) for word in pair]
    made_up([True] * 10).save(tmp_path)
    write_failures(tmp_path, [Failure("0" * 64, "vgg16", "fc7", "lda", reason)])

    code, out, _ = fc7("report", tmp_path, *options)
    assert code == 0
    assert f"vgg16 fc7 lda could not be fitted: {reason}\n" in out
    assert fc7_json("report", tmp_path, *options)["failed"] == [
        {"name": "vgg16 fc7 lda", "id": "0" * 64, "backbone": "vgg16", "layer": "fc7", "head": "lda", "reason": reason}
    ]
    assert f"vgg16 fc7 lda : {reason.replace('/home/ann/', '')}" in " ".join(Page(page.read_text()).text.split())
    said = "vgg16 fc7 lda could not be fitted: lda cannot be fitted on 4 images: &lt;b>too few&lt;/b> \\| in 4"
    assert text.read_text().splitlines()[-1] == f"- {said}"
    (run, failure) = csv.DictReader(io.StringIO(table.read_text()))
    assert run.keys() == failure.keys()
    assert (failure["head"], failure["accuracy"]) == ("lda", "")
    assert (
        failure["notes"] == "vgg16 fc7 lda could not be fitted: lda cannot be fitted on 4 images: <b>too few</b> | in 4"
    )

    write_failures(tmp_path, [])
    assert "fitted:" not in fc7("report", tmp_path, *options)[1]
    assert not any("could not be fitted" in path.read_text().lower() for path in outputs)


def test_curves_of_all_folds_are_drawn_and_summed_up(made_up, fold):
    accuracies = {1: [0.5, 0.9, 0.7], 2: [0.6, 0.8]}
    curves = [
        {"fold": number, "epoch": epoch, "train_loss": 1.0, "val_loss": 0.5, "val_accuracy": value}
        for number, values in accuracies.items()
        for epoch, value in enumerate(values, start=1)
    ]
    run = made_up([True] * 10, trainable="all", curves=curves, folds=[fold(5), fold(5)])
    (drawn,) = training(contest([run]))["runs"]
    assert drawn["last"] == {"epoch": "2 to 3", "val_accuracy": pytest.approx(0.75), "folds": 2}
    assert drawn["best"] == {"epoch": "2", "val_accuracy": pytest.approx(0.85), "folds": 2}
    (accuracy,) = [plot for quantity, plot in drawn["plots"] if quantity == "accuracy"]
    assert (accuracy.count("<polyline"), accuracy.count('class="ring')) == (2, 2)
    assert "accuracy of vgg16 finetune all over 3 epochs of 2 folds; last: val 0.750" in accuracy
