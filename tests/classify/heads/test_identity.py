"""The identity of heads that are not fc7's: other code is another head, and the same code is the same one."""

import logging
import threading

import numpy as np
import pytest
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from fc7.classify.heads import Ridge
from fc7.classify.heads.table import HEADS, Head, find_head, find_heads


def times(number):
    return lambda rows: rows * number


def limited(depth):
    class Limited(DecisionTreeClassifier):
        def fit(self, X, y):
            self.max_depth = depth
            return super().fit(X, y)

    return Limited()


OWN = {
    "the function that builds it": lambda value: Head("mine", lambda seed: DecisionTreeClassifier(max_depth=value)),
    "a function among its parameters": lambda value: make_pipeline(
        FunctionTransformer(times(value)), DecisionTreeClassifier()
    ),
    "its class": limited,
    "an array that its repr abbreviates": lambda value: GaussianNB(priors=np.linspace(0, value, 2000) ** 2),
}


@pytest.mark.parametrize("made", OWN.values(), ids=OWN)
def test_what_a_head_does_is_part_of_it(made):
    one, again, other = (find_head(made(value)).identity for value in (1, 1, 2))
    assert one == again != other
    assert len(find_heads([made(1), made(2)])) == 3, "two, and the baseline"


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(C=3.0, class_weight={0: 1.0, 1: 2.0}),
        make_pipeline(StandardScaler(), Ridge(alpha=2.0)),
        VotingClassifier([("a", GaussianNB(priors=np.array([0.3, 0.7]))), ("b", DecisionTreeClassifier())]),
        make_pipeline(OneHotEncoder(dtype=np.float32), GaussianNB()),
        make_pipeline(FunctionTransformer(np.sqrt), GaussianNB()),
    ],
)
def test_estimators_of_libraries_are_known_by_their_parameters(estimator):
    """Records of before have these identities."""
    kind, parameters = type(estimator), sorted(estimator.get_params().items())
    said = ", ".join(f"{name}={value!r}" for name, value in parameters)
    assert find_head(estimator).identity == f"{kind.__module__}.{kind.__qualname__}({said})"


def test_heads_of_the_table_keep_their_names():
    for head in HEADS.values():
        assert find_head(head).identity == find_head(head.name).identity == head.name


def test_what_cannot_be_known_is_said(caplog):
    caplog.set_level(logging.WARNING, "fc7")
    lock = threading.Lock()
    head = Head("mine", lambda seed: DecisionTreeClassifier(max_depth=lock.locked() + 1))
    assert find_head(head).identity == "mine"
    assert "what the head mine does cannot be known: when it changes, delete its records (" in caplog.text
