"""A review: decisions, what they change, the csv that holds them, and the way back."""

from dataclasses import replace

import numpy as np
import pytest
from reviewed import reviewed, state

from fc7.classify.reviews.labels import Decision, Labels
from fc7.classify.reviews.leave_one_out import NONE, LeftOut, prepare
from fc7.classify.reviews.review import Review
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
    again = LeftOut(prepare(rows.vectors), y, 2, np.arange(40), review.alpha).scores() / review.temperature
    np.testing.assert_allclose(
        np.log(review.judged.probability[:, 1] / review.judged.probability[:, 0]), again[:, 1] - again[:, 0], atol=1e-6
    )
    assert review.judged.agreement.judged == 39


def test_what_is_decided_is_no_suspect_any_longer_and_confirming_is_a_decision(begin):
    review = begin(flipped=(3, 30))
    review.decide(3)
    assert 3 not in review.judged.suspects
    assert review.counts == {"suspects": 1, "reviewed": 1, "relabelled": 0, "bad": 0}
    review.decide(30, "c1")
    assert review.counts == {"suspects": 0, "reviewed": 2, "relabelled": 1, "bad": 0}
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
    assert text.splitlines()[0] == "path,label,split,group,bad,reviewed"
    assert "../pictures/c0/003.png,c0,train,,,1\n" in text
    assert "../pictures/c0/007.png,c0,train,,yes,2\n" in text
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
    lines = file.read_text().replace("c0/009.png,c0,train,,,", "c0/009.png,wasp,train,,,")
    file.write_text(lines)
    review = begin(flipped=(3,))
    assert review.classes == ("c0", "c1", "wasp")
    assert review.decided == {3: Decision("c0"), 9: Decision("wasp")}
    assert review.decide(10, "wasp").after.label == "wasp"


def test_copies_are_one_image_and_follow_each_other(table, folder, file):
    keys = list(range(40))
    keys[21] = keys[3]
    rows, manifest = reviewed(table, folder, keys=keys)
    review = Review(rows, Labels(manifest, file))
    assert len(review) == 39
    subject = review.subject(3)
    assert (subject.decision.label, subject.paths) == ("", ["c0/003.png", "c1/021.png"])
    assert review.judged.suspects[0] == 3, "copies that contradict each other come first"
    with pytest.raises(UsageError, match="no class ''"):
        review.decide(3)
    review.decide(3, bad=True)
    assert file.read_text().count(",yes,1") == 2
    again = Review(rows, Labels(manifest, file))
    assert again.decided == {3: Decision("", bad=True)}
    again.decide(3, "c1")
    labels = [image.label for image in read_manifest(file).images if image.path[-7:] in ("003.png", "021.png")]
    assert labels == ["c1", "c1"]


def test_copies_are_named_in_the_order_of_the_data_set(table, folder, file):
    keys = list(range(40))
    keys[21] = keys[3]
    rows, manifest = reviewed(table, folder, keys=keys)
    manifest = replace(manifest, images=manifest.images[::-1])
    review = Review(rows.in_key_order(), Labels(manifest, file))
    (image,) = [image for image in range(len(review)) if len(review.subject(image).paths) > 1]
    assert review.subject(image).paths == ["c1/021.png", "c0/003.png"]
    assert type(review.subjects(np.array([image]))[0].image) is int, "so that it can be sent as JSON"


def test_bad_images_of_a_csv_are_shown_and_can_come_back(table, folder, tmp_path, file):
    rows, manifest = reviewed(table, folder)
    bad = [image._replace(bad=place in (2, 25)) for place, image in enumerate(manifest.images)]
    review = Review(rows, Labels(replace(manifest, images=tuple(bad)), file))
    assert review.counts["bad"] == 2
    assert review.closed == [2, 25]
    assert review.judged.agreement.judged == 38
    review.decide(2, "c0")
    assert review.counts["bad"] == 1
    review.undo()
    assert (review.counts["bad"], file.exists()) == (2, False)


def test_decisions_on_images_that_cannot_be_read_now_are_kept(table, folder, file):
    rows, manifest = reviewed(table, folder)
    Review(rows, Labels(manifest, file)).decide(39, bad=True)
    mask = np.arange(40) != 39
    review = Review(rows[mask], Labels(manifest, file))
    review.decide(3, bad=True)
    assert [line for line in file.read_text().splitlines() if ",yes," in line] == [
        "../pictures/c0/003.png,c0,train,,yes,2",
        "../pictures/c1/039.png,c1,val,,yes,1",
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


def test_unknown_images_and_classes(begin):
    review = begin()
    for call in (lambda: review.subject(40), lambda: review.decide(-1), lambda: review.key(99)):
        with pytest.raises(UsageError, match="There is no image"):
            call()
    with pytest.raises(UsageError, match="There is no class 'wasp'"):
        review.decide(3, "wasp")
    assert review.changes == 0
