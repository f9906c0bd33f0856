"""One prediction: its probabilities are a dict when they are asked for, and a number for each class until then."""

import copy
import pickle
import sys
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fc7.classify.bundles.answers import AnswerRules
from fc7.classify.bundles.prediction import ByClass, Prediction, Predictions, compact


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)))
def test_float32_keeps_the_six_digits_and_the_order(probability):
    kept = compact(probability)
    assert kept.dtype == np.float32
    assert [round(float(share), 6) for share in kept] == probability.round(6).tolist()
    names = {f"class {place}": place for place in range(len(kept))}
    shares = ByClass(names, kept, int(probability.argmax())).most_probable()
    assert shares == {name: round(share, 6) for name, share in zip(names, probability.tolist(), strict=True)}
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


@given(arrays(np.float64, 20, elements=st.floats(0, 1), unique=True))
def test_the_answer_is_the_first_class(probability):
    one = AnswerRules([f"class {place}" for place in range(20)]).prediction("a.jpg", probability, None)
    assert [one.label, one.probability] == [*next(iter(one.probabilities.items()))]
    assert one.label == f"class {probability.argmax()}", "as the head says, however near another class is"


def test_classes_that_float32_cannot_tell_apart_are_in_the_order_of_float64():
    one = AnswerRules(["ants", "bees"]).prediction("a.jpg", np.array([0.49999999, 0.50000001]), None)
    assert (one.label, one.probabilities) == ("bees", {"bees": 0.5, "ants": 0.5})
    assert next(iter(one.probabilities)) == "bees"


def test_probabilities_are_a_dict_of_their_own():
    one = AnswerRules(["ants", "bees"]).prediction("a.jpg", np.array([0.25, 0.75]), None)
    assert type(one.probabilities) is dict
    assert list(one.probabilities.items()) == [("bees", 0.75), ("ants", 0.25)]
    one.probabilities.clear()
    by_hand = Prediction("a.jpg", "bees", 0.75, {"bees": 0.75, "ants": 0.25}, sure=True)
    for same in (one, by_hand, copy.deepcopy(one), pickle.loads(pickle.dumps(one)), replace(one, path="a.jpg")):
        assert same == one
        assert same.to_dict() == one.to_dict()
    assert Prediction("b.jpg", rejected="empty").probabilities == {}


def test_many_predictions_take_a_number_for_each_class():
    classes = 1000
    rules = AnswerRules([f"class {place}" for place in range(classes)])
    some = Predictions(rules.prediction("a.jpg", np.full(classes, 1 / classes), None) for _ in range(20))
    held = [vars(one)["_by_class"] for one in some]
    assert {one.places is held[0].places for one in held} == {True}
    assert {one.probabilities.nbytes for one in held} == {4 * classes}
    assert max(sys.getsizeof(value) for one in some for value in vars(one).values()) < 4 * classes
