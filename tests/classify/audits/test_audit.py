"""Audit: everything that is wrong is reported, nothing is refused, and no label is judged by itself."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid

from fc7.classify import audit
from fc7.classify.audits.findings import AuditedImage
from fc7.classify.audits.tables import audit_text, summary
from fc7.classify.fitting.search import FoldSearch
from fc7.classify.heads.table import HEADS
from fc7.errors import DataError, UsageError


def paths(pairs):
    return [(pair.first.path, pair.second.path) for pair in pairs]


def test_sound_data_have_no_pairs(table):
    found = audit(table((30, 30), dim=32, val=10))
    assert found.counts | {"outliers": 0, "labels": 0} == dict.fromkeys(found.counts, 0)
    assert found.settings["judged"] == 60
    assert found.notes == []


def test_copies_leaks_and_conflicts(table):
    """Rows 0 to 19 are c0, 20 to 39 c1; 15 to 19 and 35 to 39 are val."""
    keys = list(range(40))
    keys[1], keys[16], keys[21] = keys[0], keys[5], keys[7]
    found = audit(table((20, 20), dim=32, val=5, keys=keys))
    expected = {("c0/000.png", "c0/001.png"), ("c0/005.png", "c0/016.png"), ("c0/007.png", "c1/021.png")}
    assert set(paths(found.duplicates)) == expected
    assert paths(found.leaks) == [("c0/005.png", "c0/016.png")]
    assert paths(found.conflicts) == [("c0/007.png", "c1/021.png")]
    assert found.counts["leaks"] == found.counts["conflicts"] == 1


def test_every_image_is_named_in_a_large_set_of_copies(table):
    keys = [0] * 4 + list(range(4, 40))
    found = audit(table((20, 20), dim=32, keys=keys))
    assert paths(found.duplicates) == [("c0/000.png", f"c0/00{number}.png") for number in (1, 2, 3)]


def test_a_group_in_two_splits_is_a_leak(table):
    group = np.full(40, "", dtype="<U4")
    group[[2, 3, 17, 18]], group[[4, 5]] = "scan", "both"
    found = audit(table((20, 20), dim=32, val=5, group=group))
    (pair,) = found.leaks
    assert (pair.kind, pair.first.split, pair.second.split) == ("group", "train", "val")
    assert pair.first.path in {"c0/002.png", "c0/003.png"}
    assert pair.second.path in {"c0/017.png", "c0/018.png"}
    assert -1 <= pair.cosine <= 1


def alike(embeddings, one, other, noise=0.02):
    vectors = embeddings.vectors.astype(np.float32)
    vectors[other] = vectors[one] * (1 + noise * np.random.default_rng(0).standard_normal(vectors.shape[1]))
    return replace(embeddings, vectors=vectors.astype(np.float16))


def test_candidates_across_splits_come_first_and_are_no_leaks(table):
    embeddings = table((20, 20), dim=64, val=5)
    embeddings = alike(alike(alike(embeddings, 2, 3, 0.01), 0, 17), 4, 22, 0.01)
    found = audit(embeddings)
    first, *others = paths(found.candidates)
    assert first == ("c0/000.png", "c0/017.png"), "train before val"
    assert list(map(set, others)) == [{"c0/004.png", "c1/022.png"}, {"c0/002.png", "c0/003.png"}]
    assert [pair.across_splits for pair in found.candidates] == [True, False, False]
    assert [pair.labels_differ for pair in found.candidates] == [False, True, False]
    assert found.leaks == []


def test_a_candidate_of_a_copy_is_across_splits_if_any_copy_is(table):
    keys = list(range(40))
    keys[16] = keys[2]
    found = audit(alike(table((20, 20), dim=64, val=5, keys=keys), 2, 3))
    assert paths(found.candidates) == [("c0/003.png", "c0/016.png")]


def test_the_threshold_is_half_the_usual_distance_or_the_one_given(table):
    embeddings = table((30, 30), dim=16, spread=1.0)
    rows = embeddings.vectors.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = np.sort(rows @ rows.T, axis=1)[:, ::-1]  # each row's first is its own
    assert audit(embeddings).settings["threshold"] == pytest.approx(1 - np.median(1 - cosines[:, 5]) / 2, abs=1e-4)
    found = audit(embeddings, threshold=0.9, neighbours=3)
    assert found.settings["threshold"] == 0.9
    assert not (cosines[:, 21] >= 0.9).any(), "no more than 20 of one image"
    expected = (np.triu(rows @ rows.T, 1) >= 0.9).sum()
    assert len(found.candidates) == expected > 0


def test_equal_embeddings_of_other_bytes_are_candidates_without_pictures(table):
    embeddings = table((10, 10))
    same = replace(embeddings, vectors=np.ones_like(embeddings.vectors))
    found = audit(same)
    assert len(found.candidates) == 20 * 19 / 2
    assert found.near_duplicates == []
    assert {pair.kind for pair in found.candidates} == {"candidate"}
    assert found.outliers == []


def test_outliers_are_farther_than_the_threshold_that_is_stated(table):
    embeddings = table((30, 30), dim=16, spread=0.3)
    vectors = embeddings.vectors.copy()
    vectors[7] = -vectors[[7, 40]].sum(axis=0)
    found = audit(replace(embeddings, vectors=vectors))
    assert found.outliers[0].image.path == "c0/007.png"
    assert all(outlier.distance > found.settings["outlier_distance"] for outlier in found.outliers)
    assert found.settings["neighbours"] == 5


# Labels


def flipped(table, rows, **options):
    labels = np.repeat(["c0", "c1", "c2"], 30)
    labels[rows] = np.where(labels[rows] == "c0", "c1", "c0")
    return table((30, 30, 30), dim=16, labels=labels, **options)


@pytest.mark.parametrize("name", ["logreg", "linear-svm", "ridge", "knn", "torch-linear"])
def test_flipped_labels_come_first(table, name):
    rows = [3, 14, 35, 61, 80]
    found = audit(flipped(table, rows), head=name)
    first = [int(suspect.image.path[3:6]) for suspect in found.suspects[: len(rows)]]
    assert sorted(first) == rows
    assert found.suspects[0].off_diagonal
    confidence = [suspect.self_confidence for suspect in found.suspects]
    assert confidence == sorted(confidence)
    assert found.suspects[0].predicted in {"c0", "c1", "c2"} - {found.suspects[0].image.label}


def test_confident_is_what_another_class_is_very_probable_for(table):
    found = audit(flipped(table, [3, 14, 35, 61, 80], spread=3.0))
    sure = [suspect for suspect in found.suspects if suspect.confident]
    assert {suspect.off_diagonal for suspect in found.suspects} == {True, False}
    assert all(suspect.probability >= 0.9 and suspect.off_diagonal for suspect in sure)
    assert not any(
        suspect.off_diagonal and suspect.probability >= 0.9 for suspect in found.suspects if suspect not in sure
    )
    (said,) = [rule for name, _, rule in summary(found) if name == "suspected labels"]
    assert said.endswith(f"{len(sure)} of them confidently: with a probability of 0.9 or more")


def test_ridge_judges_where_logreg_would_take_minutes(table, monkeypatch):
    rows = flipped(table, [3, 14])
    assert audit(rows).settings["head"] == "logreg"
    monkeypatch.setattr("fc7.classify.audits.audit.LONG", 1e-6)
    found = audit(rows)
    assert found.settings["head"] == "ridge"
    assert "labels are judged by ridge: logreg would take about 1 min on 90 images of 3 classes" in found.notes[-1]
    asked = audit(rows, head="logreg")
    assert (asked.settings["head"], asked.notes) == ("logreg", [])


def test_any_classifier_of_scikit_learn_judges(table):
    found = audit(flipped(table, [3, 35]), head=NearestCentroid())
    assert {suspect.image.path for suspect in found.suspects[:2]} == {"c0/003.png", "c1/035.png"}
    assert found.settings["head"]


def test_a_label_is_judged_without_itself_and_its_copies(table):
    """Labels by chance on copies: a head that had seen one copy would believe the other."""
    generator = np.random.default_rng(0)
    vectors = np.repeat(generator.standard_normal((40, 60)), 2, axis=0).astype(np.float16)
    labels = np.repeat(generator.permutation(["c0", "c1"] * 20), 2)
    embeddings = replace(table((40, 40), dim=60, keys=np.repeat(np.arange(40), 2), labels=labels), vectors=vectors)
    assert audit(embeddings).settings["accuracy"] < 0.7
    apart = replace(embeddings, sha256=table((40, 40)).sha256)  # the twin
    assert audit(apart, head="knn").settings["accuracy"] > 0.9


def test_all_splits_are_judged(table):
    found = audit(flipped(table, [25, 28], val=10))
    assert {suspect.image.path for suspect in found.suspects[:2]} == {"c0/025.png", "c0/028.png"}
    assert {suspect.image.split for suspect in found.suspects[:2]} == {"val"}


def test_what_is_chosen_holds_its_out_of_fold_scores(table):
    """Each is what the head says of an image that it was not fitted on."""
    from fc7.classify.data.splits import Protocol

    embeddings = table((20, 20), spread=3.0)
    search = FoldSearch(embeddings, Protocol("out-of-fold", (), 4, 0), np.arange(40), None)
    chosen = search.search(HEADS["ridge"], lambda done: None)
    assert chosen.scores.shape == chosen.probability.shape == (40, 2)
    assert chosen.probability.sum(axis=1) == pytest.approx(np.ones(40))
    fold = search.folds[1]
    estimator = HEADS["ridge"].build(0).set_params(**chosen.hyperparameters)
    estimator.fit(search.rows[fold.fitted], embeddings.y[fold.fitted])
    margin = estimator.decision_function(search.rows[fold.held])
    assert chosen.scores[fold.held, 1] - chosen.scores[fold.held, 0] == pytest.approx(margin, abs=1e-4)


def test_the_same_seed_gives_the_same_answer(table):
    embeddings = table((20, 20), spread=3.0)
    assert audit(embeddings).to_dict() == audit(embeddings).to_dict()
    assert audit(embeddings).suspects != audit(embeddings, random_state=2**32 - 1).suspects


def by_key(audit):
    """Return the findings with the keys of images instead of their names."""
    findings = [vars(finding).items() for finding in audit.findings]
    return audit.settings, [
        {name: replace(value, path="") if isinstance(value, AuditedImage) else value for name, value in values}
        for values in findings
    ]


@pytest.mark.parametrize("seed", range(3))
def test_names_and_order_of_images_decide_nothing(table, seed):
    keys = list(range(40))
    keys[1], keys[16], keys[21] = keys[0], keys[5], keys[7]
    group = np.full(40, "", dtype="<U4")
    group[[2, 3, 17, 18]] = "scan"
    embeddings = table((20, 20), dim=12, val=5, keys=keys, group=group, spread=2.0)
    vectors = embeddings.vectors.copy()
    vectors[[1, 16, 21]] = vectors[[0, 5, 7]]
    vectors[9] = vectors[11] * np.float16(0.99)
    embeddings = replace(embeddings, vectors=vectors)
    generator = np.random.default_rng(seed)
    order, names = generator.permutation(40), generator.permutation(40).astype(str)
    found = audit(embeddings, head="ridge")
    assert found.suspects
    assert found.candidates
    assert by_key(audit(replace(embeddings[order], paths=names), head="ridge")) == by_key(found)


def test_two_labels_of_one_image_are_both_judged(table):
    keys = list(range(40))
    keys[25] = keys[3]
    embeddings = table((20, 20), dim=16, keys=keys, spread=0.5)
    vectors = embeddings.vectors.copy()
    vectors[25] = vectors[3]
    found = audit(replace(embeddings, vectors=vectors))
    assert found.suspects[0].image.path == "c1/025.png"


# Awkward data


@pytest.mark.parametrize("counts", [(1, 1), (1, 30), (2, 2), (4, 4), (4, 30)])
def test_too_few_images_are_said_not_fatal(table, counts):
    found = audit(table(counts))
    assert found.settings["judged"] == 0
    assert found.suspects == []
    assert "fewer than 5 images" in found.notes[0]
    assert "no label judged" in found.notes[1]


def test_small_classes_are_left_out_and_named(table):
    found = audit(table((30, 3, 30)))
    assert found.settings["judged"] == 60
    assert found.notes == ["labels not judged, fewer than 5 images: c1"]
    assert audit(table((30, 3, 30)), folds=3).settings["judged"] == 63


def test_a_class_that_lost_all_its_images_is_not_missed(table):
    embeddings = table((20, 20, 20))
    found = audit(embeddings[embeddings.labels != "c1"])
    assert found.settings["judged"] == 40
    assert {suspect.predicted for suspect in found.suspects} <= {"c0", "c2"}


def test_groups_that_leave_no_folds_are_said_not_fatal(table):
    found = audit(table((20, 20), group=np.repeat(["a", "b"], 20)))
    assert found.settings["judged"] == 0
    assert found.notes[-1].startswith("no label judged: ")


def test_the_folds_that_are_said_are_the_folds_done(table):
    groups = [f"g{row // 10}" for row in range(30)] * 2
    assert audit(table((30, 30), group=groups), head="ridge", folds=10).settings["folds"] == 3


def test_fits_that_did_not_converge_are_counted(table):
    hasty = LogisticRegression(C=1e6, max_iter=1)
    assert audit(table((20, 20)), head=hasty).notes == ["did not converge: 15 of 15 fits"]


def test_copies_of_one_image_only(table):
    found = audit(table((5, 5), keys=[0] * 10))
    assert (found.counts["duplicates"], found.counts["candidates"]) == (9, 0)
    assert found.settings["outlier_distance"] is None
    assert "none" in audit_text(found, 20)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": "logrge"}, "logrge"),
        ({"head": "classifier"}, "classifier"),
        ({"threshold": 0.0}, "threshold 0"),
        ({"threshold": 1.5}, "1.5"),
        ({"threshold": float("nan")}, "nan"),
        ({"neighbours": 0}, "neighbours 0"),
        ({"folds": 1}, "folds 1"),
    ],
)
def test_what_makes_no_sense_is_usage(table, options, said):
    with pytest.raises(UsageError, match=said):
        audit(table(), **options)


def test_embeddings_that_are_not_finite_are_refused(table):
    embeddings = table()
    embeddings.vectors[3] = np.nan
    with pytest.raises(DataError, match=r"c0/003\.png"):
        audit(embeddings)


def test_vectors_from_elsewhere_are_audited(table):
    made = table((20, 20), dim=32)
    X, y = made.vectors.copy(), made.labels.tolist()
    X[25] = X[3]
    found = audit((X, y))
    assert [set(pair) for pair in paths(found.conflicts)] == [{"row 3", "row 25"}]
    assert found.settings["judged"] == 40
    pandas = pytest.importorskip("pandas")
    frame = audit(pandas.DataFrame({"label": y, "embedding": [*X]}))
    assert frame.to_pandas().equals(found.to_pandas())
    assert audit((X, None)).notes == ["no image has a label to judge"]
    with pytest.raises(UsageError, match="audit takes one table of embeddings, got 2"):
        audit([made, made])
