"""What records say of how they were made: what was done, what tells two of them apart, and what every fold chose."""

from dataclasses import replace
from itertools import combinations

import pytest

from fc7.classify.commands.tables import run_lines, runs_table
from fc7.classify.pages.text import named
from fc7.classify.records.description import chosen, labels, notes, on, protocol, titles
from fc7.classify.reports.report import csv_table
from fc7.classify.reports.run_table import run_rows
from fc7.classify.reports.verdict import findings

RIGHT = [True] * 8 + [False] * 2


def in_folds(made_up, folds, **others):
    return made_up(RIGHT, folds=folds, data={"evaluated": "10-fold cross-validation"}, **others)


DIFFERING = {
    "class weights": ({"done": {"class_weight": "balanced"}}, "class weights balanced"),
    "other class weights": ({"done": {"class_weight": {"ants": 3.0, "bees": 1.0}}}, "class weights ants 3, bees 1"),
    "preparation": ({"done": {"preparation": "scale"}}, "rows on one scale"),
    "device": ({"done": {"device": "cuda:0"}}, "device cuda:0"),
    "leakage": ({"done": {"leaked": 4}}, "4 leaked images"),
    "seed": ({"done": {"random_state": 7}}, "seed 7"),
    "views": ({"done": {"views": 4, "average_views": True}}, "4 more views, averaged"),
}


@pytest.mark.parametrize("name", DIFFERING)
def test_runs_that_differ_in_one_setting_have_different_names_everywhere(made_up, name):
    change, said = DIFFERING[name]
    first, second = made_up(RIGHT), made_up(RIGHT, **change)
    names = labels([first, second])
    assert names[first.id] != names[second.id]
    assert said in names[second.id]
    assert said in protocol([second])
    texts = {cells[2] for cells in run_rows([first, second])[1]}
    assert len(texts) == 2
    table, sentences = runs_table([first, second]), " ".join(findings([first, second]))
    for text in (table, csv_table([first, second]), run_lines([first, second])):
        assert said.replace(", ", " ") in text.replace(", ", " ")
    assert said in sentences or name in ("leakage", "seed")


def test_runs_that_differ_in_folds_have_different_names(made_up, fold):
    runs = [
        made_up(RIGHT, folds=[fold(10 // k) for _ in range(k)], data={"evaluated": f"{k}-fold cross-validation"})
        for k in (2, 5)
    ]
    assert list(labels(runs).values()) == [
        "vgg16 fc7 logreg (evaluated in 2-fold cross-validation, fitted on 244 and evaluated on 5 images in each fold)",
        "vgg16 fc7 logreg (evaluated in 5-fold cross-validation, fitted on 244 and evaluated on 2 images in each fold)",
    ]
    inner = [made_up(RIGHT, folds=[fold(10, inner_folds=k)]) for k in (3, 5)]
    assert [text[-20:] for text in labels(inner).values()] == ["(choices in 3 folds)", "(choices in 5 folds)"]


def test_a_mode_of_resizing_is_said_where_it_is_not_the_usual_one(made_up):
    first, second = made_up(RIGHT), made_up(RIGHT, seed=1)
    squashed = replace(second, recipe=second.recipe | {"transform": {"resize_mode": "squash"}})
    assert list(labels([first, squashed]).values()) == ["vgg16 fc7 logreg", "vgg16 fc7 logreg (resize squash)"]
    assert "resize" not in protocol([first])
    joint = replace(second, recipe={**second.recipe, "parts": [{"transform": {}}, squashed.recipe]})
    assert "resize crop + squash" in protocol([joint])


def test_what_no_setting_tells_apart_gets_its_id(made_up):
    runs = [made_up(RIGHT, seed=seed) for seed in range(3)]
    assert list(labels(runs).values()) == [f"vgg16 fc7 logreg #{run.id[:6]}" for run in runs]


def test_no_two_of_many_have_one_name(made_up, old):
    runs = [made_up(RIGHT, **change) for change, _ in DIFFERING.values()] + [made_up(RIGHT), made_up(RIGHT, head="knn")]
    names = labels([*runs, old(runs[0])])
    assert all(one != other for one, other in combinations(names.values(), 2))


def test_the_folds_done_are_said_not_those_planned(made_up, fold):
    run = in_folds(made_up, [fold(3, fitted=6), fold(3, fitted=6), fold(4, fitted=5)])
    assert on(run) == "in 3-fold cross-validation"
    assert protocol([run]) == (
        "Evaluated in 3-fold cross-validation: 10 images; fitted on 5 to 6 and evaluated on 3 to 4 images in each "
        "fold; no class weights; rows of unit length; device cpu; choices in 5 folds; seed 0."
    )
    assert protocol([run]) in findings([run])
    for text in (runs_table([run]), run_lines([run])):
        assert protocol([run]) in text
        assert "10-fold" not in text


def test_a_split_in_a_sentence(made_up):
    runs = [made_up(RIGHT), made_up(RIGHT, head="knn", done={"class_weight": "balanced"})]
    assert protocol(runs) == (
        "Evaluated on val: 10 images; fitted on 244 images; rows of unit length; device cpu; choices in 5 folds; "
        "seed 0."
    )


def test_what_only_heads_or_only_fine_tuning_have_is_said_of_them_alone(made_up, fold):
    tuned = fold(2, inner_folds=None, held_out=4)
    done = {"preparation": None, "augment": True}
    runs = [made_up([True, False]), made_up([True, True], trainable="all", done=done, folds=[tuned])]
    assert protocol(runs) == (
        "Evaluated on val: 2 images; fitted on 244 images; no class weights; device cpu; seed 0; "
        "heads: rows of unit length, choices in 5 folds; fine-tuning: random crops and mirror images."
    )
    assert "heads:" not in protocol(runs[:1]) and "fine-tuning:" not in protocol(runs[1:])


def test_leaked_images_are_in_the_first_sentence_the_table_and_the_notes(made_up):
    runs = [made_up(RIGHT, head=head, done={"leaked": 4}) for head in ("logreg", "knn")]
    assert "(4 of them fitted on, too: this says nothing of new images)" in findings(runs)[0]
    assert "4 leaked images" in protocol(runs)
    assert notes(runs[0])[0] == "optimistic: 4 evaluated images are fitted on, too"
    assert "optimistic" in run_rows(runs)[1][0][-1]
    assert "gets 8 of 10 right (4 of them fitted on, too" in findings(runs[:1])[0]


def test_every_fold_speaks(made_up, fold):
    choices = [
        fold(5, hyperparameters={"C": 0.01, "penalty": "l2"}, unconverged=2),
        fold(5, hyperparameters={"C": 1.0, "penalty": "l1"}, best_epoch=4, epochs=12),
    ]
    said = ["did not converge: 2 of 12 fits, in 1 of 2 folds"]
    run = in_folds(made_up, choices, hyperparameters={"C": 0.1, "penalty": "l2"}, notes=said)
    assert named(chosen(run)) == "C = 0.01 to 1, penalty = l2, l1, best_epoch = 4, epochs = 12"
    assert chosen(run)["C"] == "0.01 to 1"
    assert notes(run) == said
    assert "C = 0.01 to 1" in csv_table([run])


def test_an_old_record_says_what_is_unknown(made_up, old):
    run = old(made_up(RIGHT, data={"evaluated": "10-fold cross-validation"}))
    assert on(run) == "in cross-validation, its number of folds unknown"
    assert protocol([run]).endswith("what else was done is unknown.")
    assert notes(run) == ["record of an earlier fc7: what was done and predicted is unknown"]


def test_sets_of_images_are_told_apart(made_up):
    one, other = made_up(RIGHT), made_up(RIGHT, paths=[f"other/{place}" for place in range(10)])
    assert titles([[one]]) == ["made-up on val, 10 images"]
    assert titles([[one], [other]]) == [f"made-up on val, 10 images #{run.images[:6]}" for run in (one, other)]
