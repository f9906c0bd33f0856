"""Thresholds do to out-of-fold predictions what they say; images that are unlike the fitted ones are known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.classify import fit
from fc7.classify.data.splits import Fold
from fc7.classify.evaluation.abstention import MOST_ROWS, NEIGHBOURS, RARE, Abstention
from fc7.errors import UsageError


def made(probability, right, distance=(0.1,)):
    """Return a abstention with these columns, and any reference."""
    columns = np.array(probability, np.float32), np.array(right, bool)
    return Abstention(*columns, np.eye(len(distance), 4, dtype=np.float16), np.array(distance, np.float32))


predictions = st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.75, 0.9, 0.95, 1.0]), st.booleans()), min_size=1)


@given(predictions, st.sampled_from([0.0, 0.02, 0.1, 0.25, 0.5, 0.9]))
def test_the_threshold_answers_most_with_the_error_asked_for(pairs, max_error):
    probability, right = (np.array(column) for column in zip(*pairs, strict=True))
    found = made(probability, right).threshold(max_error)
    possible = {}  # every threshold there is: how many it answers, and how many of these are wrong
    for least in probability.astype(np.float32):
        answered = probability.astype(np.float32) >= least
        possible[float(least)] = (int(answered.sum()), int((answered & ~right).sum()))
    good = {least: counts for least, counts in possible.items() if counts[1] <= max_error * counts[0]}
    if good:
        assert found.probability == min(good)
        assert (found.answered, found.wrong) == good[found.probability]
        assert found.wrong / found.answered <= max_error
    else:
        assert (found.probability, found.answered) == (math.inf, 0)
    assert found.images == len(pairs)


def test_a_threshold_says_what_it_does():
    found = made([0.9, 0.8, 0.7, 0.6], [True, True, True, False]).threshold(0)
    assert str(found) == (
        "answers from probability 0.700: out-of-fold 75.0% of the images, with an error of 0.000 (0/3, 95 % interval "
        "0.000-0.561), at most 0 as asked for"
    )
    assert found.to_dict()["share_answered"] == 0.75
    assert found.to_dict()["error"] == 0
    nothing = made([0.9, 0.8], [False, True]).threshold(0)
    assert str(nothing) == "no threshold keeps the error at 0: nothing is answered"
    assert nothing.to_dict()["probability"] is None  # JSON has no infinity


@pytest.mark.parametrize("share", [-0.1, 1, 2, math.nan])
def test_an_error_that_is_no_share_is_refused(share):
    with pytest.raises(UsageError, match="must be at least 0 and less than 1"):
        made([1], [True]).threshold(share)


def test_fitting_measures_out_of_fold(table):
    rows = table((30, 30), dim=20, val=5)
    fitted = fit(rows, "logreg", folds=3)
    abstention = fitted.abstention
    assert len(abstention.probability) == len(abstention.right) == (rows.split == "train").sum()
    assert abstention.right.mean() == pytest.approx(fitted.run.selection["accuracy"])
    assert abstention.probability.min() >= 0.5
    assert abstention.reference.shape == (len(abstention.distance), 20)
    assert np.linalg.norm(abstention.reference.astype(float), axis=1) == pytest.approx(1, abs=1e-2)


def test_distances_are_those_to_the_nearest_of_other_folds(table):
    rows = table((12, 12), dim=8, val=0)
    places = np.arange(24)
    folds = [Fold(places[places % 3 != k], places[places % 3 == k]) for k in range(3)]
    abstention = Abstention.of(rows, places, folds, np.full((24, 2), 0.5), 0)
    unit = rows.vectors.astype(float) / np.linalg.norm(rows.vectors.astype(float), axis=1, keepdims=True)
    for place in range(24):
        others = np.sort(1 - unit[place] @ unit[places % 3 != place % 3].T)
        assert abstention.distance[place] == pytest.approx(others[NEIGHBOURS - 1], abs=2e-3)
    asked = 1 - np.sort(unit @ unit.T, axis=1)[:, -NEIGHBOURS]
    assert abstention.distances(rows.vectors * 3) == pytest.approx(asked, abs=2e-3)


def test_few_of_the_fitted_images_are_unlike_themselves():
    distance = np.random.default_rng(0).permutation(1000) / 1000
    abstention = made([1], [True], distance[:4])
    assert abstention.limit == abstention.distance.max(), "of so few none"
    many = Abstention(*(np.ones(1, kind) for kind in (np.float32, bool)), np.zeros((1000, 2), np.float16), distance)
    assert (many.distance > many.limit).mean() <= RARE
    assert (many.distance > many.limit).sum() == 9


def test_of_many_images_some_are_kept_and_of_every_class(table):
    rows = table((MOST_ROWS + 500, 7), dim=4, val=0)
    n = len(rows)
    folds = [Fold(np.arange(n)[np.arange(n) % 2 != k], np.arange(n)[np.arange(n) % 2 == k]) for k in range(2)]
    abstention = Abstention.of(rows, np.arange(n), folds, np.full((n, 2), 0.5), 0)
    again = Abstention.of(rows, np.arange(n), folds, np.full((n, 2), 0.5), 0)
    assert len(abstention.reference) == MOST_ROWS
    assert np.array_equal(abstention.reference, again.reference)
    own = {row.tobytes() for row in abstention.reference}
    unit = rows.vectors.astype(np.float32) / np.linalg.norm(rows.vectors.astype(np.float32), axis=1, keepdims=True)
    rare = [row.astype(np.float16).tobytes() in own for row in unit[rows.y == 1]]
    assert all(rare), "all of a class of seven"
