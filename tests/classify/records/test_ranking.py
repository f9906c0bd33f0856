"""The chosen run: by what was measured inside train, then by time."""

from fc7.classify.records.ranking import choose
from fc7.classify.reports.verdict import findings


def test_the_head_is_chosen_inside_train_not_on_the_evaluated_images(made_up):
    lucky = made_up([True] * 100, head="knn", selection=0.90)
    steady = made_up([True] * 95 + [False] * 5, head="logreg", selection=0.95)
    assert choose([lucky, steady]) is steady
    assert "chosen among 2 by its log loss inside train (0.050)" in " ".join(findings([lucky, steady]))


def test_ties_inside_train_go_to_the_quicker(made_up):
    slow = made_up([True] * 100, head="forest", seconds={"fit": 9.0, "predict": 1.0})
    quick = made_up([False] * 100, head="logreg", seconds={"fit": 1.0, "predict": 1.0})
    assert choose([slow, quick]) is quick
