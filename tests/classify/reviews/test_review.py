"""A review: decisions, what they change, the csv that holds them, and the way back."""

from dataclasses import replace

import numpy as np
import pytest
from reviewed import labels_of, reviewed, state

from fc7.classify.arrays import unit
from fc7.classify.reviews.labels import Decision
from fc7.classify.reviews.leave_one_out import NONE, LeftOut, prepare
from fc7.classify.reviews.review import Agreement, Review
from fc7.errors import DataError, UsageError
from fc7.extract.manifest.manifest import read_manifest


def test_flipped_labels_are_the_first_suspects(begin):
    review = begin(flipped=(3, 30))
    assert set(review.judged.suspects[:2].tolist()) == {3, 30}
    subject = review.subject(3)
    assert (subject.decision, subject.likely[0][0]) == (Decision("c1"), "c0")
    assert subject.likely[0][1] > 0.5
    assert set(review.judged.uncertain) & set(review.judged.suspects) == set()


def test_a_decision_is_what_a_new_review_of_the_new_labels_would_say(begin, table, folder, file):
    review = begin(flipped=(3, 30))
    change = review.decide(3, "c0")
    assert (change.before, change.after, change.undone) == (Decision("c1"), Decision("c0"), False)
    assert change.agreement_after.right >= change.agreement_before.right + 1
    review.decide(5, bad=True)
    y = np.repeat([0, 1], 20)
    y[30], y[5] = 0, NONE
    rows, _ = reviewed(table, folder)
    again = LeftOut(prepare(rows.vectors), y, 2, np.arange(40), review.judge.alpha).scores() / review.judge.temperature
    np.testing.assert_allclose(
        np.log(review.judged.probability[:, 1] / review.judged.probability[:, 0]), again[:, 1] - again[:, 0], atol=1e-6
    )
    assert review.judged.agreement.judged == 39


def test_what_is_decided_is_no_suspect_any_longer_and_confirming_is_a_decision(begin):
    review = begin(flipped=(3, 30))
    review.decide(3)
    assert 3 not in review.judged.suspects
    assert review.counts == {"suspects": 1, "unlabelled": 0, "reviewed": 1, "relabelled": 0, "bad": 0}
    review.decide(30, "c1")
    assert review.counts == {"suspects": 0, "unlabelled": 0, "reviewed": 2, "relabelled": 1, "bad": 0}
    assert review.closed == [30, 3]


def test_others_that_join_and_leave_the_suspects_are_named(begin):
    review = begin(flipped=(3, 4, 5, 6, 7, 8, 9))
    before = set(review.judged.suspects.tolist())
    change = review.decide(3, "c0")
    after = set(review.judged.suspects.tolist())
    assert set(change.joined) == after - before - {3}
    assert set(change.left) == before - after - {3}


def test_the_csv_is_a_manifest_without_the_bad_ones(begin, file, folder):
    review = begin(flipped=(3,))
    assert not file.exists()
    review.decide(3, "c0")
    review.decide(7, bad=True)
    text = file.read_text()
    assert text.splitlines()[0] == "path,sha256,label,split,group,bad,reviewed"
    assert f"../pictures/c0/003.png,{review.key(3)},c0,train,,,1\n" in text
    assert f"../pictures/c0/007.png,{review.key(7)},c0,train,,yes,2\n" in text
    manifest = read_manifest(file)
    assert len(manifest) == 39
    assert {image.label for image in manifest.images if image.path.endswith("c0/003.png")} == {"c0"}
    assert len(read_manifest(file, with_bad=True)) == 40


def test_every_decision_can_be_undone_back_to_no_file(begin, file):
    review = begin(flipped=(3, 30))
    states, texts = [], []
    for image, label, bad in [(3, "c0", False), (30, "c1", False), (3, None, True), (3, "c1", False), (9, None, False)]:
        states.append(state(review))
        texts.append(file.read_bytes() if file.exists() else None)
        review.decide(image, label, bad=bad)
    assert review.changes == 5
    for expected, text in zip(reversed(states), reversed(texts), strict=True):
        assert review.undo().undone
        assert state(review) == expected
        assert (file.read_bytes() if file.exists() else None) == text
    assert not file.exists()
    with pytest.raises(DataError, match="Nothing to undo"):
        review.undo()


def test_a_new_review_goes_on_where_the_last_one_ended(begin, file):
    first = begin(flipped=(3, 30))
    first.decide(30, "c1")
    first.decide(3, "c0")
    first.decide(30, bad=True)
    text = file.read_bytes()
    second = begin(flipped=(3, 30))
    assert second.decided == first.decided
    assert list(second.decided) == [3, 30]
    assert file.read_bytes() == text
    second.decide(8, bad=True)
    second.undo()
    assert file.read_bytes() == text
    assert second.undo().image == 30
    assert second.undo().image == 3
    assert not file.exists()


def test_labels_that_were_changed_by_hand_are_taken_over(begin, file):
    begin(flipped=(3,)).decide(3, "c0")
    lines = [line.replace(",c0,", ",wasp,") if "c0/009.png" in line else line for line in file.read_text().splitlines()]
    file.write_text("\n".join([*lines, ""]))
    review = begin(flipped=(3,))
    assert review.classes == ("c0", "c1", "wasp")
    assert review.decided == {3: Decision("c0"), 9: Decision("wasp")}
    assert review.decide(10, "wasp").after.label == "wasp"


def test_copies_are_one_image_and_follow_each_other(table, folder, file):
    keys = list(range(40))
    keys[21] = keys[3]
    rows, manifest = reviewed(table, folder, keys=keys)
    review = Review(rows, labels_of(rows, manifest, file))
    assert len(review) == 39
    subject = review.subject(3)
    assert (subject.decision.label, subject.paths) == ("", ["c0/003.png", "c1/021.png"])
    assert review.judged.suspects[0] == 3, "copies that contradict each other come first"
    with pytest.raises(UsageError, match="no class ''"):
        review.decide(3)
    review.decide(3, bad=True)
    assert file.read_text().count(",yes,1") == 2
    again = Review(rows, labels_of(rows, manifest, file))
    assert again.decided == {3: Decision("", bad=True)}
    again.decide(3, "c1")
    labels = [image.label for image in read_manifest(file).images if image.path[-7:] in ("003.png", "021.png")]
    assert labels == ["c1", "c1"]


def test_copies_are_named_in_the_order_of_the_data_set(table, folder, file):
    keys = list(range(40))
    keys[21] = keys[3]
    rows, manifest = reviewed(table, folder, keys=keys)
    manifest = replace(manifest, images=manifest.images[::-1])
    review = Review(rows.in_key_order(), labels_of(rows, manifest, file))
    (image,) = [image for image in range(len(review)) if len(review.subject(image).paths) > 1]
    assert review.subject(image).paths == ["c1/021.png", "c0/003.png"]
    assert type(review.subjects(np.array([image]))[0].image) is int, "so that it can be sent as JSON"


def test_bad_images_of_a_csv_are_shown_and_can_come_back(table, folder, tmp_path, file):
    rows, manifest = reviewed(table, folder)
    bad = [image._replace(bad=place in (2, 25)) for place, image in enumerate(manifest.images)]
    review = Review(rows, labels_of(rows, replace(manifest, images=tuple(bad)), file))
    assert review.counts["bad"] == 2
    assert review.closed == [2, 25]
    assert review.judged.agreement.judged == 38
    review.decide(2, "c0")
    assert review.counts["bad"] == 1
    review.undo()
    assert (review.counts["bad"], file.exists()) == (2, False)


def test_decisions_on_images_that_cannot_be_read_now_are_kept(table, folder, file):
    rows, manifest = reviewed(table, folder)
    Review(rows, labels_of(rows, manifest, file)).decide(39, bad=True)
    mask = np.arange(40) != 39
    review = Review(rows[mask], labels_of(rows[mask], manifest, file))
    review.decide(3, bad=True)
    lines = [line.split(",") for line in file.read_text().splitlines() if ",yes," in line]
    assert [(path, key != "", number) for path, key, *_, number in lines] == [
        ("../pictures/c0/003.png", True, "2"),
        ("../pictures/c1/039.png", False, "1"),
    ]


def test_the_csv_stays_one_that_can_be_fitted_on(begin, file):
    review = begin(counts=(20, 20, 5))
    for call in (lambda: review.decide(40, bad=True), lambda: review.decide(40, "c0")):
        with pytest.raises(DataError, match=r"No image of 'c2' would be left to fit on without c2/040\.png"):
            call()
    assert review.changes == 0
    for image in range(41, 45):
        review.decide(image, "c0")
    assert review.decide(40, bad=True).after.bad, "nobody is left in val that would miss it"
    assert read_manifest(file).classes == ("c0", "c1")
    with pytest.raises(DataError, match=r"No image of 'c2' would be left to fit on without c2/041\.png"):
        review.decide(41, "c2")


def test_two_classes_stay(begin):
    review = begin(counts=(5, 5))
    for image in range(1, 5):
        review.decide(image, "c1")
    with pytest.raises(DataError, match="one class only"):
        review.decide(0, bad=True)


def test_one_class_is_divided_into_two(begin, file):
    review = begin(counts=(6,))
    assert (review.judged.suspects.tolist(), review.judged.uncertain.tolist()) == ([], list(range(6)))
    review.decide(0, "c0")
    review.decide(1, bad=True)
    review.decide(2, "c1", new=True)
    assert review.judged.uncertain.tolist() == [3, 4, 5], "nothing is judged yet"
    review.decide(3, "c1")
    assert review.judged.agreement.judged == 5
    assert read_manifest(file).classes == ("c0", "c1")


def test_unknown_images_and_classes(begin):
    review = begin()
    for call in (lambda: review.subject(40), lambda: review.decide(-1), lambda: review.key(99)):
        with pytest.raises(UsageError, match="There is no image"):
            call()
    with pytest.raises(UsageError, match="There is no class 'wasp'"):
        review.decide(3, "wasp")
    assert review.changes == 0


def moved(manifest, names):
    """Return a manifest with other paths for some images."""
    images = [image._replace(path=names.get(image.path, image.path)) for image in manifest.images]
    return replace(manifest, images=tuple(images))


def renamed(rows, names):
    return replace(rows, paths=np.array([names.get(path, path) for path in rows.paths.tolist()]))


def test_decisions_follow_images_that_are_renamed_or_moved(table, folder, file, log):
    rows, manifest = reviewed(table, folder)
    review = Review(rows, labels_of(rows, manifest, file))
    review.decide(3, "c1")
    review.decide(5, bad=True)
    names = {"c0/003.png": "c1/moved.png", "c0/005.png": "c0/renamed.png"}
    rows, manifest = renamed(rows, names), moved(manifest, names)
    log.clear()
    again = Review(rows, labels_of(rows, manifest, file))
    assert again.decided == review.decided == {3: Decision("c1"), 5: Decision("c0", bad=True)}
    assert "images with other names or folders now, which keep their decisions: 2" in log.text
    text = file.read_text()
    assert f"../pictures/c1/moved.png,{again.key(3)},c1,train,,,1\n" in text, "at once, so that fit finds it"
    assert "003.png" not in text
    log.clear()
    Review(rows, labels_of(rows, manifest, file))
    assert log.text == ""


def test_images_that_were_added_are_taken_in_and_said(table, folder, file, log):
    rows, manifest = reviewed(table, folder)
    fewer = replace(manifest, images=manifest.images[:-4])
    Review(rows[np.arange(36)], labels_of(rows, fewer, file)).decide(3, "c1")
    assert "039.png" not in file.read_text()
    Review(rows, labels_of(rows, manifest, file))
    assert "labels.csv: images that were not in it and are taken in: 4." in log.text
    assert len(file.read_text().splitlines()) == 41


def test_a_csv_without_hashes_is_read_by_path_and_gets_them(table, folder, file):
    rows, manifest = reviewed(table, folder)
    Review(rows, labels_of(rows, manifest, file)).decide(3, "c1")
    with_hashes = file.read_text()
    lines = [line.split(",") for line in with_hashes.splitlines()]
    file.write_text("".join(",".join(cells[:1] + cells[2:]) + "\n" for cells in lines))
    assert file.read_text().startswith("path,label,split,group,bad,reviewed\n")
    assert Review(rows, labels_of(rows, manifest, file)).decided == {3: Decision("c1")}
    assert file.read_text() == with_hashes


def test_decisions_on_images_that_are_gone_are_kept_and_come_back(table, folder, file, log):
    rows, manifest = reviewed(table, folder)
    Review(rows, labels_of(rows, manifest, file)).decide(39, bad=True)
    rest = rows[np.arange(40) != 39]
    fewer = replace(manifest, images=tuple(image for image in manifest.images if image.path != "c1/039.png"))
    review = Review(rest, labels_of(rest, fewer, file))
    assert "1 that is decided on is not in pictures as they were, the first is ../pictures/c1/039.png" in log.text
    review.decide(3, "c1")
    review.undo()
    assert Review(rows, labels_of(rows, manifest, file)).decided == {39: Decision("c1", bad=True)}


def test_other_bytes_under_a_name_are_another_image(table, folder, file, log):
    rows, manifest = reviewed(table, folder)
    Review(rows, labels_of(rows, manifest, file)).decide(3, "c1")
    keys = list(range(40))
    keys[3] = 1000
    changed, _ = reviewed(table, folder, keys=keys)
    assert Review(changed, labels_of(changed, manifest, file)).decided == {}
    assert "the first is ../pictures/c0/003.png" in log.text


@pytest.fixture
def nothing(table, folder, file):
    """Images of two kinds, none of which has a label, and what they are of."""
    rows, manifest = reviewed(table, folder)
    kinds = rows.labels
    rows = replace(rows, labels=np.full(40, ""), classes=())
    manifest = replace(manifest, images=tuple(image._replace(label="") for image in manifest.images), classes=())
    return rows, manifest, kinds, lambda: Review(rows, labels_of(rows, manifest, file))


def test_labels_from_nothing(nothing, file):
    _, _, kinds, start = nothing
    review = start()
    assert (review.classes, len(review.judged.unlabelled), review.subject(0).likely) == ((), 40, [])
    assert review.judged.agreement == Agreement(0, 0)
    with pytest.raises(UsageError, match="There is no class 'ant'"):
        review.decide(0, "ant")
    names = {"c0": "ant", "c1": "bee"}
    for image in (0, 20, 1):
        review.decide(image, names[kinds[image]], new=True)
    assert review.judged.probability is None
    review.decide(21, "bee")
    assert review.classes == ("ant", "bee")
    likeliest = [names[kind] == review.subject(image).likely[0][0] for image, kind in enumerate(kinds)]
    assert np.mean(likeliest) > 0.8, "four labels are enough to tell them apart"
    assert len(review.judged.unlabelled) == review.counts["unlabelled"] == 36
    lead = [
        np.diff([share for _, share in review.subject(image).likely[1::-1]])[0] for image in review.judged.unlabelled
    ]
    assert lead == sorted(lead), "the least certain first"
    assert [image.label for image in read_manifest(file).images].count("") == 36
    again = start()
    assert again.decided == review.decided
    np.testing.assert_allclose(again.judged.probability, review.judged.probability, atol=1e-6)
    for _ in range(4):
        review.undo()
    assert (review.judged.probability, file.exists()) == (None, False)


def test_images_without_a_label_are_judged_by_those_that_have_one(table, folder, file):
    rows, manifest = reviewed(table, folder)
    without = np.arange(40) % 4 == 0
    rows = replace(rows, labels=np.where(without, "", rows.labels))
    images = [
        image._replace(label="" if place % 4 == 0 else image.label) for place, image in enumerate(manifest.images)
    ]
    review = Review(rows, labels_of(rows, replace(manifest, images=tuple(images)), file))
    y, members = rows[~without].y, np.flatnonzero(~without)
    from sklearn.linear_model import Ridge

    vectors = unit(rows.vectors.astype(np.float64))
    margin = Ridge(review.judge.alpha).fit(vectors[members], 2.0 * y - 1).predict(vectors[without])
    expected = 1 / (1 + np.exp(-margin / review.judge.temperature))
    np.testing.assert_allclose(review.judged.probability[without, 1], expected, atol=1e-5)
    assert set(review.judged.unlabelled) == set(np.flatnonzero(without))
    assert not set(review.judged.unlabelled) & {*review.judged.suspects, *review.judged.uncertain}
    assert review.judged.agreement.judged == 30
    review.decide(0, "c0")
    review.decide(4, "c0")
    review.decide(8, bad=True)
    assert review.judged.agreement.judged == 32
    assert len(review.judged.unlabelled) == 7


@pytest.mark.parametrize("name", [" c2", "c2\n", "c\u200b0", "C0"])
def test_a_new_class_has_a_name_that_a_csv_can_hold_and_that_is_told_from_others(begin, name):
    review = begin()
    with pytest.raises(
        DataError, match=r"cannot hold|look the same|a class 'c0' already; 'C0' differs from it in case only"
    ):
        review.decide(3, name, new=True)
    assert review.decide(3, "wasp", new=True).after == Decision("wasp")
    assert review.classes == ("c0", "c1", "wasp")
