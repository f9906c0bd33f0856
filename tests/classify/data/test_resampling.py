"""Random splits and draws of a few images: stratified, whole groups, the same for whoever asks."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fc7.classify.data.resampling import few_images, random_split, usual_sizes
from fc7.classify.data.splits import protocol, together
from fc7.classify.settings import ProtocolSettings
from fc7.errors import DataError


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 5), st.integers(1, 4), st.integers(4, 12), st.booleans())
def test_a_random_split_has_both_sides_of_every_class_and_no_group_on_both(table, number, size, groups, split):
    count = size * groups
    names = np.concatenate([[f"{code}-{place // size}" for place in range(count)] for code in (0, 1)])
    embeddings = table((count, count), group=names if size > 1 else None, val=size if split else 0).in_key_order()
    plan = protocol(embeddings, ProtocolSettings(folds=2))
    fitted, predicted = random_split(embeddings, plan, number)
    assert sorted([*fitted, *predicted]) == list(range(2 * count))
    alike = together(embeddings, np.arange(2 * count))
    assert not set(alike[fitted]) & set(alike[predicted])
    assert set(embeddings.y[fitted]) == {0, 1}
    if size == 1:
        share = len(plan.pairs[0][1]) / (2 * count)
        assert len(predicted) == max(round(share * 2 * count), 2)
        assert abs(embeddings.y[predicted].mean() - 0.5) * len(predicted) <= 1


def test_the_number_and_the_seed_decide_the_split_and_nothing_else(table):
    embeddings = table((20, 20), val=5).in_key_order()
    plan = protocol(embeddings, ProtocolSettings())
    first = random_split(embeddings, plan, 0)[1]
    assert np.array_equal(first, random_split(embeddings, plan, 0)[1])
    assert not np.array_equal(first, random_split(embeddings, plan, 1)[1])
    assert not np.array_equal(first, random_split(embeddings, replace(plan, random_state=1), 0)[1])
    renamed = replace(embeddings, paths=np.array([f"x{place}" for place in range(40)]))
    assert np.array_equal(first, random_split(renamed, plan, 0)[1])


def test_images_of_the_other_split_take_no_part(table):
    split = np.where(np.arange(40) % 4 == 0, "test", np.where(np.arange(40) % 4 == 1, "val", "train"))
    embeddings = table((20, 20), split=split).in_key_order()
    fitted, predicted = random_split(embeddings, protocol(embeddings), 0)
    assert "test" not in set(embeddings.split[fitted]) | set(embeddings.split[predicted])
    assert len(fitted) + len(predicted) == 30


def test_a_class_of_one_group_cannot_be_split(table):
    embeddings = table((10, 10), group=["a"] * 10 + [""] * 10, split=["train"] * 5 + ["val"] * 5 + ["train", "val"] * 5)
    plan = protocol(replace(embeddings, group=np.full(20, "")), ProtocolSettings(folds=2))
    with pytest.raises(DataError, match="all of a class are of one group"):
        random_split(embeddings, plan, 0)


@given(st.integers(2, 9), st.integers(0, 99))
def test_a_few_images_are_so_many_of_each_class(table, size, seed):
    embeddings = table((9, 12, 30))
    drawn = few_images(embeddings, np.arange(51), size, [0, seed])
    assert np.bincount(embeddings.y[drawn]).tolist() == [size] * 3
    assert len(set(drawn.tolist())) == 3 * size
    assert np.array_equal(drawn, few_images(embeddings, np.arange(51), size, [0, seed]))


def test_too_few_images_are_said(table):
    with pytest.raises(DataError, match="10 images of each class cannot be drawn: 9 images"):
        few_images(table((9, 12)), np.arange(21), 10, [0])


@pytest.mark.parametrize(
    ("counts", "sizes"), [((1, 5), []), ((2, 2), [2]), ((5, 9), [2, 5]), ((120, 300), [2, 5, 10, 20, 50, 100, 120])]
)
def test_usual_sizes_end_with_the_smallest_class(counts, sizes):
    assert usual_sizes(np.repeat([0, 1], counts)) == sizes
