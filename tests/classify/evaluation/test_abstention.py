"""Thresholds do to out-of-fold predictions what they say; images that are unlike the fitted ones are known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from fc7.classify import fit
from fc7.classify.data.splits import Fold
from fc7.classify.evaluation.abstention import MOST_ROWS, NEIGHBOURS, RARE, Abstention
from fc7.errors import UsageError


def made(probability, right, distance=(0.1,), *, label_probability=None, label=None, group=None):
    """Return an abstention with these columns, and any reference."""
    n = len(right)
    label = np.zeros(n, np.int32) if label is None else np.array(label, np.int32)
    own = probability if label_probability is None else label_probability
    return Abstention(
        probability=np.array(probability, np.float32),
        label_probability=np.array(own, np.float32),
        predicted=np.where(right, label, label + 1).astype(np.int32),
        label=label,
        group=np.arange(n, dtype=np.int32) if group is None else np.array(group, np.int32),
        reference=np.eye(len(distance), 4, dtype=np.float16),
        distance=np.array(distance, np.float32),
    )


predictions = st.lists(
    st.tuples(st.sampled_from([0.5, 0.6, 0.75, 0.9, 0.95, 1.0]), st.integers(0, 9)), min_size=1, max_size=200
)


@given(predictions, st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]), st.sampled_from([0.5, 0.9]))
def test_what_is_answered_shows_the_error_that_is_promised(pairs, max_error, confidence):
    probability = np.array([one for one, _ in pairs], np.float32)
    right = np.array([two for _, two in pairs]) > 0
    found = made(probability, right).threshold(max_error, confidence)
    assert found.images == len(pairs)
    if not found.answered:
        assert (found.probability, found.wrong) == (math.inf, 0)
        return
    answered = probability >= np.float32(found.probability)
    assert (found.answered, found.wrong) == (answered.sum(), (answered & ~right).sum())
    bound = binomtest(found.wrong, found.answered).proportion_ci(2 * confidence - 1, method="exact").high
    if confidence > 0.5:  # scipy's interval has two sides, of which the upper one is this
        assert found.bound == pytest.approx(bound)
    assert found.bound <= max_error


def test_a_threshold_says_what_it_does():
    right = np.arange(300) % 60 != 59
    found = made(np.linspace(1, 0.5, 300), right).threshold(0.05)
    assert str(found) == (
        f"answers from probability {found.probability:.3f}: out-of-fold {found.answered / 300:.1%} of the images, "
        f"{found.wrong} of {found.answered} wrongly. With confidence 0.9 at most {found.bound:.3f} of such answers are "
        "wrong; 0.05 was asked for"
    )
    assert found.to_dict()["share_answered"] == found.answered / 300
    assert found.to_dict()["error"] == found.wrong / found.answered


@pytest.mark.parametrize(
    ("images", "mistakes", "error", "why"),
    [
        (60, 0, 0.02, "even without a mistake it takes 114 images, and there are 60"),
        (200, 50, 0.02, "too many answers are wrong, the surest ones too; without any it would take 114"),
        (200, 0, 0, "no number of images can promise that no answer is wrong"),
    ],
)
def test_where_nothing_qualifies_it_says_how_many_images_would(images, mistakes, error, why):
    found = made(np.linspace(1, 0.5, images), np.arange(images) >= mistakes).threshold(error)
    assert str(found) == f"cannot promise an error of at most {error} with confidence 0.9 and answers nothing: {why}"
    assert found.to_dict()["probability"] is None  # JSON has no infinity
    assert made(np.linspace(1, 0.5, 114), np.ones(114, bool)).threshold(0.02).answered == 114


def test_images_of_a_group_that_are_alike_promise_less():
    right = np.arange(400) >= 0
    alone = made(np.linspace(1, 0.5, 400), right).threshold(0.02)
    grouped = made(np.linspace(1, 0.5, 400), right, group=np.arange(400) // 4).threshold(0.02)
    assert (alone.answered, alone.needed) == (400, 114)
    assert (grouped.answered, grouped.needed) == (0, 456)


@pytest.mark.parametrize("share", [-0.1, 1, 2, math.nan])
def test_an_error_that_is_no_share_is_refused(share):
    with pytest.raises(UsageError, match="must be at least 0 and less than 1"):
        made([1], [True]).threshold(share)


@pytest.mark.parametrize("share", [0, 1, math.nan])
def test_a_confidence_or_coverage_that_is_none_is_refused(share):
    with pytest.raises(UsageError, match=r"confidence .*must be more than 0 and less than 1"):
        made([1], [True]).threshold(0.1, share)
    with pytest.raises(UsageError, match=r"coverage .*must be more than 0 and less than 1"):
        made([1], [True]).sets(share, 2)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60), st.sampled_from([0.5, 0.8, 0.9]))
def test_sets_take_the_quantile_of_split_conformal_prediction(own, coverage):
    (least,) = made(np.ones(len(own)), np.ones(len(own), bool), label_probability=own).sets(coverage, 1)
    place = math.ceil(coverage * (len(own) + 1) - 1e-9)
    assert least == (np.float32(sorted(own, reverse=True)[place - 1]) if place <= len(own) else -np.inf)


def test_sets_by_class_and_by_group():
    own, label = np.linspace(0.99, 0.5, 50), np.arange(50) % 5 == 0
    both = made(own, np.ones(50, bool), label_probability=own, label=label)
    by_class = both.sets(0.8, 3, class_conditional=True)
    for name in (0, 1):
        (alone,) = made(own[label == name], np.ones(sum(label == name), bool)).sets(0.8, 1)
        assert by_class[name] == alone
    assert by_class[2] == -np.inf, "a class without images is in every set"
    copies = made(np.repeat(own, 3), np.ones(150, bool), group=np.repeat(np.arange(50), 3))
    assert copies.sets(0.8, 1) == both.sets(0.8, 1), "a group counts once"


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
    many = made([1], [True], distance)
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
