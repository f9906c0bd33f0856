"""Splits: no image on both sides, every evaluated image predicted once, and refusals that say the counts."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fc7.classify.data.splits import cut, disputed, protocol
from fc7.classify.settings import ProtocolSettings
from fc7.errors import DataError, FC7Error, LeakageError

data_sets = st.tuples(
    st.lists(st.integers(1, 14), min_size=2, max_size=4),  # images per class
    st.integers(0, 10_000),  # seed of copies and groups
    st.floats(0, 0.5),  # share of copies
    st.floats(0, 0.5),  # share of images in a named group
)


def draw(table, counts, seed, copies, grouped):
    """Return a data set in which some images are copies and some belong to named groups."""
    generator = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(counts)), counts)
    keys = [(code, number) for number, code in enumerate(codes)]
    for row in np.flatnonzero(generator.random(len(codes)) < copies):
        keys[row] = keys[generator.choice(np.flatnonzero(codes == codes[row]))]  # copies have one label
    names = np.where(generator.random(len(codes)) < grouped, generator.integers(0, 6, len(codes)).astype(str), "")
    return table(counts, keys=keys, group=names)


def tie(embeddings):
    """Return a component number per row, by brute force: rows are tied by a key or a group name."""
    number = list(range(len(embeddings)))
    keys, names = [key.tobytes() for key in embeddings.sha256], embeddings.group
    changed = True
    while changed:
        changed = False
        for one in range(len(number)):
            for two in range(one):
                tied = keys[one] == keys[two] or (names[one] and names[one] == names[two])
                if tied and number[one] != number[two]:
                    number = [min(number[one], number[two]) if n in (number[one], number[two]) else n for n in number]
                    changed = True
    return np.array(number)


def refused_or_sound(embeddings, pairs):
    ties = tie(embeddings)
    for fitted, held in pairs:
        assert len(fitted) and len(held)
        assert not set(fitted) & set(held)
        assert not set(ties[fitted]) & set(ties[held])
        assert set(embeddings.y[fitted]) == set(range(len(embeddings.classes))), "a class was not fitted on"


@settings(max_examples=40)
@given(data_sets)
def test_folds_are_sound_or_refused_with_the_counts(table, drawn):
    embeddings = draw(table, *drawn)
    try:
        plan = protocol(embeddings)
    except DataError as error:
        assert re.search(r"\d of 'c\d'|All \d+ images of class 'c\d'", str(error)), "what is too few, and how many"
        return
    refused_or_sound(embeddings, plan.pairs)
    predicted = np.concatenate([held for _, held in plan.pairs])
    assert sorted(predicted) == list(range(len(embeddings)))
    assert plan.rows.tolist() == list(range(len(embeddings)))


@settings(max_examples=40)
@given(data_sets)
def test_folds_inside_the_fitted_rows_are_sound_or_refused(table, drawn):
    embeddings = draw(table, *drawn)
    try:
        plan = protocol(embeddings)
        inner = [cut(embeddings, fitted, plan.folds, 0) for fitted, _ in plan.pairs]
    except DataError:
        return
    for (fitted, _), pairs in zip(plan.pairs, inner, strict=True):
        refused_or_sound(embeddings, pairs)
        assert sorted(np.concatenate([held for _, held in pairs])) == sorted(fitted)


@pytest.mark.parametrize("smallest", range(4, 9))
def test_small_classes_are_cross_validated_also_inside(table, smallest):
    """With 5 images a class the outer folds leave 4 to fit on, so that 5 folds inside them cannot be."""
    embeddings = table((smallest, smallest + 3))
    plan = protocol(embeddings)
    assert len(plan.pairs) == min(5, smallest)
    for fitted, _ in plan.pairs:
        refused_or_sound(embeddings, cut(embeddings, fitted, plan.folds, 0))


def test_enough_images_are_not_refused(table):
    assert protocol(table((12, 30, 17))).evaluated == "5-fold cross-validation"


def test_folds_are_stratified_and_seeded(table):
    embeddings = table((50, 10))
    pairs = protocol(embeddings, ProtocolSettings(random_state=3)).pairs
    assert [np.bincount(embeddings.y[held]).tolist() for _, held in pairs] == [[10, 2]] * 5
    again = protocol(embeddings, ProtocolSettings(random_state=3)).pairs
    other = protocol(embeddings, ProtocolSettings(random_state=4)).pairs
    assert all(np.array_equal(one[1], two[1]) for one, two in zip(pairs, again, strict=True))
    assert not all(np.array_equal(one[1], two[1]) for one, two in zip(pairs, other, strict=True))


def test_ties_through_others_hold_together(table):
    """Row 0 is a copy of 7, 7 is in a group with 11, 11 is a copy of 19: all four are in one fold."""
    keys = list(range(40))
    keys[7], keys[19] = keys[0], keys[11]
    group = np.full(40, "", dtype="<U4")
    group[[7, 11]] = "walk"
    embeddings = table((20, 20), keys=keys, group=group)
    for _, held in protocol(embeddings).pairs:
        assert len({0, 7, 11, 19} & set(held)) in (0, 4)
    apart = table((20, 20), keys=keys)  # the group is the link: without it there are two pairs
    assert len({tuple(sorted({0, 7, 11, 19} & set(held))) for _, held in protocol(apart).pairs}) > 1


def test_an_empty_group_name_ties_nothing(table):
    assert max(len(held) for _, held in protocol(table((10, 10), group=[""] * 20)).pairs) == 4


def test_a_group_name_that_looks_like_another_rows_number_ties_nothing_else(table):
    group = ["1"] * 2 + [""] * 38
    lengths = [len(held) for _, held in protocol(table((20, 20), group=group)).pairs]
    assert sum(lengths) == 40
    assert max(lengths) < 12


def test_too_few_images_are_refused_with_all_counts(table):
    with pytest.raises(DataError, match=r"'c1' has 1 image.*classes: 1 of 'c1', 4 of 'c2', 9 of 'c0'\. "):
        protocol(table((9, 1, 4)))


def test_one_class_is_refused(table):
    with pytest.raises(
        DataError, match=r"two classes; of 8 images all are of one class, 'c0'\. Label them: fc7 review DATA$"
    ):
        protocol(table((8,), val=3))


def test_messages_stay_short_whatever_the_number_of_classes_and_the_length_of_names(table):
    counts = [3] * 999 + [1]
    many = table(counts, dim=1)
    long = [f"{'c' * 200}{name}" for name in many.classes]
    renamed = dict(zip(many.classes, long, strict=True))
    wide = replace(many, labels=np.array([renamed[label] for label in many.labels]), classes=tuple(long))
    for rows in (many, wide, replace(many, split=np.full(len(many), "val"))):
        with pytest.raises(DataError) as refused:
            protocol(rows)
        assert len(str(refused.value)) <= 500
    assert "1 of 'c999', 3 of 'c0', 3 of 'c1', 3 of 'c10' and 996 more" in refused_by(many)
    deep = table((40, 40), val=20, keys=[*range(20), *range(20), *range(20), *range(40, 60)])
    deep = replace(deep, paths=np.array([f"{'folder/' * 30}{path}" for path in deep.paths]))
    said = refused_by(deep)
    assert len(said) <= 500
    assert "20 images are on both sides" in said
    assert "c0/000.png" in said, "the end of a long path is what tells files apart"


def refused_by(rows):
    with pytest.raises(DataError) as refused:
        protocol(rows)
    return str(refused.value)


def test_the_protocol_is_called_by_the_folds_that_were_done(table):
    """Three groups: three folds, whatever was asked for."""
    rows = table((30, 30), group=[f"g{row // 10}" for row in range(30)] * 2)
    for options in ({}, {"cross_validate": 10}, {"folds": 4}):
        plan = protocol(rows, ProtocolSettings(**options))
        assert (plan.evaluated, len(plan.pairs)) == ("3-fold cross-validation", 3)


@settings(max_examples=40)
@given(data_sets, st.integers(0, 10_000))
def test_disputed_are_the_rows_of_bytes_with_two_labels_and_of_ties_in_two_splits(table, drawn, seed):
    embeddings = draw(table, *drawn)
    generator = np.random.default_rng(seed)
    labels = np.where(generator.random(len(embeddings)) < 0.1, "c0", embeddings.labels)
    split = np.where(generator.random(len(embeddings)) < 0.1, "val", "train")
    embeddings = replace(embeddings, labels=labels, split=split)
    keys, ties = [key.hex() for key in embeddings.keys], tie(embeddings).tolist()
    rows = range(len(embeddings))
    expected = [
        row
        for row in rows
        if any(keys[row] == keys[other] and labels[row] != labels[other] for other in rows)
        or any(ties[row] == ties[other] and split[row] != split[other] for other in rows)
    ]
    assert disputed(embeddings).tolist() == expected


def test_a_class_without_a_fitted_image_is_refused(table):
    embeddings = table((6, 6), split=["train"] * 6 + ["val"] * 6)
    with pytest.raises(DataError, match="'c1' has 0 images"):
        protocol(embeddings)


def test_more_folds_than_images_are_refused(table):
    with pytest.raises(DataError, match=r"'c0' has 6 images to fit on, 7 are needed.*lower folds"):
        protocol(table((6, 9)), ProtocolSettings(folds=7))


@pytest.mark.parametrize("folds", [1, 0, -3])
def test_fewer_than_two_folds_are_refused(table, folds):
    with pytest.raises(FC7Error, match=f"{folds}"):
        protocol(table(), ProtocolSettings(folds=folds))


def test_default_folds_shrink_to_the_smallest_class(table):
    assert protocol(table((4, 20))).evaluated == "4-fold cross-validation"
    assert protocol(table((13, 20), val=10)).folds == 3
    assert protocol(table((30, 30), val=10)).folds == 5
    assert protocol(table((30, 30), val=10), ProtocolSettings(folds=8)).folds == 8


def test_copies_count_once_towards_the_folds(table):
    """Twenty copies of one picture cannot be cut into folds."""
    with pytest.raises(DataError, match="'c0'"):
        protocol(table((20, 20), keys=[0] * 20 + list(range(1, 21))))


def test_a_class_in_one_group_is_refused(table):
    with pytest.raises(DataError, match="'c0'"):
        protocol(table((20, 20, 20), group=["a"] * 20 + [""] * 40))


# Given splits


def test_the_default_is_val_else_test(table):
    thirds = ["train"] * 10 + ["val"] * 5 + ["test"] * 5
    both = table((20, 20), split=thirds * 2)
    assert protocol(both).evaluated == "val"
    only_test = table((15, 15), split=(["train"] * 10 + ["test"] * 5) * 2)
    assert protocol(only_test).evaluated == "test"


def test_on_names_the_evaluated_split(table):
    embeddings = table((20, 20), split=(["train"] * 10 + ["val"] * 5 + ["test"] * 5) * 2)
    plan = protocol(embeddings, ProtocolSettings(on="test"))
    ((fitted, predicted),) = plan.pairs
    assert set(embeddings.split[fitted]) == {"train"}, "val is not fitted on"
    assert set(embeddings.split[predicted]) == {"test"}
    assert (len(fitted), len(predicted), plan.rows.tolist()) == (20, 10, sorted(predicted))


@pytest.mark.parametrize(("on", "split"), [("train", "val"), ("test", "val"), ("nonsense", "val"), (None, "train")])
def test_what_cannot_be_evaluated_on_is_refused(table, on, split):
    embeddings = table((8, 8), split=(["train"] * 5 + [split] * 3) * 2)
    with pytest.raises(DataError, match=r"the data set has \['train'") as caught:
        protocol(embeddings, ProtocolSettings(on=on))
    assert "np.str_" not in str(caught.value)


def test_no_train_is_refused(table):
    with pytest.raises(DataError, match="train"):
        protocol(table((8, 8), split=["val"] * 16))


def test_on_needs_splits(table):
    with pytest.raises(DataError, match="no splits, so it is cross-validated"):
        protocol(table(), ProtocolSettings(on="val"))


# Leakage


def leaky(table):
    keys = list(range(24))
    keys[11] = keys[2]  # the last of c0 is val
    return table((12, 12), val=3, keys=keys)


def test_one_image_on_both_sides_is_refused_with_both_paths(table):
    with pytest.raises(LeakageError, match=r"1 image is on both sides.*c0/002\.png = c0/011\.png.*allow_leakage"):
        protocol(leaky(table))


def test_all_that_is_wrong_is_said_at_once(table):
    """Four copies with another label, seven images on both sides: the first two of each, and where the rest is."""
    keys = list(range(40))
    keys[20:24] = keys[:4]  # the first of c1 are the first of c0
    keys[13:20] = keys[4:11]  # the last of c0 are val
    images = table((20, 20), val=7, keys=keys)
    with pytest.raises(LeakageError) as refused:
        protocol(images)
    said = str(refused.value)
    assert "4 copies have another label: c0/000.png is c0, its copy c1/020.png is c1; c0/001.png" in said
    assert (
        "7 images are on both sides of the split, by bytes or group: c0/004.png = c0/013.png (the same image)" in said
    )
    assert "5 more. Remove one side" in said
    assert said.count(" = ") == 2
    assert len(said) <= 500
    after = "All of them, of each group one pair: fc7.classify.audit, in a shell fc7 audit DATA --csv FILE.csv"
    assert said.endswith(after)
    with pytest.raises(DataError, match="4 copies") as refused:
        protocol(images, ProtocolSettings(allow_leakage=True))
    assert not isinstance(refused.value, LeakageError)
    with pytest.raises(DataError, match="4 copies"):
        protocol(images, ProtocolSettings(cross_validate=3))


def test_leakage_has_its_own_exit_code():
    assert LeakageError.exit_code == 4


def test_allowed_leakage_is_said(table, caplog, monkeypatch):
    import logging

    monkeypatch.setattr(logging.getLogger("fc7"), "propagate", True)
    plan = protocol(leaky(table), ProtocolSettings(allow_leakage=True))
    assert len(plan.rows) == 6
    assert "optimistic" in caplog.text


def test_copies_on_one_side_are_no_leak(table):
    keys = list(range(24))
    keys[1], keys[11] = keys[0], keys[10]
    assert len(protocol(table((12, 12), val=3, keys=keys)).rows) == 6


def test_copies_in_a_split_that_is_not_used_are_no_leak(table):
    keys = list(range(24))
    keys[11] = keys[0]
    split = (["train"] * 8 + ["val"] * 2 + ["test"] * 2) * 2
    embeddings = table((12, 12), split=split, keys=keys)
    assert protocol(embeddings).evaluated == "val"
    with pytest.raises(LeakageError):
        protocol(embeddings, ProtocolSettings(on="test"))


@pytest.mark.parametrize("val", [0, 3])
def test_one_image_with_two_labels_is_refused(table, val):
    keys = list(range(24))
    keys[13] = keys[1]
    with pytest.raises(DataError, match=r"c0/001\.png is c0, its copy c1/013\.png is c1") as caught:
        protocol(table((12, 12), val=val, keys=keys), ProtocolSettings(allow_leakage=True))
    assert not isinstance(caught.value, LeakageError)


def test_a_named_group_on_both_sides_is_leakage_too(table):
    embeddings = table((8, 8), val=3)
    group = np.array([""] * len(embeddings), dtype="<U8")
    sides = [np.flatnonzero(embeddings.split == side)[0] for side in ("train", "val")]
    group[sides] = "patient7"
    grouped = replace(embeddings, group=group)
    with pytest.raises(LeakageError, match=r"1 image .*group patient7"):
        protocol(grouped)
    assert protocol(grouped, ProtocolSettings(allow_leakage=True)).evaluated == "val"


def test_images_are_of_one_group_through_a_third_one(table):
    """A copy of a train image is in a group with an image of val; the copy is in a split that is not used."""
    rows = table((12, 12), val=3, keys=[*range(10), 0, *range(11, 24)])
    split, group = rows.split.copy(), rows.group.copy().astype("<U5")
    split[10], group[[10, 11]] = "test", "bird"
    linked = replace(rows, split=split, group=group)
    with pytest.raises(LeakageError, match=r"c0/000\.png and c0/011\.png \(group bird\)"):
        protocol(linked)
    assert protocol(linked, ProtocolSettings(allow_leakage=True)).leaked == 1


@pytest.mark.parametrize("group", [["a"] * 24, ["a"] * 12 + ["b"] * 12, [*map(str, range(12)), *["b"] * 12]])
def test_a_class_in_one_group_is_named(table, group):
    with pytest.raises(DataError, match=r"All \d+ images of class 'c[01]' are of one group, or copies"):
        protocol(table((12, 12), group=group))
