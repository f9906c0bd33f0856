"""The words of the verdict follow from the tests."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired import answers, grouped, p_of

from fc7.classify.commands.tables import runs_table
from fc7.classify.records.contest import contest
from fc7.classify.reports.report import markdown, report
from fc7.classify.reports.verdict import MOST_FREQUENT, findings
from fc7.errors import DataError


def verdict(runs):
    """Return the sentences of the verdict as a person reads them."""
    return " ".join(findings(runs))


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


@settings(max_examples=40)
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


def test_without_an_accuracy_inside_train_the_flattery_is_said(made_up):
    runs = [made_up([True] * 100, selection=None), made_up([True] * 90 + [False] * 10, head="knn", selection=0.99)]
    assert "which flatters it" in verdict(runs)


def test_an_arm_picked_on_the_evaluated_images_is_said(made_up):
    arms = [
        made_up([True] * 9 + [place > 0], trainable=arm, selection=None) for place, arm in enumerate(["head", "all"])
    ]
    said = verdict([made_up([True] * 10), *arms])
    assert "Of the 2 fine-tuning arms, vgg16 finetune all is the hardest to beat on the images" in said


def test_the_extraction_is_counted_too(made_up):
    head = made_up([True] * 10, seconds={"extract": 39.0, "fit": 1.0, "predict": 0.0})
    said = verdict([head, made_up([True] * 10, trainable="all", seconds={"fit": 400.0, "predict": 0.0})])
    assert "once cached, the head took 1/400 of the time" in said
    assert (
        "39 s, once: the first head on these images takes 1/10 of the time with it, each further one the share " in said
    )


def test_without_fine_tuning_it_is_against_the_runner_up_and_the_baseline(made_up):
    head, runner = fifty_fifty(153, 4, 5)
    baseline = made_up([True, False] * 76 + [True], head="baseline", selection=0.5)
    said = verdict([baseline, made_up(head, selection=0.95), made_up(runner, head="knn", selection=0.94)])
    assert said.startswith("“vgg16 fc7 logreg” and “knn” cannot be told apart on 153 images.")
    assert f"answering {MOST_FREQUENT} gets 77 of 153 right; vgg16 fc7 logreg is clearly better (p < 0.001)" in said
    assert "correction for 2 planned comparisons" in said


def test_a_head_no_better_than_the_baseline_is_said(made_up):
    head, baseline = fifty_fifty(100, 6, 5)
    said = verdict([made_up(head), made_up(baseline, head="baseline")])
    assert f"it cannot be told apart from the baseline, which always answers {MOST_FREQUENT} (" in said


def test_one_run_alone(made_up):
    said = verdict([made_up([True] * 9 + [False])])
    assert said.startswith("vgg16 fc7 logreg gets 9 of 10 right (90.0 %, 95 % interval 57.4 to 100.0 %)")
    assert "too few images" in said
    assert "no other run" in said


def test_fine_tuning_on_other_images_is_no_rival(made_up):
    arm = made_up([True] * 20, trainable="all", paths=[f"other/{place}" for place in range(20)])
    said = verdict([made_up([True] * 20), arm])
    assert said.count("there is no other run on the same images") == 2
    assert "beats" not in said


def test_random_weights_are_said(made_up):
    assert "The weights of vgg16 are random" in verdict([made_up([True] * 20, source="random:0")])


def test_no_runs_name_the_next_command():
    with pytest.raises(DataError, match="fc7 compare DATA"):
        verdict([])


@pytest.mark.parametrize(("number", "few"), [(10, True), (40, False)])
def test_groups_are_said_wherever_images_are_counted(made_up, tmp_path, number, few):
    first, second = answers(180, 40, 2, 18)
    groups = np.arange(240) * number // 240
    runs = [grouped(run, groups) for run in (made_up(first), made_up(second, head="knn", selection=0.8))]
    sentences = " ".join(findings(runs))
    assert f"240 images in {number} groups" in sentences
    assert f"exact test over {number} groups" in sentences
    assert f"count the {number} groups" in sentences
    assert ("groups are few: intervals can be too short" in sentences) == few
    page = report(runs, tmp_path / "page.html").read_text()
    assert f"240 images in {number} groups judged" in page
    for text in page, runs_table(runs), markdown(runs):
        assert f"240 in {number} groups" in text
    assert f"of 240 images in {number} groups" in repr(runs[0])


def test_folds_are_said(made_up):
    first, second = answers(180, 40, 2, 18)
    runs = [made_up(first), made_up(second, head="knn", selection=0.8)]
    for run in runs:
        run.predictions["fold"] = [1 + place % 10 for place in range(240)]
    assert "allow for 2.11 times the variance of independent images" in " ".join(findings(runs))
    assert "allow for" not in " ".join(findings([made_up(first), made_up(second, head="knn")]))


def test_where_accuracy_misleads_the_headline_names_the_balanced_accuracy_of_both(made_up):
    labels = np.repeat([0, 1], [120, 30])
    always, fair = made_up(labels == 0, labels=labels, selection=0.95), made_up(np.arange(150) % 5 > 0, labels=labels)
    said = findings([always, replace(fair, head="knn", id="1" * 64)])[0]
    assert said.startswith("By accuracy, “vgg16 fc7 logreg”")
    assert "; balanced accuracy of “vgg16 fc7 logreg” is 50.0 %, of “knn” 80.0 %; " in said
    assert said.endswith("with “vgg16 fc7 logreg” no image of bees is right (0 of 30).")


def test_the_level_of_an_interval_is_said(made_up):
    rows = answers(200, 10, 9, 21)
    runs = [made_up(rows[0]), *(made_up(rows[1], head=name, selection=0.8) for name in ("knn", "ridge", "lda"))]
    (pair, *_) = (test.pair for test in contest(runs).comparisons)
    assert 1 - pair.level == pytest.approx(1 - 0.05 / 3)
    assert pair.confidence == "98.3 %"
    assert "(98.3 % interval " in findings(runs)[1]
