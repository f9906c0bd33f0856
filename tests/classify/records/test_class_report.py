"""The classes of a record: the worst first, counted from its predictions."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fc7.classify.records.class_report import class_report, cost_report, unequal_classes, with_warning

NAMES = ("bees", "ants", "wasps")


def unequal_run(made_up, **others):
    """Return a run on 120 bees, all right, 5 ants, none right, and no wasps."""
    labels = np.repeat([0, 1], [120, 5])
    return made_up(labels == 0, classes=NAMES, labels=labels, **others)


def test_the_worst_class_is_first_and_one_without_images_last(made_up):
    report = class_report(unequal_run(made_up))
    assert [(report.names[one.place], one.images, one.right) for one in report.figures] == [
        ("ants", 5, 0),
        ("bees", 120, 120),
        ("wasps", 0, 0),
    ]
    assert report.figures[-1].recall is None
    assert [report.names[one.place] for one in report.few] == ["ants"] == [report.names[report.never_found[0].place]]


def test_accuracy_misleads_where_classes_are_unequal(made_up):
    run = unequal_run(made_up)
    assert class_report(run).misleading
    assert unequal_classes([run])
    labels = np.repeat([0, 1], [120, 40])
    fine = made_up(np.arange(160) % 20 > 0, classes=NAMES, labels=labels)
    assert not class_report(fine).misleading
    balanced = made_up([True, False] * 20)  # no bee is right, and accuracy says as much as balanced accuracy
    assert not class_report(balanced).misleading
    assert not unequal_classes([balanced])
    assert not unequal_classes([])


def test_an_answer_says_that_accuracy_misleads(made_up, old):
    run, fine = unequal_run(made_up), made_up([True, False])
    assert with_warning("It is so on 125 images.", run) == (
        "It is so on 125 images; accuracy (96.0 %) misleads: balanced accuracy is 50.0 %, and no image of ants is "
        "right (0 of 5)."
    )
    assert with_warning("It is so.", fine) == "It is so."
    assert with_warning("It is so.", old(run)) == "It is so."
    labels = np.repeat(np.arange(4), [60, 5, 5, 5])
    several = made_up(labels == 0, labels=labels, classes=("a", "b", "c", "d", "e"))
    assert with_warning("So.", several).endswith("and of 3 of 4 classes no image is right.")


def test_means_are_those_of_the_record(made_up):
    run = unequal_run(made_up)
    report = class_report(run)
    assert report.balanced_accuracy.value == pytest.approx(run.metrics["balanced_accuracy"]) == 0.5
    assert report.macro_f1.value == pytest.approx(run.metrics["macro_f1"])
    assert report.balanced_accuracy.low < 0.5 < report.balanced_accuracy.high


def test_areas_are_those_of_the_probabilities(made_up):
    run = made_up(np.arange(60) % 7 > 0, classes=NAMES)
    report, matrix = class_report(run), run.probabilities.matrix()
    labels = np.asarray(run.predictions["label"])
    assert list(report.aurocs) == [0, 1, 2] == list(report.curves)
    for place, area in report.aurocs.items():
        assert area.value == pytest.approx(roc_auc_score(labels == place, matrix[:, place]))


def test_top_5_where_there_are_more_classes(made_up):
    many = made_up([True, False] * 30, classes=[f"c{place}" for place in range(12)])
    assert class_report(many).top.value >= 0.5
    assert class_report(made_up([True] * 10)).top is None


def test_most_taken_for(made_up):
    run = made_up([False] * 12, classes=("a", "b"))
    assert class_report(run).taken_for == {0: (1, 6), 1: (0, 6)}


def test_no_probabilities_no_areas(made_up, tmp_path):
    run = unequal_run(made_up)
    path = run.save(tmp_path)
    path.with_suffix(".npz").unlink()
    report = class_report(type(run).load(path))
    assert report.aurocs == {} == report.curves
    assert report.top is None


def test_more_classes_than_records_hold_probabilities_of_have_no_areas(made_up):
    run = made_up([True] * 60, classes=[f"c{place}" for place in range(60)])
    assert class_report(run).aurocs == {}
    assert class_report(run).top.value == 1


def test_plain_values(made_up):
    values = json.loads(json.dumps(class_report(unequal_run(made_up)).to_dict(), allow_nan=False))
    assert values["balanced_accuracy"]["value"] == 0.5
    assert [row["class"] for row in values["classes"]] == ["ants", "bees", "wasps"]
    assert values["classes"][0]["recall"]["interval"] == pytest.approx([0, 0.489], abs=0.001)
    assert values["classes"][2]["recall"] is None


def test_an_old_record_says_nothing_of_its_classes(made_up, old):
    assert class_report(old(made_up([True, False]))) is None


def test_what_images_cost(made_up):
    run = made_up(np.arange(40) % 20 > 1, spread=0.9)  # of each class two are wrong
    report = cost_report(run, np.array([[0.0, 1.0], [9.0, 0.0]]))
    matrix, labels = run.probabilities.matrix(), np.asarray(run.predictions["label"])
    answers = (matrix[:, 1] * 9 > matrix[:, 0]).astype(int)
    paid = np.where(labels == answers, 0, np.where(labels == 1, 9, 1))
    assert report["least_cost"].value == pytest.approx(paid.mean())
    assert report["most_probable"].value == pytest.approx((2 * 9 + 2) / 40)
    assert cost_report(replace(run, probabilities=None), np.zeros((2, 2))) is None


def test_of_more_classes_than_records_keep_what_images_cost_is_not_guessed(made_up):
    run = made_up([True] * 60, classes=[f"c{place}" for place in range(60)])
    costs = 1 - np.eye(60)
    assert cost_report(run, costs) is None
    assert cost_report(run, costs, np.eye(60)[run.predictions["label"]])["least_cost"].value == 0
