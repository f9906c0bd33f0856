"""The section on other splits and a few images of each class: every figure is that of the records."""

from dataclasses import replace

import pytest
from html_page import Page

from fc7.classify.evaluation.effective_size import agresti_coull
from fc7.classify.evaluation.paired_tests import difference_interval
from fc7.classify.records.stability import CHOICE, over_splits
from fc7.classify.reports.report import report

RIGHT = [True] * 9 + [False]


@pytest.fixture(scope="module")
def runs(request):
    made_up = request.getfixturevalue("made_up")
    heads = [("logreg", 0.9), ("<b>lda", 0.8), ("baseline", 0.5)]
    return [_resampled(made_up(RIGHT, head=head, selection=inside), at) for at, (head, inside) in enumerate(heads)]


def _resampled(run, at):
    splits = [
        {"split": number, "fitted": 60, "evaluated": 40, "correct": 36 - 4 * at + number % 3, "log_loss": 0.3 + at / 10}
        for number in range(4)
    ]
    few = [{"per_class": size, "draw": draw, "accuracy": 0.5 + size / 50} for size in (2, 10) for draw in range(3)]
    return replace(run, repeats=splits, few_shot=few if at < 2 else [])


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    return Page(report(runs, tmp_path_factory.mktemp("page") / "r.html").read_text(encoding="utf-8"))


def test_every_split_figure_is_a_records(page, runs):
    (rows,) = [table for table in page.tables if "Choice fell on it" in table[0]]
    splits = over_splits(runs, runs[0])
    assert [row[0] for row in rows[1:]] == [CHOICE, *(run.name for run in runs)]
    for row, stable in zip(rows[1:], splits.rows, strict=True):
        assert row[2] == f"{100 * stable.accuracy.mean:.1f}"
        assert row[3] == f"{100 * stable.accuracy.low:.1f} to {100 * stable.accuracy.high:.1f}"
    assert [row[6] for row in rows[2:]] == ["4 of 4", "0 of 4", "0 of 4"]
    assert "Over 4 random splits of the same images (60 fitted and 40 evaluated in each" in page.text


def test_few_shot_curves_have_a_plot_and_a_column_for_each_number(page, runs):
    (rows,) = [table for table in page.tables if table[0] == ["Run", "2", "10"]]
    assert [row[0] for row in rows[1:]] == [run.name for run in runs[:2]]
    assert all(row[1].startswith("54.0") and row[2].startswith("70.0") for row in rows[1:])
    assert "A few images of each class" in page.text


def test_a_page_without_them_has_no_section(made_up, tmp_path):
    text = report([made_up(RIGHT)], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "How stable" not in text


def test_splits_that_not_all_have_are_left_out(runs):
    fewer = replace(runs[1], repeats=runs[1].repeats[1:])
    assert over_splits([runs[0], fewer], runs[0]).number == 3
    assert over_splits([runs[0], replace(fewer, repeats=fewer.repeats[:1])], runs[0]).number == 4
    other = replace(fewer, repeats=[split | {"split": split["split"] + 10} for split in fewer.repeats])
    assert over_splits([runs[0], other], runs[0]) is None
    assert over_splits([replace(runs[0], repeats=[])], runs[0]) is None


def test_splits_that_are_all_alike_are_not_sure(made_up):
    """All of the 100 images are right in each split: that is no more than 100 images can say."""
    perfect = [{"split": number, "fitted": 60, "evaluated": 40, "correct": 40, "log_loss": 0.1} for number in range(3)]
    runs = [replace(made_up([True] * 10, head=head, selection=0.9), repeats=perfect) for head in ("logreg", "lda")]
    splits = over_splits(runs, runs[0])
    for row in splits.rows:
        assert (row.accuracy.low, row.accuracy.high) == (pytest.approx(agresti_coull(100, 100)[0]), 1)
    alike = splits.rows[-1].difference
    assert (alike.low, alike.high) == pytest.approx(difference_interval(0, 0, 100, 1.0))
