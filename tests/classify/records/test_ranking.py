"""The chosen run: by what was measured inside train, then by time."""

import numpy as np

from fc7.classify.records.ranking import choose, ranked
from fc7.classify.reports.verdict import findings


def test_the_head_is_chosen_inside_train_not_on_the_evaluated_images(made_up):
    lucky = made_up([True] * 100, head="knn", selection=0.90)
    steady = made_up([True] * 95 + [False] * 5, head="logreg", selection=0.95)
    assert choose([lucky, steady]) is steady
    assert "chosen among 2 heads by its log loss inside train (0.050)" in " ".join(findings([lucky, steady]))


def test_ties_inside_train_go_to_the_quicker(made_up):
    slow = made_up([True] * 100, head="forest", seconds={"fit": 9.0, "predict": 1.0})
    quick = made_up([False] * 100, head="logreg", seconds={"fit": 1.0, "predict": 1.0})
    assert choose([slow, quick]) is quick


def test_log_losses_on_different_images_do_not_compete(made_up):
    """As data grow, a run on few easy images has the lower log loss."""
    few = made_up([True] * 20, head="knn", selection=0.98)
    many = [made_up([True] * 50 + [False] * 10, head=f"head{place}", selection=0.8 + place / 100) for place in range(2)]
    assert choose([few, *many]) is many[1]
    assert ranked([few, *many]) == [many[1], many[0], few]


def test_log_losses_inside_different_train_sets_do_not_compete(made_up, fold):
    """As data grow, the runs on the most images are chosen among, whatever they get right."""
    small = [
        made_up(np.arange(100) > 3 * k, selection=0.99 - k / 100, head=head, data={"fingerprint": "1" * 64})
        for k, head in enumerate(("logreg", "knn"))
    ]
    folds = [fold(100, fitted=300)]
    large = made_up(np.arange(100) > 30, selection=0.8, head="knn", data={"fingerprint": "2" * 64}, folds=folds)
    assert choose([*small, large]) is large
    said = findings([*small, large])
    assert said[0] == (
        "The best head fitted on 244 images beats the best head fitted on 300 images, "
        "judged on the same 100 other images."
    )
    assert "31 of 100" not in said[0]


def test_old_records_and_leaked_runs_are_chosen_only_where_there_are_no_others(made_up, old):
    best, good = made_up([True] * 10, selection=0.99), made_up([True] * 9 + [False], head="knn", selection=0.9)
    leaked = made_up([True] * 10, head="lda", selection=0.95, done={"leaked": 3})
    before = old(best)
    assert choose([before, leaked, good]) is good
    assert choose([before, leaked]) is leaked
    assert choose([before]) is before
