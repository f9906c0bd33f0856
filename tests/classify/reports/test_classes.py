"""The section on classes."""

import numpy as np
import pytest
from html_page import Page

from fc7.classify.evaluation.one_against_rest import curves
from fc7.classify.reports.classes import FIRST, classes, precision_recall, roc
from fc7.classify.reports.report import report

pytest.importorskip("jinja2")


def text_of(runs, tmp_path):
    return " ".join(Page(report(runs, tmp_path / "page.html").read_text()).text.split())


def test_unequal_classes_have_means_beside_accuracy(made_up, tmp_path):
    labels = np.repeat([0, 1], [120, 5])
    text = text_of([made_up(labels == 0, labels=labels, classes=("bees", "ants"))], tmp_path)
    assert "accuracy (96.0 %) misleads: balanced accuracy is 50.0 %, and no image of ants is right (0 of 5)" in text
    assert "Balanced accuracy 50.0 % (95 % interval 31.3 to 68.7 %), macro F1 49.0 %" in text
    assert "Balanced accuracy, %" in text
    assert "never found" in text
    assert "1 class has fewer than 10 evaluated images: the figures of it are rough." in text


def test_equal_classes_have_a_section_and_no_more_columns(made_up, tmp_path):
    text = text_of([made_up([True, False, True] * 20)], tmp_path)
    assert "Balanced accuracy, %" not in text
    assert "The class of least recall first, with 95 % intervals" in text
    assert "ROC and precision-recall curves of 2 classes" in text


def test_an_old_record_has_no_section(made_up, old, tmp_path):
    run = old(made_up([True, False, True]))
    assert classes(run, "head") == {}
    assert "ROC and precision-recall" not in text_of([run], tmp_path)


def test_of_many_classes_the_worst_are_shown(made_up):
    names = [f"c{place}" for place in range(60)]
    found = classes(made_up(np.arange(600) % 60 >= 3, classes=names), "head")
    assert [row["name"] for row in found["first"][:3]] == ["c0", "c1", "c2"]
    assert (len(found["first"]), len(found["rest"])) == (FIRST, 60 - FIRST)
    assert found["plots"] == []


def test_a_class_with_a_name_of_markup_is_text(made_up, tmp_path):
    run = made_up([True, False, True, False] * 5, classes=("<b>bold</b>", 'quote " and & space'))
    path = report([run], tmp_path / "page.html")
    assert "<b>bold" not in path.read_text()
    assert 'quote " and & space' in Page(path.read_text()).text


def test_plots_begin_and_end_where_they_must():
    generator = np.random.default_rng(0)
    positive = generator.random(2000) < 0.2
    found = curves(positive, generator.random(2000) + positive)
    for plot in roc(found, "head", "ants"), precision_recall(found, "head", "ants"):
        assert len(plot.svg.findall("polyline")[-1].get("points").split()) <= 400
    line = roc(found, "head", "ants").svg.findall("polyline")[-1].get("points").split()
    first, last = (tuple(map(float, point.split(","))) for point in (line[0], line[-1]))
    left, top, right, bottom = roc(found, "head", "ants").box
    assert first == pytest.approx((left, bottom), abs=0.1)
    assert last == pytest.approx((right, top), abs=0.1)
