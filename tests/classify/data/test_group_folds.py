"""Folds of groups: those of scikit-learn, to the image."""

import tracemalloc

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from fc7.classify.data.group_folds import group_folds

TODAY = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9)  # before, those that it shuffles are another way


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.skipif(not TODAY, reason="this scikit-learn does not stratify groups that it shuffles")
@given(
    classes=st.integers(2, 40),
    images=st.integers(20, 200),
    share=st.floats(0.05, 1.0),
    folds=st.integers(2, 12),
    seed=st.integers(0, 9),
    mixed=st.booleans(),
)
def test_they_are_those_of_scikit_learn(classes, images, share, folds, seed, mixed):
    generator = np.random.default_rng([classes, images, folds, seed])
    groups = generator.integers(0, max(int(images * share), folds), images)
    groups[:folds] = np.arange(folds)
    y = generator.integers(0, classes, images) if mixed else groups % classes
    y[:folds] = 0
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    expected = [held for _, held in splitter.split(y, y, groups)]
    found = group_folds(y, groups, folds, seed)
    assert [held.tolist() for held in found] == [held.tolist() for held in expected]


def test_groups_stay_together_and_classes_are_shared_out():
    groups = np.repeat(np.arange(120), 5)
    y = groups % 3
    parts = group_folds(y, groups, 4, 0)
    assert sorted(np.concatenate(parts)) == list(range(600))
    assert [np.bincount(y[held]).tolist() for held in parts] == [[50] * 3] * 4
    assert all(set(groups[held]).isdisjoint(np.delete(groups, held)) for held in parts)


def test_many_classes_of_many_groups_take_little_memory():
    y = np.arange(6000) % 1000
    groups = np.arange(6000)
    groups[1000] = 0
    tracemalloc.start()
    group_folds(y, groups, 5, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6, "a count of each class for each group is 48 MB, and was there twice"
