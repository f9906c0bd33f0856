"""What runs ask, and the one family of comparisons that answers it, on any records."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired import grouped

from fc7.classify.commands.tables import pairs, runs_table
from fc7.classify.evaluation.effective_size import ALPHA
from fc7.classify.records.contest import contest
from fc7.classify.records.description import labels
from fc7.classify.reports import sections
from fc7.classify.reports.report import markdown, report
from fc7.classify.reports.run_table import run_rows
from fc7.classify.reports.verdict import findings


@st.composite
def studies(draw, made_up):
    """Draw runs on the same images: several heads, perhaps in groups or folds, of any skill."""
    n, seed = draw(st.integers(4, 150)), draw(st.integers(0, 10_000))
    generator, hard = np.random.default_rng(seed), np.random.default_rng(seed + 1).random(n)
    skills = draw(st.lists(st.sampled_from([0.3, 0.6, 0.9, 0.95, 1.0]), min_size=2, max_size=6))
    noise = draw(st.sampled_from([0.0, 0.1, 0.5]))
    groups = draw(st.none() | st.integers(2, n))
    folds = draw(st.sampled_from([1, 2, 5]))
    arms = draw(st.integers(0, 2))
    runs = []
    for place, skill in enumerate(skills):
        right = hard + noise * generator.standard_normal(n) <= skill
        name = {"trainable": f"arm{place}"} if place < arms else {"head": f"head{place}"}
        if draw(st.booleans()):
            name["backbone"] = "alexnet"
        run = made_up(right, selection=0.5 + skill / 3, **name)
        if groups:
            run = grouped(run, np.arange(n) * groups // n)
        if folds > 1:
            run.predictions["fold"] = [1 + image % folds for image in range(n)]
        runs.append(run)
    return [*runs, made_up(np.arange(n) % 2 == 0, head="baseline", selection=0.1)] if groups is None else runs


@settings(max_examples=40)
@given(st.data())
def test_interval_test_and_what_n_could_show_never_contradict_each_other(made_up, data):
    compared = contest(data.draw(studies(made_up)))
    for test in compared.comparisons:
        pair, (low, high) = test.pair, test.pair.interval
        assert pair.clear == (pair.p_corrected <= ALPHA)
        assert pair.p <= pair.p_corrected
        assert (low <= 0 <= high) == (not pair.clear)
        assert -1 <= low <= pair.difference <= high <= 1
        assert test.won == (pair.clear and low > 0)
        assert test.lost == (pair.clear and high < 0)
        if pair.clear:
            assert abs(pair.difference) >= pair.smallest_detectable - 1e-12
            assert pair.p <= pair.level * (1 + 1e-9)


@settings(max_examples=25)
@given(st.data())
def test_all_outputs_have_the_same_tests(made_up, data):
    runs = data.draw(studies(made_up))
    compared = contest(runs)
    planned = {frozenset((test.pair.first, test.pair.second)): test for test in compared.comparisons if not test.anew}
    for row in pairs(runs):
        test = planned.get(frozenset((row["first"], row["second"])))
        assert row["planned"] == (test is not None)
        assert row["p_corrected"] == (test.pair.p_corrected if test else None)
        assert row["interval"] == (list(test.pair.interval) if test else None)
    shown = sections.tests(compared)["planned"]
    assert {id(test) for test in shown} == {id(test) for test in compared.comparisons}
    said = findings(runs)[0]
    about = compared.of(compared.question) if compared.question else list(compared.comparisons)
    assert ("beat" in said) == any(test.pair.clear for test in about)


VARIANTS = {
    "done": [
        {},
        {"class_weight": "balanced"},
        {"preparation": "scale"},
        {"random_state": 3},
        {"leaked": 2},
        {"views": 4},
    ],
    "data": [{}, {"fingerprint": "1" * 64}, {"name": "other", "fingerprint": "2" * 64}],
    "head": ["logreg", "logreg (seed 3)", "knn"],
    "backbone": ["vgg16", "vgg16 fc7"],
    "layer": ["fc7", "gap"],
    "source": ["torchvision", "random:0", "file:/home/x/w.pth"],
    "seed": [0, 1],
}


ONE = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in VARIANTS.items()})


@settings(max_examples=25)
@given(st.lists(ONE, min_size=2, max_size=8))
def test_no_two_rows_have_one_name(made_up, tmp_path_factory, drawn):
    runs = list({run.id: run for run in (made_up([True] * 8 + [False] * 2, **one) for one in drawn)}.values())
    names = labels(runs)
    assert len(set(names.values())) == len(runs)
    assert len({(row[0], row[1], row[2]) for row in run_rows(runs)[1]}) == len(runs)
    cells = [tuple(line.split(" | ")[:3]) for line in markdown(runs).split("\n\n")[2].splitlines()[2:]]
    assert len(set(cells)) == len(runs)
    compared = contest(runs)
    tests = [frozenset(test.pair.names) for test in compared.comparisons]
    assert all(len(two) == 2 for two in tests)
    sides = [(test.about, test.sides[1]) for test in compared.comparisons]
    assert len(set(sides)) == len(sides)


def test_what_divides_heads_is_the_question(made_up):
    right = np.arange(100) < 90
    for change, question in (
        ({"head": "knn"}, "heads"),
        ({"done": {"class_weight": "balanced"}}, "settings"),
        ({"layer": "gap"}, "layers"),
        ({"source": "random:0"}, "backbones"),
        ({"backbone": "alexnet"}, "backbones"),
        ({"data": {"fingerprint": "1" * 64}}, "data"),
        ({"trainable": "all"}, "arms"),
        ({"done": {"random_state": 1}}, ""),
        ({"done": {"leaked": 3}}, ""),
    ):
        assert contest([made_up(right), made_up(right, **change)]).question == question


def test_heads_without_class_weights_are_no_setting_of_their_own(made_up):
    right = np.arange(100) < 90
    runs = [made_up(right, done={"class_weight": "balanced"}), made_up(right, head="knn")]
    assert contest(runs).question == "heads"


def test_every_arm_is_planned_and_the_headline_is_about_the_hardest_to_beat(made_up):
    """The arm of the least log loss is beaten by the head, and another one beats it."""
    head = made_up(np.arange(300) < 240)
    arms = [
        made_up(np.arange(300) < count, trainable=name, selection=inside)
        for name, count, inside in (("head", 200, 0.95), ("all", 290, 0.8))
    ]
    said = findings([head, *arms])[0]
    assert said.startswith(
        "“vgg16 finetune all” beats the cached head, which beats “vgg16 finetune head”, on 300 images"
    )


def test_leaked_and_old_runs_are_left_out_and_counted(made_up, old):
    right = np.arange(100) < 90
    runs = [made_up(right), made_up(right, head="knn"), made_up(right, head="lda", done={"leaked": 3})]
    said = " ".join(findings([*runs, old(made_up(right, head="ridge"))]))
    assert "1 of an earlier fc7, whose records do not say what was predicted; 1 evaluated on images that were" in said


def test_the_figures_on_top_are_those_of_the_difference_beside_them(made_up, fold):
    """In cross-validation too: what is shown, what is tested and what is said are the same predictions."""
    generator = np.random.default_rng(0)
    runs = []
    for place, backbone in enumerate(["vgg16", "vgg16", "alexnet", "alexnet"]):
        right = generator.random(100) < 0.9 - 0.1 * (place > 1)
        losses = [fold(20, 0.7 + 0.02 * ((place + number) % 2)) for number in range(5)]
        run = made_up(right, head=f"head{place % 2}", backbone=backbone, folds=losses)
        run.predictions["fold"] = [1 + image % 5 for image in range(100)]
        runs.append(run)
    for members in (runs, runs[:2], [*runs[:2], made_up(generator.random(100) < 0.7, trainable="all")]):
        first, second, *_ = sections.sides(contest(members))
        pair = contest(members).main.pair
        assert first["metrics"]["correct"] - second["metrics"]["correct"] == pair.only_first - pair.only_second


@pytest.mark.parametrize("groups", [5, 12])
def test_where_nothing_differs_the_interval_is_said_in_words(made_up, groups):
    right = np.arange(60) % 10 > 0
    runs = [grouped(made_up(right, head=head), np.arange(60) * groups // 60) for head in ("logreg", "knn")]
    said = " ".join(findings(runs))
    assert "they differ on no image. So few cannot rule out a difference of less than" in said
    assert "right only with" not in said


def test_images_of_two_sets_are_counted(made_up, tmp_path):
    few = made_up(np.arange(30) < 20, data={"fingerprint": "1" * 64})
    many = made_up(np.arange(60) < 50)
    said = " ".join(findings([few, many]))
    assert "All of these images are in “made-up on val, 60 images”, too" in said
    page = " ".join(report([few, many], tmp_path / "page.html").read_text().split())
    assert page.count("All of these images are in “made-up on val, 60 images”, too") == 2
    assert "2 sets of images, which share images, each judged by itself" in page
    assert page.count("How to read this page</h2>") == 1
    assert "30 of these" not in runs_table([many])


def test_two_of_one_name_from_elsewhere_have_two_names_in_the_headline(made_up):
    runs = [
        made_up(np.arange(100) < count, backbone="elsewhere", layer="", head="theirs", selection=None, folds=[])
        for count in (90, 91)
    ]
    first, second = (
        labels(runs)[run.id].removeprefix("elsewhere ") for run in sorted(runs, key=lambda run: -run.metrics["correct"])
    )
    assert (
        findings(runs)[0]
        == f"“{first}” (from elsewhere) and “{second}” (from elsewhere) cannot be told apart on 100 images."
    )
    assert findings([made_up([True]), made_up([False], head="knn")])[0].startswith("1 image is too few to say")
