"""Statistics agree with scipy and statsmodels; the verdict's words follow from the tests."""

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from fc7.classify.evaluation.metrics import wilson
from fc7.classify.evaluation.paired_tests import bootstrap_interval, holm, mcnemar, smallest_detectable
from fc7.classify.fitting.learning_curve import accuracy_by_size
from fc7.classify.pages.text import duration, points, probability, ratio
from fc7.classify.records.pairs import compare_pairs, compare_planned
from fc7.classify.records.ranking import choose
from fc7.classify.reports.verdict import break_even, findings
from fc7.errors import DataError

table = st.tuples(*[st.integers(0, 60)] * 4).filter(lambda counts: sum(counts) > 0)


def answers(both, first, second, neither):
    """Two runs with these four counts."""
    right = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    return np.array([row[0] for row in right]), np.array([row[1] for row in right])


def p_of(first, second):
    return float(mcnemar(int(np.sum(first & ~second)), int(np.sum(~first & second))))


def interval_of(first, second):
    return bootstrap_interval(int(np.sum(first & ~second)), int(np.sum(~first & second)), len(first))


def verdict(runs):
    """Return the sentences of the verdict as a person reads them."""
    return " ".join(findings(runs))


# McNemar, bootstrap, Wilson, Holm


@given(table)
def test_mcnemar_is_the_exact_test_of_statsmodels_and_scipy(counts):
    both, b, c, neither = counts
    found = p_of(*answers(*counts))
    assert found == pytest.approx(statsmodels_mcnemar([[both, b], [c, neither]], exact=True).pvalue, abs=1e-12)
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    assert found == pytest.approx(expected, abs=1e-12)


def test_mcnemar_by_hand():
    assert p_of(*answers(10, 6, 0, 0)) == pytest.approx(2 * 0.5**6)
    assert p_of(*answers(10, 0, 0, 5)) == 1.0


@settings(deadline=None, max_examples=15)
@given(st.tuples(*[st.integers(3, 40)] * 4))
def test_bootstrap_is_the_limit_of_scipys(counts):
    first, second = answers(*counts)
    differences = first.astype(float) - second.astype(float)
    drawn = bootstrap((differences,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0))
    found = interval_of(first, second)
    # Two steps of the lattice 1/n: the noise of 4,000 draws.
    assert found == pytest.approx(tuple(drawn.confidence_interval), abs=2.5 / len(first))


@settings(deadline=None, max_examples=30)
@given(st.tuples(*[st.integers(0, 9)] * 4).filter(lambda counts: counts[1] + counts[2] > 0))
def test_bootstrap_is_the_convolution(counts):
    both, b, c, neither = counts
    n = sum(counts)
    one, total = np.array([c, both + neither, b]) / n, np.ones(1)
    for _ in range(n):
        total = np.convolve(total, one)
    cumulative = np.cumsum(total)
    low, high = (float(np.searchsorted(cumulative, q + 1e-12) - n) / n for q in (0.025, 0.975))
    assert interval_of(*answers(*counts)) == pytest.approx((low, high), abs=1e-12)


def test_bootstrap_without_a_discordant_image_is_a_point():
    assert interval_of(*answers(5, 0, 0, 5)) == (0.0, 0.0)


@given(table)
def test_bootstrap_is_antisymmetric_and_holds_the_difference(counts):
    first, second = answers(*counts)
    low, high = interval_of(first, second)
    other_low, other_high = interval_of(second, first)
    step = 1 / len(first)  # the quantile of a lattice may sit on either side of a tie
    assert low - 1e-12 <= first.mean() - second.mean() <= high + 1e-12
    assert (low, high) == pytest.approx((-other_high, -other_low), abs=step + 1e-12)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_statsmodels(counts):
    from statsmodels.stats.proportion import proportion_confint

    assert wilson(*counts) == pytest.approx(proportion_confint(*counts, method="wilson"), abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-12)


def test_holm_of_nothing():
    assert holm([]) == []


# What n could have shown


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.sampled_from([0.05, 0.01, 0.001]))
def test_smallest_detectable_is_the_first_significant_count(n, alpha):
    significant = [k for k in range(1, n + 1) if binomtest(k, k).pvalue <= alpha]
    expected = significant[0] / n if significant else math.inf
    assert smallest_detectable(n, alpha=alpha) == expected


def test_six_images_of_153():
    assert smallest_detectable(153) == 6 / 153
    assert smallest_detectable(5) == math.inf


@settings(deadline=None, max_examples=10)
@given(st.integers(200, 2000), st.floats(0.1, 0.4))
def test_the_likely_difference_is_found_about_four_times_in_five(n, share):
    difference = smallest_detectable(n, share)
    generator = np.random.default_rng(0)
    weights = [(share + difference) / 2, (share - difference) / 2, 1 - share]
    draws = generator.multinomial(n, weights, size=2000)
    found = [mcnemar_of(b, c) <= 0.05 for b, c, _ in draws]
    assert 0.7 < np.mean(found) < 0.9  # the exact test is a little shyer than the approximation


def mcnemar_of(b, c):
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(b, c), int(b + c), 0.5))) if b + c else 1.0


def test_what_cannot_be_found_is_infinite():
    assert smallest_detectable(20, 0.0) == math.inf
    assert smallest_detectable(20, 0.05) == math.inf


# Pairs of runs


def test_pairs_hold_what_the_records_say(made_up):
    first, second = answers(40, 9, 1, 3)
    runs = [made_up(first), made_up(second, head="knn")]
    (pair,) = compare_pairs(runs)
    assert (pair.first, pair.second) == (runs[0].id, runs[1].id)
    assert pair.names == ("vgg16 fc7 logreg", "vgg16 fc7 knn")
    assert (pair.n, pair.only_first, pair.only_second) == (53, 9, 1)
    assert pair.difference == pytest.approx(8 / 53)
    assert pair.p == pair.p_corrected == pytest.approx(p_of(first, second))
    assert pair.interval == interval_of(first, second)
    assert pair.smallest_detectable == 6 / 53


def test_pairs_match_images_by_path_not_by_place(made_up):
    generator = np.random.default_rng(0)
    first, second = generator.random(60) < 0.8, generator.random(60) < 0.6
    order = generator.permutation(60)
    labels = np.arange(60) % 2
    paths = [f"{place}.jpg" for place in range(60)]
    shuffled = made_up(second[order], head="knn", labels=labels[order], paths=[paths[place] for place in order])
    (pair,) = compare_pairs([made_up(first, labels=labels, paths=paths), shuffled])
    assert pair.p == pytest.approx(p_of(first, second))


def test_runs_on_other_images_or_labels_are_not_paired(made_up):
    right = np.ones(20, bool)
    other_images = made_up(right, head="knn", paths=[f"other/{place}.jpg" for place in range(20)])
    paths = [f"{('ants', 'bees')[place % 2]}/{place:04d}.jpg" for place in range(20)]
    other_labels = made_up(right, head="lda", labels=(np.arange(20) + 1) % 2, paths=paths)
    assert compare_pairs([made_up(right), other_images, other_labels, made_up(right[:10], head="ridge")]) == []


def test_the_same_classes_in_another_order_are_the_same_labels(made_up):
    labels = np.arange(20) % 2
    paths = [f"{place}.jpg" for place in range(20)]
    first = made_up(np.ones(20, bool), labels=labels, paths=paths)
    second = made_up(np.ones(20, bool), labels=1 - labels, paths=paths, classes=("bees", "ants"), head="knn")
    assert len(compare_pairs([first, second])) == 1


def test_holm_is_over_all_pairs(made_up):
    generator = np.random.default_rng(1)
    runs = [made_up(generator.random(80) < 0.5 + place / 12, head=f"head{place}") for place in range(5)]
    pairs = compare_pairs(runs)
    assert len(pairs) == 10
    assert [pair.p_corrected for pair in pairs] == pytest.approx(holm([pair.p for pair in pairs]))
    planned = compare_planned(runs[0], runs[1:])
    assert [pair.p_corrected for pair in planned] == pytest.approx(holm([pair.p for pair in pairs[:4]]))


def test_a_pair_becomes_strict_json(made_up):
    (pair,) = compare_pairs([made_up([True, False]), made_up([True, True], head="knn")])
    values = json.loads(json.dumps(pair.to_dict(), allow_nan=False))
    assert values["smallest_detectable"] is None
    assert values["names"] == ["vgg16 fc7 logreg", "vgg16 fc7 knn"]


def test_fifty_runs_of_5000_images_are_quick(made_up):
    generator = np.random.default_rng(0)
    runs = [made_up(generator.random(5000) < 0.9, head=f"head{place}") for place in range(50)]
    for run in runs:
        _ = run.right
    start = time.perf_counter()
    assert len(compare_pairs(runs)) == 1225
    assert time.perf_counter() - start < 3  # about 0.5 s; the slack is for a busy machine


# The verdict


def fifty_fifty(n, only_first, only_second):
    return answers(n - only_first - only_second, only_first, only_second, 0)


def test_a_clear_win(made_up):
    head, arm = fifty_fifty(153, 20, 2)
    said = findings([made_up(arm, trainable="all", seconds={"fit": 400.0, "predict": 1.0}), made_up(head)])
    assert said[0] == "The cached head beats fine-tuning on 153 images; once cached, the head took 1/500 of the time."
    assert "151 of 153 right" in said[1]
    assert "20 are right only with the first, 2 only with the second: +11.8 points" in said[1]


def test_a_clear_loss(made_up):
    arm, head = fifty_fifty(153, 20, 2)
    said = findings([made_up(head), made_up(arm, trainable="all", seconds={"fit": 8.1, "predict": 0.0})])
    assert said[0] == "Fine-tuning beats the cached head on 153 images; once cached, the head took 1/10 of the time."
    assert "\N{MINUS SIGN}11.8 points" in said[1]


def test_a_clear_tie(made_up):
    head, arm = fifty_fifty(153, 4, 5)
    said = findings([made_up(head), made_up(arm, trainable="all", seconds={"fit": 324.0, "predict": 0.0})])
    assert said[0] == (
        "The cached head and fine-tuning cannot be told apart on 153 images; "
        "once cached, the head took 1/400 of the time."
    )
    assert "no difference under 3.9 points can be significant" in said[2]


@pytest.mark.parametrize("n", [4, 20, 59])
def test_too_few_images(made_up, n):
    head, arm = fifty_fifty(n, 2, 1)
    said = findings([made_up(head), made_up(arm, trainable="all")])
    assert said[0].startswith(f"{n} images are too few to say whether the cached head or fine-tuning is better")
    assert ("no result at all could be significant" in said[2]) == (n < 6)


def test_few_images_can_still_show_a_large_difference(made_up):
    head, arm = fifty_fifty(30, 14, 0)
    assert verdict([made_up(head), made_up(arm, trainable="all")]).startswith("The cached head beats fine-tuning")


@settings(deadline=None, max_examples=60)
@given(st.integers(6, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n // 2), st.integers(0, n // 2))))
def test_the_words_follow_from_the_test(made_up, counts):
    n, b, c = counts
    head, arm = fifty_fifty(n, b, c)
    said = findings([made_up(head), made_up(arm, trainable="all")])[0]
    significant = p_of(head, arm) <= 0.05
    assert ("beats" in said) == significant
    assert said.startswith("The cached head beats") == (significant and b > c)
    assert ("too few" in said) == (not significant and 6 / n > 0.1)
    assert ("cannot be told apart" in said) == (not significant and 6 / n <= 0.1)


def test_the_head_is_chosen_inside_train_not_on_the_evaluated_images(made_up):
    lucky = made_up([True] * 100, head="knn", selection=0.90)
    steady = made_up([True] * 95 + [False] * 5, head="logreg", selection=0.95)
    assert choose([lucky, steady]) is steady
    assert "chosen among 2 by its log loss inside train (0.050)" in verdict([lucky, steady])


def test_ties_inside_train_go_to_the_quicker(made_up):
    slow = made_up([True] * 100, head="forest", seconds={"fit": 9.0, "predict": 1.0})
    quick = made_up([False] * 100, head="logreg", seconds={"fit": 1.0, "predict": 1.0})
    assert choose([slow, quick]) is quick


def test_without_an_accuracy_inside_train_the_flattery_is_said(made_up):
    runs = [made_up([True] * 100, selection=None), made_up([True] * 90 + [False] * 10, head="knn", selection=0.99)]
    assert "which flatters it" in verdict(runs)


def test_an_arm_picked_on_the_evaluated_images_is_said(made_up):
    arms = [
        made_up([True] * 9 + [place > 0], trainable=arm, selection=None) for place, arm in enumerate(["head", "all"])
    ]
    said = verdict([made_up([True] * 10), *arms])
    assert "vgg16 finetune all is the best of 2 arms on the images it is judged on, which flatters it" in said


def test_the_extraction_is_counted_too(made_up):
    head = made_up([True] * 10, seconds={"extract": 39.0, "fit": 1.0, "predict": 0.0})
    said = verdict([head, made_up([True] * 10, trainable="all", seconds={"fit": 400.0, "predict": 0.0})])
    assert "once cached, the head took 1/400 of the time" in said
    assert "took 39 s, once, and with it the head took 1/10 of the time" in said


def test_without_fine_tuning_it_is_against_the_runner_up_and_the_baseline(made_up):
    head, runner = fifty_fifty(153, 4, 5)
    baseline = made_up([True, False] * 76 + [True], head="baseline", selection=0.5)
    said = verdict([baseline, made_up(head, selection=0.95), made_up(runner, head="knn", selection=0.94)])
    assert said.startswith("The cached head and the next best head cannot be told apart on 153 images.")
    assert "the most frequent class gets 77 of 153 right; vgg16 fc7 logreg is clearly better (p < 0.001)" in said
    assert "correction for 2 planned comparisons" in said


def test_a_head_no_better_than_the_baseline_is_said(made_up):
    head, baseline = fifty_fifty(100, 6, 5)
    said = verdict([made_up(head), made_up(baseline, head="baseline")])
    assert "cannot be told apart from that (p = 1)" in said


def test_one_run_alone(made_up):
    said = verdict([made_up([True] * 9 + [False])])
    assert said.startswith("vgg16 fc7 logreg gets 9 of 10 right (90.0 %, 95 % interval 59.6 to 98.2 %)")
    assert "too few images" in said
    assert "no other run" in said


def test_fine_tuning_on_other_images_is_no_rival(made_up):
    arm = made_up([True] * 20, trainable="all", paths=[f"other/{place}" for place in range(20)])
    assert "no fine-tuning run on the same images" in verdict([made_up([True] * 20), arm])


def test_random_weights_are_said(made_up):
    assert "The weights of vgg16 are random" in verdict([made_up([True] * 20, source="random:0")])


def test_no_runs_name_the_next_command():
    with pytest.raises(DataError, match="fc7 compare DATA"):
        verdict([])


# Break-even


def test_break_even_by_hand(made_up):
    head = made_up([True] * 10, seconds={"extract": 100.0, "fit": 1.0, "predict": 0.0})
    epochs = [{"epoch": place, "train_loss": 1.0} for place in range(1, 11)]
    arm = made_up([True] * 10, trainable="all", curves=epochs, seconds={"fit": 40.0, "predict": 1.0})
    again, runs, epochs = break_even([head, arm])
    assert (again.instead_of, again.after) == ("extracting again", 1)
    # 3 runs of fine-tuning cost 123 s; extraction and 3 heads 103 s. 2 runs: 82 s against 102 s.
    assert (runs.instead_of, runs.unit, runs.after) == ("vgg16 finetune all", "heads or folds", 3)
    # 26 epochs of 4 s are 104 s; extraction and one head 101 s.
    assert (epochs.unit, epochs.each, epochs.after) == ("epochs", 4.0, 26)


@settings(deadline=None)
@given(st.floats(0.1, 1e4), st.floats(0.01, 1e3), st.floats(0.01, 1e3))
def test_break_even_is_the_first_number_of_uses_that_costs_less(made_up, extract, fit, other):
    head = made_up([True], seconds={"extract": extract, "fit": fit, "predict": 0.0})
    row = break_even([head, made_up([True], trainable="all", seconds={"fit": other, "predict": 0.0})])[1]
    if row.after is None:
        assert other <= fit
    else:
        assert extract + row.after * fit <= row.after * other * (1 + 1e-6)
        fewer = row.after - 1
        assert extract + fewer * fit >= fewer * other * (1 - 1e-6)


def test_a_cache_that_was_never_timed_has_no_break_even(made_up):
    assert break_even([made_up([True], seconds={"extract": 0.0, "fit": 1.0, "predict": 0.0})]) == []


def test_other_backbones_do_not_pay_for_a_cache(made_up):
    rows = break_even([made_up([True]), made_up([True], backbone="alexnet", trainable="all")])
    assert [row.instead_of for row in rows] == ["extracting again"]


# Learning curve


def test_learning_curve_draws_seeded_stratified_subsets():
    labels, drawn = np.array(list("aaaaaaaabbbbcccccc")), []

    def score(rows):
        drawn.append(tuple(rows))
        return len(rows) / 100

    curve = accuracy_by_size(score, labels, [1, 3, 9], repeats=4)
    assert [point["per_class"] for point in curve] == [1, 3]  # 9 is more than the 4 of b
    assert curve[1] == {"per_class": 3, "accuracy": pytest.approx(0.09), "low": 0.09, "high": 0.09, "repeats": 4}
    assert all(np.unique(labels[list(rows)], return_counts=True)[1].tolist() == [3] * 3 for rows in drawn[4:])
    assert len(set(drawn)) > 4
    first = drawn[4:]
    drawn.clear()
    accuracy_by_size(score, labels, [3], repeats=4)
    assert drawn == first  # other sizes change nothing


def test_learning_curve_bands_are_percentiles():
    scores = iter(np.linspace(0, 1, 21))
    (point,) = accuracy_by_size(lambda rows: float(next(scores)), np.arange(6) % 2, [2], repeats=21)
    assert (point["accuracy"], point["low"], point["high"]) == pytest.approx((0.5, 0.05, 0.95))


def test_learning_curve_of_too_small_classes_says_the_counts():
    with pytest.raises(DataError, match=r"\[5, 10\].*smallest class has 2"):
        accuracy_by_size(lambda rows: 1.0, np.arange(4) % 2, [5, 10])


# Words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.0042, "4.2 ms"),
        (0.054, "54 ms"),
        (60, "1 min"),
        (7200, "2 h"),
        (0.8, "0.80 s"),
        (9.99, "10.0 s"),
        (41.3, "41 s"),
        (320, "5 min 20 s"),
        (7501, "2 h 5 min"),
    ],
)
def test_duration(seconds, said):
    assert duration(seconds) == said


def test_ratio():
    assert ratio(1, 401) == "1/400 of"
    assert ratio(2, 15) == "1/7.5 of"
    assert ratio(1, 12345) == "1/12,000 of"
    assert ratio(3, 1) == "3.0 times"
    assert ratio(0, 1) == "an unmeasured share of"


def test_probability_and_points():
    assert [probability(p) for p in (0.0004, 0.0312, 0.73, 1.0)] == ["p < 0.001", "p = 0.031", "p = 0.73", "p = 1"]
    assert points(-0.0131) == "\N{MINUS SIGN}1.3"
    assert points(0.0392, sign=False) == "3.9"
    assert points(-0.0001) == points(0.0) == "0.0"
