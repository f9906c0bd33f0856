"""Predictions of other tools: exactly the evaluated images, or one line that says what is wrong with the file."""

import csv
import re

import numpy as np
import pytest

from fc7.classify import Run, compare, load_runs
from fc7.classify.evaluation.metrics import measure
from fc7.classify.records.contest import contest
from fc7.classify.records.external import NO_PROBABILITIES, read_results, sources
from fc7.classify.records.pairs import compare_pairs
from fc7.classify.records.ranking import choose
from fc7.classify.reports.report import csv_table, markdown, report
from fc7.classify.reports.run_table import run_rows
from fc7.classify.reports.verdict import findings
from fc7.errors import DataError, UsageError

N = 20


@pytest.fixture
def like(made_up):
    return made_up(np.arange(N) % 5 > 0)


def write(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def probabilities(run, right):
    """Return rows with a column per class: 0.8 for the predicted class."""
    rows = [["path", *run.data["classes"]]]
    for path, label, good in zip(run.predictions["path"], run.predictions["label"], right, strict=True):
        row = [0.2, 0.2]
        row[label if good else 1 - label] = 0.8
        rows.append([path, *row])
    return rows


def answers(run, right, column="predicted"):
    classes, truth = run.data["classes"], run.predictions["label"]
    named = [classes[label if good else 1 - label] for label, good in zip(truth, right, strict=True)]
    return [["path", column], *map(list, zip(run.predictions["path"], named, strict=True))]


RIGHT = np.arange(N) % 4 > 0


def test_probabilities_become_a_record_under_the_same_tests(like, tmp_path):
    run = read_results(write(tmp_path / "keras.csv", probabilities(like, RIGHT)), "keras", like)
    assert np.array_equal(run.right, RIGHT)
    expected = measure(np.array(like.predictions["label"]), np.array(run.probabilities.matrix(), np.float64)).to_dict()
    assert {**run.metrics, "interval": None} == pytest.approx({**expected, "interval": None}, abs=1e-6)
    assert (run.name, run.head, run.elsewhere) == ("elsewhere keras", "keras", True)
    assert run.notes == ["from keras.csv"]
    assert set(run.seconds.values()) == {0}
    assert Run.load(run.save(tmp_path)) == run
    (pair,) = compare_pairs([like, run])
    assert pair.n == N
    assert pair.only_first == int((like.right & ~RIGHT).sum())


@pytest.mark.parametrize("column", ["predicted", "label"])
def test_answers_have_neither_log_loss_nor_calibration(like, tmp_path, column):
    run = read_results(write(tmp_path / "a.csv", answers(like, RIGHT, column)), "other", like)
    assert np.array_equal(run.right, RIGHT)
    assert (run.metrics["log_loss"], run.metrics["calibration_error"]) == (None, None)
    assert run.metrics["accuracy"] == RIGHT.mean()
    assert NO_PROBABILITIES in run.notes
    assert Run.load(run.save(tmp_path)) == run


def test_predicted_is_taken_where_label_is_the_truth(like, tmp_path):
    rows = [[*row, other] for row, other in zip(answers(like, RIGHT), ["label", *(["ants"] * N)], strict=True)]
    assert np.array_equal(read_results(write(tmp_path / "a.csv", rows), "x", like).right, RIGHT)


def test_of_equal_probabilities_the_file_says_which_class_was_predicted(like, tmp_path):
    said = answers(like, RIGHT)
    rows = [["path", *like.data["classes"], "predicted"], *([path, 0.5, 0.5, name] for path, name in said[1:])]
    run = read_results(write(tmp_path / "ties.csv", rows), "ties", like)
    assert (run.metrics["correct"], run.right.sum()) == (RIGHT.sum(), RIGHT.sum())


def test_a_predicted_class_that_is_not_the_most_probable_is_refused(like, tmp_path):
    rows = [[*row, said] for row, (_, said) in zip(probabilities(like, RIGHT), answers(like, RIGHT), strict=True)]
    read_results(write(tmp_path / "same.csv", rows), "same", like)
    rows[3][-1] = next(name for name in like.data["classes"] if name != rows[3][-1])
    with pytest.raises(DataError, match="line 4: of"):
        read_results(write(tmp_path / "other.csv", rows), "other", like)


def test_other_columns_and_any_order_of_rows_and_columns(like, tmp_path):
    head, *rows = probabilities(like, RIGHT)
    mixed = [[row[2], "?", row[0], row[1]] for row in rows[::-1]]
    path = write(tmp_path / "a.csv", [[head[2], "extra", head[0], head[1]], *mixed])
    assert np.array_equal(read_results(path, "x", like).right, RIGHT)


@pytest.mark.parametrize(
    "turn",
    [
        lambda path: path.rpartition("/")[2],
        lambda path: f"/home/ann/data/{path}",
        lambda path: f"./{path}",
        lambda path: "C:\\data\\" + path.replace("/", "\\"),
    ],
    ids=["file name", "absolute", "dot", "windows"],
)
def test_paths_as_other_tools_write_them(like, tmp_path, turn):
    head, *rows = answers(like, RIGHT)
    path = write(tmp_path / "a.csv", [head, *([turn(path), label] for path, label in rows)])
    assert np.array_equal(read_results(path, "x", like).right, RIGHT)


def test_a_file_of_excel_with_a_byte_order_mark(like, tmp_path):
    path = write(tmp_path / "a.csv", answers(like, RIGHT))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert np.array_equal(read_results(path, "x", like).right, RIGHT)


def test_a_name_in_two_folders_needs_the_folder(made_up, tmp_path):
    like = made_up([True] * 4, paths=["val/a/1.jpg", "val/b/1.jpg", "val/a/2.jpg", "val/b/3.jpg"])
    rows = [["path", "predicted"], ["1.jpg", "ants"], ["val/b/1.jpg", "bees"], ["2.jpg", "ants"], ["3.jpg", "bees"]]
    with pytest.raises(
        DataError, match=r"1 missing, the first val/a/1\.jpg; 1 of other images, .*line 2: 1\.jpg.*unique"
    ):
        read_results(write(tmp_path / "a.csv", rows), "x", like)
    rows[1][0] = "val/a/1.jpg"
    assert read_results(write(tmp_path / "a.csv", rows), "x", like).metrics["n"] == 4


def test_a_train_image_of_the_same_name_is_another_image(like, tmp_path):
    head, *rows = answers(like, RIGHT)
    rows[3][0] = "train/" + rows[3][0].rpartition("/")[2]
    with pytest.raises(DataError, match=r"1 missing.*1 of other images, the first line 5: train/"):
        read_results(write(tmp_path / "a.csv", [head, *rows]), "x", like)


def test_what_predict_writes_is_read_with_its_guards(made_up, tmp_path):
    like = made_up([True] * 2, paths=["=1.jpg", "-2.jpg"])
    classes = like.data["classes"]
    rows = [["path", "label"], ["'=1.jpg", classes[0]], ["'-2.jpg", classes[1]]]
    assert read_results(write(tmp_path / "a.csv", rows), "x", like).metrics["n"] == 2


def test_empty_lines_are_none_and_other_lines_keep_their_numbers(like, tmp_path):
    head, *rows = probabilities(like, RIGHT)
    path = write(tmp_path / "a.csv", [head, [], *rows, []])
    assert np.array_equal(read_results(path, "x", like).right, RIGHT)
    rows[0][1] = "much"
    with pytest.raises(DataError, match="line 3: ants is 'much'"):
        read_results(write(tmp_path / "a.csv", [head, [], *rows]), "x", like)


def damage(change):
    def made(rows):
        change(rows)
        return rows

    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.pop(1), f"exactly the {N} images.*1 missing, the first ants/0000.jpg"),
        (lambda rows: rows.append(rows[1]), "1 there twice, the first ants/0000.jpg"),
        (lambda rows: rows.append(["x/y.jpg", 0.5, 0.5]), "1 of other images, the first line 22: x/y.jpg"),
        (lambda rows: rows[2].pop(), "line 3 has 2 cells.*3 columns"),
        (lambda rows: rows[2].append("1"), "line 3 has 4 cells.*3 columns"),
        (lambda rows: rows[2].__setitem__(1, "much"), "line 3: ants is 'much', not a number"),
        (lambda rows: rows[2].__setitem__(1, "nan"), "line 3: ants nan.*no probabilities"),
        (lambda rows: rows[2].__setitem__(1, "7"), "line 3: ants 7.*sum is 7.*softmax"),
        (lambda rows: rows[0].__setitem__(0, "image"), r"columns \['image'.*needed: path"),
        (lambda rows: rows[0].__setitem__(1, "bees"), "'bees' twice"),
        (lambda rows: rows[0].__setitem__(1, "ANTS"), "no probabilities of ants, and neither 'predicted'"),
        (lambda rows: rows.__delitem__(slice(0, None)), "needed: path"),
        (lambda rows: rows.__delitem__(slice(1, None)), f"{N} missing"),
    ],
)
def test_what_is_wrong_is_said_with_counts_and_the_first(like, tmp_path, change, said):
    path = write(tmp_path / "a.csv", damage(change)(probabilities(like, RIGHT)))
    with pytest.raises(DataError, match=said):
        read_results(path, "x", like)


def test_an_unknown_class_is_said(like, tmp_path):
    rows = answers(like, RIGHT)
    rows[2][1] = "wasps"
    with pytest.raises(DataError, match=r"1 cell of predicted is.*line 3: 'wasps'.*ants, bees"):
        read_results(write(tmp_path / "a.csv", rows), "x", like)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'path,predicted\n"' + b"x" * 200_000, None])
def test_what_is_no_csv(like, tmp_path, content):
    path = tmp_path / "a.csv"
    if content:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.csv"):
        read_results(path, "x", like)


@pytest.mark.parametrize("name", ["", "  ", "baseline", "logreg"])
def test_a_name_that_would_mislead_is_refused(like, tmp_path, name):
    with pytest.raises(UsageError):
        read_results(write(tmp_path / "a.csv", answers(like, RIGHT)), name, like)


@pytest.mark.parametrize("words", [["keras"], ["keras="], ["=a.csv"], ["a=1.csv", "a=2.csv"], ["ridge=a.csv"]])
def test_words_that_name_no_file(words):
    with pytest.raises(UsageError):
        sources(words)


def test_words_that_name_files(tmp_path):
    assert {name: str(path) for name, path in sources(["a=x=1.csv", "b=y.csv"]).items()} == {
        "a": "x=1.csv",
        "b": "y.csv",
    }


# Among other runs


@pytest.fixture
def mixed(made_up, tmp_path):
    """Two heads and the baseline, an import that is better than all of them, and one without probabilities."""
    n = 100
    heads = [made_up(np.arange(n) % 10 > place, head=head, selection=0.9 - place / 50) for place, head in
             enumerate(("logreg", "ridge"))]  # fmt: skip
    heads.append(made_up(np.arange(n) % 2 == 0, head="baseline", selection=0.5))
    better = write(tmp_path / "better.csv", probabilities(heads[0], np.ones(n, bool)))
    bare = write(tmp_path / "bare.csv", answers(heads[0], np.arange(n) % 3 > 0))
    return [*heads, read_results(better, "better", heads[0]), read_results(bare, "bare", heads[0])]


def test_the_choice_is_among_heads_by_what_was_chosen_inside(mixed):
    assert choose(mixed).head == "logreg"
    fought = contest(mixed)
    assert fought.rival.head == "better"
    assert len(fought.pairs) == 3, "both imports and the baseline"


def test_the_verdict_says_that_the_cost_is_not_known(mixed):
    said = " ".join(findings(mixed))
    assert (
        "“better” (from elsewhere) beats the cached head, which beats “bare” (from elsewhere), on 100 images." in said
    )
    assert "What “better” (from elsewhere) cost is not known." in said
    assert "elsewhere better is the hardest to beat" in said
    assert "chosen among 2 heads (of 5 runs; 1 baseline, 2 from elsewhere) by its log loss inside train" in said


def test_imports_alone_are_compared_by_name(mixed):
    said = findings(mixed[3:])
    assert said[0].startswith("“better” (from elsewhere) beats “bare” (from elsewhere)")


def test_tables_leave_empty_what_was_not_measured(mixed):
    columns, rows = run_rows(mixed)
    cells = dict(zip(columns, rows[-1], strict=True))
    assert (cells["backbone"], cells["layer"], cells["head"]) == ("elsewhere", "", "bare")
    assert [cells[name] for name in ("log loss", "acc inside", "loss inside", "fit s")] == [""] * 4
    assert mixed[-1].summary()["log_loss"] is None


@pytest.mark.parametrize("runs", [slice(None), slice(3, None), slice(4, None)], ids=["all", "imports", "one"])
def test_the_report_of_imports(mixed, tmp_path, runs):
    page = report(mixed[runs], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "elsewhere bare" in page
    assert not re.search(r"\b(nan|inf|None)\b", page)
    assert "| elsewhere |  | bare |" in markdown(mixed[runs])
    assert csv_table(mixed[runs]).count("\n") == len(mixed[runs]) + 1


def test_compare_adds_them_last_and_keeps_them(table, tmp_path):
    embeddings = table(val=6)
    like = compare(embeddings, "ridge", learning_curve=False)[0]
    path = write(tmp_path / "a.csv", answers(like, np.ones(12, bool)))
    for right in (np.ones(12, bool), np.arange(12) > 2):
        write(path, answers(like, right))
        runs = compare(embeddings, "ridge", folder=tmp_path / "runs", add={"other": path}, learning_curve=False)
        assert [run.head for run in runs][-1] == "other"
        assert len(runs) == 3
    kept = {run.head: run for run in load_runs(tmp_path / "runs")}
    assert kept.keys() == {"ridge", "baseline", "other"}, "a corrected file replaces the record"
    assert kept["other"].metrics["correct"] == 9


def test_a_wrong_file_is_said_before_anything_is_fitted(table, tmp_path, monkeypatch):
    from fc7.classify.fitting.fit import Experiment

    monkeypatch.setattr(Experiment, "fit", lambda *given, **options: pytest.fail("fitted"))
    with pytest.raises(DataError, match=r"a\.csv"):
        compare(table(val=6), "ridge", add={"other": tmp_path / "a.csv"})


def test_of_a_thousand_columns_and_classes_a_message_names_a_few(made_up, tmp_path):
    classes = tuple(f"class number {place}" for place in range(1000))
    like = made_up([True, False], classes=classes)
    few_classes = [["path", *classes[:999]], *([path, *["0"] * 999] for path in like.predictions["path"])]
    strangers = [["path", "predicted"], *([path, "stranger"] for path in like.predictions["path"])]
    for rows in (few_classes, strangers):
        with pytest.raises(DataError) as caught:
            read_results(write(tmp_path / "a.csv", rows), "x", like)
        assert len(str(caught.value).replace(str(tmp_path), "")) < 500
        assert "more" in str(caught.value)
