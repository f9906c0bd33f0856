"""Settings: the doors have their names and defaults, and what nothing can be fitted with is refused."""

import inspect
from dataclasses import MISSING, fields

import pytest

from fc7.classify.finetuning.finetune import finetune
from fc7.classify.fitting.compare import compare
from fc7.classify.fitting.fit import fit
from fc7.classify.heads.preparation import PREPARATIONS
from fc7.classify.records.runs import run_id
from fc7.classify.settings import FitSettings, ProtocolSettings, Training
from fc7.cli import parser
from fc7.errors import UsageError
from fc7.extract.commands.options import given_settings


def defaults(settings):
    return {field.name: field.default for field in fields(settings)}


def of_door(door):
    parameters = inspect.signature(door).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}


@pytest.mark.parametrize("door", [fit, compare])
def test_the_doors_have_every_setting_with_its_default(door):
    assert defaults(FitSettings).items() <= of_door(door).items()


def test_fine_tuning_has_the_defaults_of_what_it_shares():
    shared = defaults(ProtocolSettings).items() & of_door(finetune).items()
    assert {name for name, _ in shared} == {"on", "cross_validate", "allow_leakage"}


def test_every_setting_has_a_default():
    assert all(field.default is not MISSING for kind in (FitSettings, Training) for field in fields(kind))


@pytest.mark.parametrize("words", [["fit", "x", "-o", "x.fc7"], ["compare", "x", "-o", "x"]])
def test_what_was_not_given_is_left_to_the_settings(words):
    arguments = parser(words).parse_args(words)
    assert given_settings(arguments, FitSettings) == {}


FITTING = "--on val --epochs 3 --random-state 7 --allow-leakage --class-weight balanced --n-jobs -1"
TRAINING = "--train-batch 4 --epochs 3 --random-state 7 --learning-rate 0.1 --optimiser adam"


def test_options_are_read_by_the_names_of_the_settings():
    arguments = parser(["fit"]).parse_args(["fit", "x", "-o", "x.fc7", *FITTING.split()])
    assert FitSettings(**given_settings(arguments, FitSettings)) == FitSettings(
        on="val", epochs=3, random_state=7, allow_leakage=True, class_weight="balanced", n_jobs=-1
    )
    arguments = parser(["finetune"]).parse_args(["finetune", "x", "-o", "x", *TRAINING.split()])
    assert Training(**given_settings(arguments, Training)) == Training(
        batch_size=4, epochs=3, random_state=7, learning_rate=0.1, optimiser="adam"
    )


def test_the_id_of_a_training_stays_what_it_is():
    """Checkpoints and records of before are found again."""
    identity = run_id({"training": vars(Training(epochs=3, patience=2))})
    assert identity == "7a23b96aaf2e942860d37efdbc4fd1c732e6bf6cf2a1df068188908be43af75f"


def test_a_training_of_before_that_named_no_settings_stays_what_it_is():
    assert Training(3, 8, 0.1) == Training(epochs=3, batch_size=8, learning_rate=0.1)


def test_preparations_are_those_that_there_are():
    (choices,) = (field.metadata["choices"] for field in fields(FitSettings) if field.name == "preparation")
    assert set(choices) == set(PREPARATIONS)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (FitSettings, {"folds": 1}, "folds 1: two or more"),
        (FitSettings, {"cross_validate": 1}, "cross_validate 1: two or more"),
        (FitSettings, {"on": "val", "cross_validate": 3}, "give one"),
        (FitSettings, {"epochs": 0}, "epochs 0: one or more"),
        (FitSettings, {"preparation": "x"}, "preparation 'x' is not one of unit, scale, standard"),
        (FitSettings, {"class_weight": "x"}, "balanced, or a dict"),
        (Training, {"optimiser": "x"}, "optimiser 'x' is not one of sgd, adam"),
        (Training, {"schedule": "x"}, "schedule 'x' is not one of cosine, step, constant"),
        (Training, {"held_out": 1}, "too small"),
    ],
)
def test_what_makes_no_sense_is_refused(kind, options, said):
    with pytest.raises(UsageError, match=said):
        kind(**options)
