"""The choice made anew in each fold has not seen the images that it is judged on."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fc7.classify import compare
from fc7.classify.commands.tables import data_sets
from fc7.classify.evaluation.nested_choice import choose_in_folds
from fc7.classify.records.choice import choice_in_folds
from fc7.classify.records.contest import contest
from fc7.classify.reports.verdict import findings


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 99))
def test_each_fold_has_the_predictions_of_what_was_best_for_it(candidates, folds, seed):
    generator = np.random.default_rng(seed)
    losses = generator.integers(0, 4, (candidates, folds)).astype(float)
    fold, predicted = generator.integers(0, folds, 30), generator.integers(0, 3, (candidates, 30))
    chosen, answers = choose_in_folds(losses, fold, predicted)
    for number in range(folds):
        best = min(range(candidates), key=lambda place: (losses[place, number], place))
        assert chosen[number] == best
        assert np.array_equal(answers[fold == number], predicted[best, fold == number])


def test_on_noise_the_choice_is_not_flattered():
    """Forty candidates that toss coins: what was best over all folds, and what was chosen in each."""
    generator = np.random.default_rng(0)
    fold, best, anew = np.arange(100) % 5, [], []
    for _ in range(400):
        right = generator.random((40, 100)) < 0.5
        # The loss inside a fold's fitted images is what the candidates get wrong there.
        wrong = np.array([[(~row[fold != number]).mean() for number in range(5)] for row in right])
        best.append(right[(~right).mean(axis=1).argmin()].mean())
        anew.append(choose_in_folds(wrong, fold, right.astype(int))[1].mean())
    assert np.mean(best) > 0.58
    assert abs(np.mean(anew) - 0.5) < 0.01


def test_a_record_of_the_choice_has_the_predictions_of_each_folds_best(table):
    runs = list(compare(table((30, 30), spread=5.0, seed=3), ["logreg", "knn", "centroid"], folds=3))
    heads = [run for run in runs if run.head != "baseline"]
    found = choice_in_folds(heads[0], heads)
    fold = np.array(heads[0].predictions["fold"])
    expected = np.empty(60, int)
    for number in range(1, 4):
        best = min(heads, key=lambda run: run.folds[number - 1]["log_loss"])
        expected[fold == number] = np.array(best.predictions["predicted"])[fold == number]
    by_path = dict(zip(found.predictions["path"], found.predictions["predicted"], strict=True))
    assert [by_path[path] for path in heads[0].predictions["path"]] == expected.tolist()
    assert found.metrics["correct"] == (expected == np.array(heads[0].predictions["label"])).sum()
    compared = contest(runs)
    words = " ".join(findings(runs))
    assert f"the choice gets {compared.choice.metrics['correct']} of 60 right" in words
    assert [test.first is compared.chosen for test in compared.of("heads")] == [True, True]
    baseline = next(run for run in runs if run.head == "baseline")
    assert compared.baseline.first is compared.choice
    pair = compared.pairs[baseline.id]
    counted = compared.choice.metrics["correct"] - baseline.metrics["correct"]
    assert pair.only_first - pair.only_second == counted
    assert data_sets(runs)[0]["choice_in_folds"]["correct"] == compared.choice.metrics["correct"]


def test_where_nothing_is_flattered_or_folds_differ_there_is_none(table):
    rows = table((30, 30), val=5)
    split = compare(rows, ["logreg", "knn"], folds=2)
    assert choice_in_folds(split[0], list(split)) is None
    assert "flatters" not in " ".join(findings(split))
    assert data_sets(split)[0]["choice_in_folds"] is None
    three, four = (list(compare(table((30, 30)), [head], cross_validate=n)) for head, n in (("logreg", 3), ("knn", 4)))
    assert choice_in_folds(three[0], [three[0]]) is None
    assert choice_in_folds(three[0], [three[0], four[0]]) is None
    assert "cannot be made anew" in " ".join(findings([three[0], four[0]]))


def test_the_page_shows_what_to_expect(table, tmp_path):
    from fc7.classify.reports.report import report

    runs = compare(table((30, 30), spread=5.0, seed=3), ["logreg", "knn", "centroid"], folds=3)
    compared = contest(runs)
    text = " ".join(report(runs, tmp_path / "page.html").read_text().split())
    assert f"{compared.choice.metrics['correct']} of 60 right, 95" in text
    assert "Chosen anew in each fold" in text
