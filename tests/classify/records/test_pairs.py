"""Every pair of runs: matched by image, corrected together."""

import json
import math

import numpy as np
import pytest
from paired import answers, grouped, interval_of, p_of

from fc7.classify.evaluation.effective_size import ALPHA, effective_size
from fc7.classify.evaluation.paired_tests import allow_for, holm, sign_flip
from fc7.classify.records import pairs as pairs_module
from fc7.classify.records.pairs import compare_pairs, compare_planned


def test_pairs_hold_what_the_records_say(made_up):
    first, second = answers(40, 9, 1, 3)
    runs = [made_up(first), made_up(second, head="knn")]
    (pair,) = compare_pairs(runs)
    assert (pair.first, pair.second) == (runs[0].id, runs[1].id)
    assert pair.names == ("vgg16 fc7 logreg", "vgg16 fc7 knn")
    assert (pair.n, pair.only_first, pair.only_second) == (53, 9, 1)
    assert pair.difference == pytest.approx(8 / 53)
    assert pair.p == pair.p_corrected == pytest.approx(p_of(first, second))
    assert pair.interval == interval_of(first, second)
    assert pair.smallest_detectable == 6 / 53


def test_pairs_match_images_by_content_whatever_their_names(made_up):
    first, second = np.array([True, True, False, False]), np.array([True, False, True, True])
    renamed = made_up(second, head="knn")
    renamed.predictions["path"][:] = ["z.jpg", "y.jpg", "x.jpg", "w.jpg"]
    (pair,) = compare_pairs([made_up(first), renamed])
    assert (pair.only_first, pair.only_second) == (1, 2)


def test_copies_of_an_image_are_matched_by_path(made_up):
    runs = [made_up([True, True, False, False], labels=[0] * 4), made_up([True] * 4, labels=[0] * 4, head="knn")]
    for run in runs:
        run.predictions["key"][:] = ["0" * 16] * 4
    (pair,) = compare_pairs(runs)
    assert (pair.n, pair.only_first, pair.only_second) == (4, 0, 2)


def test_holm_is_over_the_pairs_on_the_same_images(made_up):
    first, second = answers(40, 9, 1, 3)
    alone = compare_pairs([made_up(first), made_up(second, head="knn")])
    paths = [f"other/{place}.jpg" for place in range(len(first))]
    others = [made_up(right, head=head, paths=paths) for right, head in ((first, "lda"), (second, "ridge"))]
    pairs = compare_pairs([made_up(first), others[0], made_up(second, head="knn"), others[1]])
    assert [pair.p_corrected for pair in pairs] == [alone[0].p] * 2


def test_an_old_record_is_never_tested(made_up, old):
    first, second = made_up([True] * 8), made_up([False] * 8, head="knn")
    assert compare_pairs([first, old(second)]) == compare_pairs([old(first), old(second)]) == []
    assert len(compare_pairs([first, old(first), second])) == 1


def test_pairs_match_images_by_path_not_by_place(made_up):
    generator = np.random.default_rng(0)
    first, second = generator.random(60) < 0.8, generator.random(60) < 0.6
    order = generator.permutation(60)
    labels = np.arange(60) % 2
    paths = [f"{place}.jpg" for place in range(60)]
    shuffled = made_up(second[order], head="knn", labels=labels[order], paths=[paths[place] for place in order])
    (pair,) = compare_pairs([made_up(first, labels=labels, paths=paths), shuffled])
    assert pair.p == pytest.approx(p_of(first, second))


def test_runs_on_other_images_or_labels_are_not_paired(made_up):
    right = np.ones(20, bool)
    other_images = made_up(right, head="knn", paths=[f"other/{place}.jpg" for place in range(20)])
    paths = [f"{('ants', 'bees')[place % 2]}/{place:04d}.jpg" for place in range(20)]
    other_labels = made_up(right, head="lda", labels=(np.arange(20) + 1) % 2, paths=paths)
    assert compare_pairs([made_up(right), other_images, other_labels, made_up(right[:10], head="ridge")]) == []


def test_the_same_classes_in_another_order_are_the_same_labels(made_up):
    labels = np.arange(20) % 2
    paths = [f"{place}.jpg" for place in range(20)]
    first = made_up(np.ones(20, bool), labels=labels, paths=paths)
    second = made_up(np.ones(20, bool), labels=1 - labels, paths=paths, classes=("bees", "ants"), head="knn")
    assert len(compare_pairs([first, second])) == 1


def test_holm_is_over_all_pairs(made_up):
    generator = np.random.default_rng(1)
    runs = [made_up(generator.random(80) < 0.5 + place / 12, head=f"head{place}") for place in range(5)]
    pairs = compare_pairs(runs)
    assert len(pairs) == 10
    assert [pair.p_corrected for pair in pairs] == pytest.approx(holm([pair.p for pair in pairs]))
    planned = compare_planned([(runs[0], other) for other in runs[1:]])
    assert [pair.p_corrected for pair in planned] == pytest.approx(holm([pair.p for pair in pairs[:4]]))


def test_a_pair_becomes_strict_json(made_up):
    (pair,) = compare_pairs([made_up([True, False]), made_up([True, True], head="knn")])
    values = json.loads(json.dumps(pair.to_dict(), allow_nan=False))
    assert values["smallest_detectable"] is None
    assert values["names"] == ["vgg16 fc7 logreg", "vgg16 fc7 knn"]


def test_the_images_of_fifty_runs_are_matched_once_for_each_run(made_up, monkeypatch):
    generator = np.random.default_rng(0)
    runs = [made_up(generator.random(5000) < 0.9, head=f"head{place}") for place in range(50)]
    for run in runs:
        _ = run.right
    sorted_again = []
    real = pairs_module.image_order
    monkeypatch.setattr(pairs_module, "image_order", lambda run: (sorted_again.append(run), real(run))[1])
    assert len(compare_pairs(runs)) == 1225
    assert len(sorted_again) == 50, "images are put in order once for each run, not for each pair"


def test_images_in_groups_are_tested_by_group(made_up):
    generator = np.random.default_rng(0)
    groups = np.arange(120) // 6
    first, second = generator.random(120) < 0.9, generator.random(120) < 0.6
    runs = [grouped(made_up(right, head=head), groups) for right, head in ((first, "logreg"), (second, "knn"))]
    (pair,) = compare_pairs(runs)
    differences = np.bincount(groups, first.astype(int) - second).astype(int)
    assert pair.p == sign_flip(differences)
    assert (pair.count, pair.test) == ("120 images in 20 groups", "exact test over 20 groups")
    assert pair.effective == effective_size(first.astype(int) - second, groups)
    alone = compare_pairs([made_up(first), made_up(second, head="knn")])[0]
    assert (alone.test, alone.effective, alone.groups) == ("exact McNemar", 120, 120)
    assert pair.interval[1] - pair.interval[0] > alone.interval[1] - alone.interval[0]
    few = [grouped(run, np.arange(120) // 24) for run in runs]
    assert compare_pairs(few)[0].smallest_detectable == math.inf, "five signs are never significant"


def test_runs_of_other_groups_are_not_paired(made_up):
    first, second = made_up(np.ones(20, bool)), made_up(np.ones(20, bool), head="knn")
    assert compare_pairs([grouped(first, np.arange(20) // 2), second]) == []
    assert len(compare_pairs([grouped(first, np.arange(20) // 2), grouped(second, 9 - np.arange(20) // 2)])) == 1


def test_folds_are_allowed_for(made_up):
    first, second = answers(60, 20, 6, 4)
    runs = [made_up(first), made_up(second, head="knn")]
    for run in runs:
        run.predictions["fold"] = [1 + place % 5 for place in range(90)]
    (pair,) = compare_pairs(runs)
    assert pair.p == allow_for(p_of(first, second), 2.25)
    assert (pair.effective, pair.test) == (40, "exact McNemar that allows for 5 folds")
    assert pair.smallest_detectable == 10 / 90


def test_what_planned_comparisons_could_show_knows_the_correction(made_up):
    chosen, rival, baseline = np.arange(200) < 180, np.arange(200) < 178, np.arange(200) < 60
    runs = [made_up(right, head=head) for right, head in ((chosen, "logreg"), (rival, "knn"), (baseline, "baseline"))]
    near, far = compare_planned([(runs[0], other) for other in runs[1:]])
    assert (near.level, far.level) == (ALPHA, ALPHA / 2), "what is clear is out of the way of the others"

    assert compare_planned([(runs[0], runs[1]), (runs[1], runs[0])])[0].level == ALPHA / 2
