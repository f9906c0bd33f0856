"""The classes of a run on a terminal."""

import numpy as np

from fc7.classify.commands.class_tables import class_lines
from fc7.classify.commands.tables import by_class, runs_table
from fc7.classify.reports.run_table import COLUMNS, MEANS, OTHERS, run_rows


def test_the_worst_class_with_intervals_and_what_it_is_taken_for(made_up):
    labels = np.repeat([0, 1], [120, 5])
    said = class_lines(made_up(labels == 0, labels=labels, classes=("bees", "ants")), "vgg16 logreg").splitlines()
    assert said[0] == "Classes of vgg16 logreg, the least recall first:"
    assert said[2].split()[:4] == ["ants", "5", "0.000", "0.000-0.489"]
    assert said[2].endswith("bees (5 of 5)")
    assert said[3].split()[:3] == ["bees", "120", "1.000"]
    assert said[4].startswith("Every class counted alike: balanced accuracy 0.500 (0.3")
    assert said[5] == "note: 1 class of fewer than 10 evaluated images, whose figures are rough: ants 5"


def test_of_many_classes_the_worst_ten(made_up):
    names = [f"c{place}" for place in range(60)]
    right = np.arange(600) % 60 >= 3
    said = class_lines(made_up(right, classes=names), "ours").splitlines()
    assert said[0] == "Classes of ours, the 10 of least recall of 60:"
    assert [line.split()[0] for line in said[2:5]] == ["c0", "c1", "c2"]
    assert len(said) == 13
    assert "top-5 accuracy" in said[-1]


def test_a_class_without_images_is_said(made_up):
    said = class_lines(made_up([True] * 20, labels=[0] * 20, classes=("a", "b\nc")), "ours")
    assert r"note: classes without an evaluated image: b\nc" in said


def test_means_stand_beside_accuracy_where_classes_are_unequal(made_up, old):
    labels = np.repeat([0, 1], [120, 5])
    run = made_up(labels == 0, labels=labels)
    heads, (row,) = run_rows([run])
    cells = dict(zip(heads, row, strict=True))
    assert cells["balanced, 95 %"].startswith("0.500 (")
    assert cells["macro F1, 95 %"].startswith("0.490 (")
    assert heads == (*COLUMNS, *MEANS, *OTHERS)
    assert "balanced, 95 %" in runs_table([run])
    assert "balanced, 95 %" not in runs_table([made_up([True, False])])
    assert run_rows([old(run)])[1][0][len(COLUMNS) : -len(OTHERS)] == ["", ""]


def test_an_old_record_has_no_classes(made_up, old):
    run = old(made_up([True, False]))
    assert class_lines(run, "ours") == ""
    assert by_class(run) is None
    assert "Classes of" not in runs_table([run])
