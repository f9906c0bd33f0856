"""Fit: what is chosen is chosen inside the fitted rows, and the record says what was done."""

import contextlib
import json
import re
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import sklearn
import torch
from fakes import FakeBackbone
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import LinearSVC

from fc7.classify import Bundle, fit
from fc7.classify.data.splits import cut
from fc7.classify.evaluation.metrics import measure
from fc7.classify.fitting.fit import Experiment
from fc7.classify.heads.calibration import find_temperature
from fc7.classify.heads.table import HEADS, Head
from fc7.classify.settings import FitSettings
from fc7.errors import DataError, FC7Error, LeakageError, UsageError
from fc7.extract import extract, read_manifest

QUICK = ("logreg", "linear-svm", "rbf-svm", "ridge", "lda", "knn", "centroid")
NAMES = (*QUICK, "gaussian-nb", "torch-linear", "mlp", "baseline")  # fit any embedding
LEARNING = NAMES[:-1]


@contextlib.contextmanager
def everything_set_otherwise():
    """Set for the whole process what other libraries set: NumPy's floating point errors, torch's default dtype."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        with np.errstate(all="raise"), torch.autocast("cpu", torch.bfloat16):
            yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("head", [*NAMES, "hist-gb", "random-forest"])
def test_switches_that_a_caller_has_set_reach_no_verdict(table, head):
    embeddings = table((12, 12), val=4, dim=300)  # more dimensions than rows, as with fc7
    usual = fit(embeddings, head, folds=2, epochs=4)
    with everything_set_otherwise():
        found = fit(embeddings, head, folds=2, epochs=4)
        again = Bundle.of(found).predict_proba(embeddings.vectors)
    assert found.run.metrics == usual.run.metrics
    assert found.run.selection == usual.run.selection
    np.testing.assert_array_equal(found.run.probabilities.matrix(), usual.run.probabilities.matrix())
    np.testing.assert_array_equal(again, answer(usual, embeddings))


def answer(fitted, embeddings):
    return fitted.estimator.predict_proba(embeddings.vectors)


@pytest.mark.parametrize("name", NAMES)
def test_every_head_is_fitted_measured_and_recorded(table, name):
    embeddings = table((40, 40, 40), val=12)
    fitted = fit(embeddings, name, folds=3, epochs=4)
    run, held = fitted.run, fitted.embeddings[fitted.embeddings.split == "val"]
    assert (run.head, run.trainable, run.data["evaluated"]) == (name, "", "val")
    assert (run.folds[0]["fitted"], run.data["n_eval"], run.metrics["n"]) == (84, 36, 36)
    assert run.predictions["path"] == held.paths.tolist()
    assert run.predictions["label"] == held.y.tolist()
    probability = answer(fitted, held)
    assert np.asarray(run.probabilities.matrix()) == pytest.approx(probability, abs=1e-6)
    for name_, value in measure(held.y, probability).to_dict().items():
        assert run.metrics[name_] == pytest.approx(value, abs=1e-4)
    assert run.recipe["id"] == embeddings.recipe.id
    assert run.seconds["extract"] == 1.5
    assert run.seconds["fit"] > 0
    assert all(run.hyperparameters[key] in run.selection["grid"][key] for key in HEADS[name].grid)
    assert set(run.hyperparameters) == set(HEADS[name].grid)
    assert (run.metrics["accuracy"] > 0.8) == (name != "baseline")
    assert fitted.estimator.classes_.tolist() == [0, 1, 2], "positions in embeddings.classes"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bits(table, name):
    embeddings = table((20, 20), val=6, spread=3.0)
    one, two = (fit(embeddings, name, folds=2, epochs=2, random_state=3) for _ in range(2))
    assert np.array_equal(answer(one, embeddings), answer(two, embeddings))
    assert one.run.id == two.run.id
    assert one.run.predictions == two.run.predictions
    assert one.run.probabilities == two.run.probabilities


def renamed(embeddings, seed):
    """Return the same images in another order, under other names."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(embeddings))
    names = generator.permutation(len(embeddings)).astype(str)
    return replace(embeddings[order], paths=np.char.add(names, ".jpg"), name="other")


def outcome(fitted):
    """Return everything that a fit decides, by the keys of images instead of their names."""
    run, rows = fitted.run, fitted.embeddings
    answers = fitted.estimator.predict_proba(rows.vectors)
    sample = (fitted.abstention.reference.tobytes(), fitted.abstention.probability.tobytes())
    by_key = [rows.sha256.tobytes(), rows.labels.tolist(), answers.tobytes(), run.predictions["key"]]
    decided = run.id, run.folds, run.hyperparameters, run.selection, run.metrics, run.notes, run.curves
    return by_key, sample, run.probabilities, decided


SPLIT = [(name, 3) for name in (*NAMES, "hist-gb", "random-forest")]
CROSS_VALIDATED = [(name, 0) for name in QUICK if name != "rbf-svm"]


@pytest.mark.parametrize(("name", "val"), [*SPLIT, *CROSS_VALIDATED])
def test_names_and_order_of_images_decide_nothing(table, name, val):
    """Bit for bit, with copies and groups, whose names are others, too."""
    keys = list(range(34))
    keys[5], keys[22] = keys[1], keys[18]
    group = np.array(["a", "", "a", "", "", "", "b", "b"] + [""] * 26)
    embeddings = table((17, 17), dim=5, val=val, keys=keys, group=group, spread=3.0)
    vectors = embeddings.vectors.copy()
    vectors[[5, 22]] = vectors[[1, 18]]
    embeddings = replace(embeddings, vectors=vectors, views=(vectors[:, ::-1].copy(),))
    first = outcome(fit(embeddings, name, folds=2, epochs=2))
    assert outcome(fit(renamed(embeddings, 0), name, folds=2, epochs=2)) == first


def test_names_of_files_in_a_folder_or_a_csv_decide_nothing(pictures, tmp_path):
    files = sorted(pictures.rglob("*.png"))
    for number, file in enumerate(files[::-1]):
        where = tmp_path / "other" / file.parent.relative_to(pictures)
        where.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, where / f"{number:02d}.png")
    lines = [f"{file.relative_to(tmp_path)},{file.parent.name},{file.parent.parent.name}" for file in files[::-1]]
    (tmp_path / "data.csv").write_text("\n".join(["path,label,split", *lines]))
    sources = (pictures, tmp_path / "other", tmp_path / "data.csv")
    tables = [extract(read_manifest(data), FakeBackbone()) for data in sources]
    assert len({table.sha256.tobytes() for table in tables}) == 3, "three orders"
    one, other, third = (outcome(fit(table, "logreg")) for table in tables)
    assert one == other == third


@settings(max_examples=6)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_no_permutation_decides_anything(table, seed, random_state):
    embeddings = table((9, 11, 10), spread=3.0)
    one, other = (
        fit(data, "ridge", folds=3, random_state=random_state) for data in (embeddings, renamed(embeddings, seed))
    )
    assert outcome(one) == outcome(other)


@pytest.mark.parametrize("name", LEARNING)
def test_labels_of_evaluated_rows_are_not_looked_at(table, name):
    """Permuting them changes the figures, and neither a hyper-parameter, a temperature nor an answer."""
    embeddings = table((40, 40), val=15, spread=4.0)
    evaluated = embeddings.split == "val"
    labels = embeddings.labels.copy()
    labels[evaluated] = labels[evaluated][::-1]
    honest = fit(embeddings, name, folds=3, epochs=2)
    fooled = fit(replace(embeddings, labels=labels), name, folds=3, epochs=2)
    assert honest.run.metrics["accuracy"] != fooled.run.metrics["accuracy"]
    assert honest.run.hyperparameters == fooled.run.hyperparameters
    assert honest.run.selection == fooled.run.selection
    assert np.array_equal(answer(honest, embeddings), answer(fooled, embeddings))


@pytest.mark.parametrize("name", ["logreg", "knn", "torch-linear"])
def test_vectors_of_evaluated_rows_are_not_fitted_on(table, name):
    embeddings = table((40, 40), dim=100, val=15, spread=4.0)
    vectors = embeddings.vectors.copy()
    vectors[embeddings.split == "val"] *= -3
    one, two = (fit(data, name, folds=2, epochs=2) for data in (embeddings, replace(embeddings, vectors=vectors)))
    assert one.run.hyperparameters == two.run.hyperparameters
    assert np.array_equal(answer(one, embeddings), answer(two, embeddings))


def test_the_choice_is_that_of_scikit_learns_cross_validation(table):
    """The oracle: out-of-fold margins by cross_val_predict, the least log loss after the best temperature."""
    keys = list(range(90))
    keys[3], keys[50] = keys[1], keys[48]  # copies, so that folds are not the plain ones
    split = np.where(np.random.default_rng(0).random(90) < 0.3, "val", "train")
    split[[1, 3, 48, 50]] = "train"
    embeddings = table((45, 45), dim=60, spread=5.0, keys=keys, split=split)
    run = fit(embeddings, "linear-svm", folds=4).run
    embeddings = embeddings.in_key_order()
    rows = np.flatnonzero(embeddings.split == "train")
    X, y = normalize(embeddings.vectors[rows].astype(np.float64)), embeddings.y[rows]
    fold = np.empty(len(rows), int)
    for number, (_, held) in enumerate(cut(embeddings, rows, 4, 0)):
        fold[np.searchsorted(rows, held)] = number
    found = {}
    for C in HEADS["linear-svm"].grid["C"]:
        head = LinearSVC(C=C, tol=1e-8, max_iter=1_000_000, random_state=0)
        margin = cross_val_predict(head, X, y, cv=PredefinedSplit(fold), method="decision_function")
        found[C] = find_temperature(np.column_stack([-margin / 2, margin / 2]), y)[1]
        if run.hyperparameters["C"] == C:
            assert run.selection["accuracy"] == pytest.approx(((margin > 0) == y).mean())
    assert run.hyperparameters["C"] == min(found, key=found.get)
    assert run.selection["log_loss"] == pytest.approx(min(found.values()), abs=1e-5)


@pytest.mark.parametrize("name", ["logreg", "linear-svm", "ridge", "lda", "centroid", "torch-linear"])
def test_on_one_scale_a_linear_head_is_linear_in_raw_embeddings(table, name):
    embeddings = table((40, 40, 40), val=12)
    fitted = fit(embeddings, name, folds=2, epochs=2, preparation="scale")
    logits = np.log(fitted.estimator.predict_proba(np.stack([np.zeros(8), np.eye(8)[2], 0.25 * np.eye(8)[2]])))
    logits -= logits.mean(axis=1, keepdims=True)
    assert logits[2] - logits[0] == pytest.approx(0.25 * (logits[1] - logits[0]), abs=1e-5)
    assert fitted.run.protocol["preparation"] == "scale"
    assert "rows on one scale" in fitted.run.notes
    assert fitted.run.id != fit(embeddings, name, folds=2, epochs=2).run.id


def test_an_unknown_preparation_is_refused_with_the_known_ones(table):
    with pytest.raises(UsageError, match="'l2' is not one of unit, scale"):
        fit(table((20, 20)), preparation="l2")


def test_ties_go_to_the_simplest(table):
    """The prior does not depend on the grid."""
    from sklearn.dummy import DummyClassifier

    head = Head("prior", lambda seed: DummyClassifier(strategy="prior"), {"constant": ["first", "second"]})
    assert Experiment(table(val=5)).fit(head).run.hyperparameters == {"constant": "first"}


# Cross-validation


def test_without_splits_every_image_is_predicted_once(table):
    embeddings = table((23, 31))
    run = fit(embeddings, "ridge").run
    assert run.data["evaluated"] == "5-fold cross-validation"
    assert run.metrics["n"] == run.data["n_eval"] == 54
    assert run.predictions["path"] == embeddings.in_key_order().paths.tolist()
    assert np.isfinite(run.probabilities.matrix()).all()


@pytest.mark.parametrize("name", ["knn", "logreg", "lda"])
def test_noise_is_not_learned_by_heart(table, name):
    """Labels by chance: a head that had seen what it predicts would get most of them right."""
    embeddings = table((40, 40), dim=60, spread=1.0)
    noise = np.random.default_rng(1).permutation(embeddings.labels)
    vectors = np.random.default_rng(2).standard_normal((80, 60)).astype(np.float16)
    fitted = fit(replace(embeddings, labels=noise, vectors=vectors), name, folds=3)
    assert fitted.run.metrics["accuracy"] < 0.7


def test_copies_do_not_help_under_cross_validation(table):
    """Every image twice, labels by chance: one copy must not answer for the other."""
    generator = np.random.default_rng(0)
    vectors = np.repeat(generator.standard_normal((40, 60)), 2, axis=0).astype(np.float16)
    labels = np.repeat(generator.permutation(["c0", "c1"] * 20), 2)
    embeddings = replace(table((40, 40), dim=60, keys=np.repeat(np.arange(40), 2), labels=labels), vectors=vectors)
    head = Head("nearest", lambda seed: HEADS["knn"].build(seed).set_params(n_neighbors=1))
    assert Experiment(embeddings).fit(head).run.metrics["accuracy"] < 0.75
    apart = replace(embeddings, sha256=table((40, 40)).sha256)  # the twin: without keys they do answer
    assert Experiment(apart).fit(head).run.metrics["accuracy"] > 0.75


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("counts", [(5, 5), (6, 6), (12, 13), (5, 40)])
def test_every_head_works_on_few_images(table, name, counts):
    run = fit(table(counts), name, epochs=2).run
    assert run.metrics["n"] == sum(counts)


@pytest.mark.parametrize("name", NAMES)
def test_every_head_works_on_ten_fitted_images_a_class(table, name):
    assert fit(table((20, 20), val=10), name, epochs=2).run.metrics["n"] == 20


@pytest.mark.parametrize("counts", [(2, 2), (3, 3), (2, 30)])
def test_very_few_images_are_fitted_or_refused_with_the_counts(table, counts):
    for name in ("logreg", "lda", "knn"):
        try:
            assert fit(table(counts), name).run.metrics["n"] == sum(counts)
        except DataError as error:
            assert re.search(r"\d+ images", str(error))


# Epochs, notes, progress


def test_epochs_are_said_and_recorded(table):
    said = []
    run = fit(table((20, 20), val=6), "torch-linear", folds=2, epochs=3, on_epoch=said.append).run
    pattern = r"epoch [123]/3 train loss \d+\.\d{4} acc [01]\.\d{3} val loss \d+\.\d{4} acc [01]\.\d{3}"
    assert len(said) == 3
    assert all(re.fullmatch(pattern, line) for line in said)
    assert [epoch["epoch"] for epoch in run.curves] == [1, 2, 3]
    assert run.curves[-1]["val_accuracy"] == pytest.approx(run.metrics["accuracy"])


@pytest.mark.parametrize("epochs", [0, -2])
def test_no_epochs_are_refused_not_replaced(table, epochs):
    with pytest.raises(FC7Error, match=str(epochs)):
        fit(table(val=5), "torch-linear", epochs=epochs)


def test_a_head_that_did_not_converge_says_so(table):
    hasty = Head("hasty", lambda seed: LogisticRegression(C=1e6, max_iter=1))
    assert Experiment(table(val=5, spread=3.0)).fit(hasty).run.notes == ["did not converge: 6 of 6 fits"]
    patient = Head("patient", lambda seed: LogisticRegression(max_iter=1000))
    assert Experiment(table(val=5, spread=3.0)).fit(patient).run.notes == []


class WarnsInside(LogisticRegression):
    """Warns where the inner folds of five outer ones are fitted, 30 of 50 images, and nowhere else."""

    def fit(self, X, y):
        if len(X) == 30:
            warnings.warn("no", ConvergenceWarning, stacklevel=1)
        return super().fit(X, y)


def test_every_fit_in_every_fold_that_did_not_converge_is_counted(table):
    run = fit(table((25, 25)), WarnsInside()).run
    assert run.notes == ["did not converge: 20 of 31 fits, in 5 of 5 folds"]
    assert [fold["unconverged"] for fold in run.folds] == [4] * 5
    hasty = Head("hasty", lambda seed: HEADS["logreg"].build(seed).set_params(max_iter=1), {"C": [1e4]})
    run = Experiment(table((25, 25))).fit(hasty).run
    assert run.notes == ["did not converge: 31 of 31 fits, in 5 of 5 folds"], (
        "a head that answers its grid at once, too"
    )


def test_every_fold_says_what_it_chose(table):
    """Each entry is what the fold's own images choose; the run's are those of the fit that is kept."""
    embeddings = table((30, 30), spread=4.0)
    fitted = fit(embeddings, "knn", cross_validate=5, folds=5)
    run, rows = fitted.run, fitted.embeddings
    pairs = Experiment(embeddings).protocol.pairs
    assert [(fold["fitted"], fold["evaluated"]) for fold in run.folds] == [(len(a), len(b)) for a, b in pairs]
    assert len({json.dumps(fold["hyperparameters"]) for fold in run.folds}) > 1, "or this shows nothing"
    for fold, (inside, held) in zip(run.folds, pairs, strict=True):
        part = np.concatenate([inside, held])
        split = np.where(np.isin(np.arange(len(rows)), inside), "train", "val")
        alone = fit(replace(rows, split=split)[np.sort(part)], "knn", folds=5).run
        assert alone.folds[0] == fold
        assert alone.hyperparameters == fold["hyperparameters"]
    whole = replace(rows, split=np.full(len(rows), "train"))
    extra = replace(table((1, 1), keys="xy"), split=np.array(["val", "val"]))  # any, so that there is a split
    both = {name: np.concatenate([getattr(whole, name), getattr(extra, name)]) for name in COLUMNS}
    assert fit(replace(whole, **both), "knn").run.hyperparameters == run.hyperparameters


COLUMNS = ("labels", "paths", "split", "group", "sha256", "vectors")


def test_the_folds_that_are_said_are_the_folds_done(table):
    """Groups allow three folds outside and two inside, whatever was asked for."""
    rows = table((30, 30), group=[f"g{row // 10}" for row in range(30)] * 2)
    run = fit(rows, "ridge", cross_validate=10).run
    assert run.data["evaluated"] == run.summary()["protocol"]["evaluated"] == "3-fold cross-validation"
    assert [fold["inner_folds"] for fold in run.folds] == [2, 2, 2]
    assert run.selection["folds"] == 3, "those of the fit that is kept"


def test_curves_are_those_of_every_fold(table):
    run = fit(table((20, 20)), "torch-linear", folds=2, epochs=3).run
    assert [(epoch["fold"], epoch["epoch"]) for epoch in run.curves] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert all("val_loss" in epoch for epoch in run.curves)


class Contrary(LogisticRegression):
    """Takes every image for the other class."""

    def decision_function(self, X):
        return -super().decision_function(X)

    predict_proba = property()


def test_a_head_worse_than_the_baseline_says_so(table):
    run = fit(table((30, 20), val=5), Contrary()).run
    assert re.search(r"^worse than the baseline inside the fitted images: .*accuracy 0\.\d+, not 0\.6", run.notes[0])
    assert fit(table((30, 20), val=5), "ridge").run.notes == []
    assert fit(table((30, 20), val=5), "baseline").run.notes == []


def test_leaked_images_are_in_the_record(table):
    keys = list(range(40))
    keys[19] = keys[0]
    leaky = table(val=5, keys=keys)
    run = fit(leaky, "ridge", allow_leakage=True).run
    assert (run.protocol["leaked"], fit(table(val=5), "ridge").run.protocol["leaked"]) == (1, 0)


def test_random_weights_are_said(table):
    assert "random" in fit(table(val=5, source="random:0"), "centroid").run.notes[0]


def test_progress_rises_to_the_total(table):
    seen = []
    fit(table((20, 20)), "ridge", folds=3, progress=lambda *step: seen.append(step))
    stages, done, totals = zip(*seen, strict=True)
    assert set(stages) == {"fit ridge"}
    # Three folds, and the head that is kept; in each the grid in three folds, and one fit of the chosen point.
    assert set(totals) == {(len(HEADS["ridge"].grid["alpha"]) * 3 + 1) * 4}
    assert list(done) == sorted(set(done))
    assert done[-1] == totals[0]


def test_large_float16_rows_do_not_overflow(table):
    embeddings = table((20, 20), dim=64, val=6)
    big = replace(embeddings, vectors=(embeddings.vectors.astype(np.float64) * 8000).clip(-65000, 65000).astype("f2"))
    assert np.abs(big.vectors).max() > 40_000
    run = fit(big, "logreg", folds=2).run
    assert run.metrics["accuracy"] == fit(embeddings, "logreg", folds=2).run.metrics["accuracy"] > 0.9


@pytest.mark.parametrize("name", ["all", "logrge", "knn,ridge"])
def test_a_name_that_is_no_head_is_refused(table, name):
    """``all`` is for compare: it must not quietly become the first of the table."""
    with pytest.raises(UsageError, match="logreg"):
        fit(table(val=5), name)


def test_leakage_is_refused_unless_allowed(table):
    keys = list(range(40))
    keys[19] = keys[0]
    embeddings = table(val=5, keys=keys)
    with pytest.raises(LeakageError):
        fit(embeddings, "ridge")
    assert fit(embeddings, "ridge", allow_leakage=True).run.metrics["n"] == 10


# Identity


def test_the_id_changes_with_what_decides_the_outcome(table):
    def identify(embeddings, name="torch-linear", **options):
        return Experiment(embeddings, FitSettings(**options)).identify(HEADS[name])

    base = table((20, 20), val=6)
    first = identify(base)
    moved = base.split.copy()
    moved[0] = "val"
    other = [
        identify(replace(base, split=moved)),
        identify(replace(base, group=np.array(["a"] * 2 + [""] * 38))),
        identify(replace(base, labels=np.where(np.arange(40) == 1, "c1", base.labels))),
        identify(table((20, 20), val=6, keys=range(1, 41))),
        identify(table((20, 20), val=6, layer="fc7")),
        identify(table((20, 20), val=6, dtype="float32")),
        identify(base, "logreg"),
        identify(base, "knn"),
        identify(base, epochs=3),
        identify(base, random_state=1),
        identify(base, folds=3),
        identify(base, class_weight="balanced"),
        identify(base, preparation="scale"),
        identify(base, cross_validate=4),
    ]
    assert len({first, *other}) == len(other) + 1
    assert first == identify(table((20, 20), val=6, seed=0))
    assert first == identify(base[np.random.default_rng(0).permutation(40)]), "the order of rows is no part of it"
    assert identify(base, "logreg", epochs=3) == identify(base, "logreg"), "logreg has no epochs"


WEIGHTED = {"epochs": 3, "class_weight": {"c0": 2.0, "c1": 1.0}, "preparation": "scale", "average_views": True}
IDS = [
    ("logreg", {}, "92c181eded7e109a8d39a8c69a79aa7d0525c46f270a6bb7082f4b239d4e9565"),
    (
        "torch-linear",
        {"folds": 3, "random_state": 1} | WEIGHTED,
        "9304bbc58069a9df8fc7f6cb39cf3a8393e8f859b348ba9c69a9a667b9039d6c",
    ),
    (
        "ridge",
        {"cross_validate": 4, "class_weight": "balanced"},
        "4da60f585206f34e08438dba74e7279496ef28fc177134bc279a495b21f7a7a5",
    ),
]


@pytest.mark.parametrize(("name", "options", "identity"), IDS)
def test_ids_stay_what_they_are(table, name, options, identity):
    """A run that has a record of this number is not done again."""
    assert Experiment(table((20, 20), val=6), FitSettings(**options)).identify(HEADS[name]) == identity


@pytest.mark.parametrize("setting", [{"transform_output": "pandas"}, {"print_changed_only": False}])
def test_what_scikit_learn_is_set_to_changes_nothing(table, setting):
    rows, head = table((12, 12), val=6), make_pipeline(StandardScaler(), GaussianNB())
    before = [fit(rows, name).run for name in ("ridge", "hist-gb", head)]
    with sklearn.config_context(**setting):
        after = [fit(rows, name) for name in ("ridge", "hist-gb", head)]
        answers = Bundle.of(after[0]).predict_proba(rows.vectors)
    assert [(one.run.id, one.run.metrics) for one in after] == [(run.id, run.metrics) for run in before]
    assert isinstance(answers, np.ndarray)


def test_the_id_in_the_record_is_the_one_foretold(table):
    embeddings = table(val=5)
    assert fit(embeddings, "centroid").run.id == Experiment(embeddings).identify(HEADS["centroid"])


def test_the_record_is_plain_json(table):

    run = fit(table(val=5), "knn").run
    assert json.loads(json.dumps(run.to_dict(), allow_nan=False)) == run.to_dict()
