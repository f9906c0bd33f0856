"""Samples: stratified, whole groups, and never an image that a final figure is measured on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.cache.embeddings import Rows
from fc7.classify.data.splits import SET_ASIDE, protocol, together
from fc7.classify.screening.sample import Sample
from fc7.classify.settings import FitSettings
from fc7.errors import DataError


def rows(labels, split=None, group=None):
    n = len(labels)
    keys = np.zeros((n, 32), np.uint8)
    keys[:, :4] = np.arange(n, dtype=">u4").view(np.uint8).reshape(n, 4)
    return Rows(
        labels=np.array(labels, np.str_),
        paths=np.array([f"{number}.png" for number in range(n)], np.str_),
        split=np.array([""] * n if split is None else split, np.str_),
        group=np.array([""] * n if group is None else group, np.str_),
        sha256=keys,
        classes=tuple(sorted(set(labels))),
    )


@given(st.integers(2, 4), st.integers(40, 120), st.integers(1, 4), st.integers(0, 99))
def test_each_sample_is_in_the_next_and_cuts_no_group_and_has_every_class(classes, n, size, seed):
    labels = [f"c{(number // size) % classes}" for number in range(n)]
    images = rows(labels, group=[f"g{number // size}" for number in range(n)])
    sample = Sample.of(images, FitSettings(random_state=seed))
    before = set()
    groups = together(images, np.arange(n))
    for length in sample.sizes(10):
        taken = sample.rows(length)
        assert len(taken) == length <= n // 2
        assert before <= set(taken.tolist())
        assert not set(groups[taken]) & set(np.delete(groups, taken))
        counts = [np.sum(images.labels[taken] == label) for label in images.classes]
        assert min(counts) >= min(5, min(labels.count(label) for label in images.classes) // 2)
        before = set(taken.tolist())


def test_a_sample_has_the_shares_of_the_whole():
    images = rows(["a"] * 300 + ["b"] * 100)
    taken = Sample.of(images, FitSettings()).rows(80)
    assert np.sum(images.labels[taken] == "a") in range(58, 63)


def test_with_a_split_samples_are_of_train():
    images = rows(["a", "b"] * 100, split=["train"] * 140 + ["val"] * 60)
    sample = Sample.of(images, FitSettings())
    assert sample.order.max() < 140
    assert sample.set_aside(60) is images


def test_what_is_set_aside_is_fitted_on_in_every_fold_and_never_predicted():
    images = rows(["a", "b"] * 50)
    sample = Sample.of(images, FitSettings())
    taken = sample.rows(40)
    plan = protocol(sample.set_aside(40), FitSettings())
    assert set(plan.rows.tolist()) == set(range(100)) - set(taken.tolist())
    for fitted, predicted in plan.pairs:
        assert set(taken.tolist()) <= set(fitted.tolist())
        assert not set(fitted.tolist()) & set(predicted.tolist())


def test_nothing_changes_where_nothing_is_set_aside():
    images = rows(["a", "b"] * 30)
    plan = protocol(images, FitSettings())
    assert np.array_equal(plan.rows, np.arange(60))
    assert all(len(fitted) + len(predicted) == 60 for fitted, predicted in plan.pairs)


def test_a_small_class_may_leave_no_sample():
    images = rows(["a"] * 50 + ["b"] * 4)
    sample = Sample.of(images, FitSettings())
    assert [size for size in sample.sizes() if sample.can_be_fitted(size, FitSettings())] == []


@pytest.mark.parametrize("labels", [["a"] * 10, ["a"]])
def test_one_class_is_refused(labels):
    with pytest.raises(DataError, match="class"):
        Sample.of(rows(labels), FitSettings())


def test_the_mark_is_no_split_that_a_data_set_can_have():
    from fc7.extract.manifest.paths import SPLITS

    assert SET_ASIDE not in SPLITS
