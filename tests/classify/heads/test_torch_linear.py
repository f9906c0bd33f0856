"""The torch linear head: the optimum that scikit-learn finds, the same for a seed, with a line per epoch."""

import re

import numpy as np
import pytest
from problems import folds_of, unit_blobs
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, ParameterGrid, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fc7.classify import fit
from fc7.classify.heads import torch_linear
from fc7.classify.heads.calibration import scores
from fc7.classify.heads.table import HEADS
from fc7.classify.heads.torch_linear import TorchLinear, epoch_line
from fc7.classify.solvers.eigenbasis import Eigenbasis

LINE = r"epoch (\d+)/(\d+) train loss \d+\.\d{4} acc [01]\.\d{3}"


def blobs(classes=3, spread=0.5, seed=0):
    centres = 3 * np.eye(classes, 6)
    X, y = make_blobs(60 * classes, centers=centres, cluster_std=spread, random_state=seed)
    return X.astype(np.float32), y


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_it_decides_as_scikit_learn_on_separable_data(classes):
    X, y = blobs(classes)
    new, truth = blobs(classes, seed=1)
    ours = TorchLinear().fit(X, y)
    assert np.array_equal(ours.predict(new), LogisticRegression().fit(X, y).predict(new))
    assert np.array_equal(ours.predict(new), truth)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_reaches_the_optimum_that_scikit_learn_finds(classes):
    X, y = blobs(classes, spread=2.5)  # overlapping: the optimum without a penalty is finite and unique
    ours = TorchLinear(0.05, epochs=1000, batch_size=len(X)).fit(X, y)
    theirs = LogisticRegression(C=1e6, max_iter=5000).fit(X, y)
    assert ours.predict_proba(X) == pytest.approx(theirs.predict_proba(X), abs=5e-3)
    assert ours.curves_[-1]["train_loss"] == pytest.approx(log_loss(y, theirs.predict_proba(X)), abs=1e-3)


def test_a_seed_decides_every_bit():
    X, y = blobs(spread=2.0)
    one, two, other = (TorchLinear(epochs=3, random_state=seed).fit(X, y) for seed in (5, 5, 6))
    assert np.array_equal(one.coef_, two.coef_)
    assert np.array_equal(one.intercept_, two.intercept_)
    assert one.curves_ == two.curves_
    assert not np.array_equal(one.coef_, other.coef_)


def test_the_global_generator_of_torch_is_left_alone():
    import torch

    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    TorchLinear(epochs=1).fit(*blobs())
    assert torch.rand(1) == expected


def test_the_global_generator_of_torch_decides_nothing():
    import torch

    torch.manual_seed(1)
    one = TorchLinear(epochs=2).fit(*blobs())
    torch.manual_seed(2)
    assert np.array_equal(one.coef_, TorchLinear(epochs=2).fit(*blobs()).coef_)


def test_curves_and_lines_with_validation():
    X, y = blobs(spread=2.0)
    held, truth = blobs(spread=2.0, seed=1)
    said = []
    head = TorchLinear(epochs=12).fit(X, y, validation=(held, truth), on_epoch=said.append)
    assert len(said) == len(head.curves_) == 12
    assert [epoch["epoch"] for epoch in head.curves_] == list(range(1, 13))
    for number, line in enumerate(said, start=1):
        found = re.fullmatch(LINE + r" val loss \d+\.\d{4} acc [01]\.\d{3}", line)
        assert found, line
        assert found.groups() == (str(number), "12")
    last = head.curves_[-1]
    assert last["val_loss"] == pytest.approx(log_loss(truth, head.predict_proba(held)), rel=1e-6)
    assert last["val_accuracy"] == pytest.approx(head.score(held, truth))
    assert last["train_loss"] < head.curves_[0]["train_loss"]


def test_lines_without_validation_have_no_val():
    said = []
    head = TorchLinear(epochs=2).fit(*blobs(), on_epoch=said.append)
    assert all(re.fullmatch(LINE, line) for line in said)
    assert set(head.curves_[0]) == {"epoch", "train_loss", "train_accuracy"}


def test_the_line_to_the_letter():
    epoch = {"epoch": 3.0, "train_loss": 0.20312, "train_accuracy": 0.926, "val_loss": 0.25106, "val_accuracy": 0.9018}
    assert epoch_line(epoch, 12) == "epoch 3/12 train loss 0.2031 acc 0.926 val loss 0.2511 acc 0.902"


def test_validation_rows_are_only_looked_at():
    X, y = blobs(spread=2.0)
    held, truth = blobs(spread=2.0, seed=1)
    plain = TorchLinear(epochs=4).fit(X, y)
    watched = TorchLinear(epochs=4).fit(X, y, validation=(held, truth[::-1]))
    assert np.array_equal(plain.coef_, watched.coef_)


def test_labels_may_be_words():
    X, y = blobs()
    words = np.array(["zebra", "ant", "mole"])
    head = TorchLinear().fit(X, words[y], validation=(X[:9], words[y][:9]))
    assert head.classes_.tolist() == ["ant", "mole", "zebra"]
    assert np.array_equal(head.predict(X), words[y])
    assert head.curves_[-1]["val_accuracy"] == 1
    assert head.predict_proba(X[y == 0][:1]).argmax() == 2  # zebra is the last column


def test_two_classes_have_one_margin_as_in_scikit_learn():
    X, y = blobs(2)
    head = TorchLinear().fit(X, y)
    assert head.decision_function(X).shape == (len(X),)
    assert np.array_equal(head.decision_function(X) > 0, y == 1)
    assert head.predict_proba(X).sum(axis=1) == pytest.approx(np.ones(len(X)))


def test_it_can_be_cloned_with_its_parameters():
    head = TorchLinear(learning_rate=0.3, epochs=2, random_state=7)
    twin = clone(head.fit(*blobs()))
    assert twin.get_params() == head.get_params()
    assert not hasattr(twin, "coef_")


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("epochs", -1), ("batch_size", 0), ("learning_rate", 0.0), ("learning_rate", -1.0),
     ("optimiser", "lbfgs")],
)  # fmt: skip
def test_what_cannot_be_trained_with_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}|{name}='{value}'"):
        TorchLinear(**{name: value}).fit(*blobs())
    with pytest.raises(ValueError, match=f"{name}={value}|{name}='{value}'"):
        TorchLinear().out_of_fold(Eigenbasis(blobs()[0]), blobs()[1], folds_of(blobs()[1]), [{name: value}])


def test_rows_that_overflow_are_refused():
    X, y = blobs()
    with pytest.raises(ValueError, match="Scale the rows"):
        TorchLinear().fit(X * np.float32(1e30), y)


def test_it_is_tuned_in_a_pipeline_by_grid_search():
    X, y = blobs(spread=1.5)
    words = np.array(["zebra", "ant", "mole"])[y]
    grid = {"torchlinear__learning_rate": [0.1, 1.0], "torchlinear__epochs": [1, 8]}
    search = GridSearchCV(make_pipeline(StandardScaler(), TorchLinear()), grid, cv=3, scoring="neg_log_loss")
    assert search.fit(X, words).score(X, words) > -0.5
    assert set(search.predict(X)) == set(words)


# Out of fold


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("shape", [(60, 100), (90, 12)])
@pytest.mark.parametrize("classes", [2, 3])
def test_out_of_fold_is_what_fitting_each_point_on_each_fold_gives(classes, shape, optimiser):
    """In the eigenbasis or not; every epoch of one trajectory is the fit of so many epochs."""
    X, y = unit_blobs(classes, *shape)
    folds, head, told = folds_of(y), TorchLinear(optimiser=optimiser, batch_size=16), []
    rates = (0.1, 1.0, 3.0) if optimiser == "sgd" else (0.003, 0.1)
    points = list(ParameterGrid({"epochs": [1, 2, 7], "learning_rate": rates}))
    found = head.out_of_fold(Eigenbasis(X), y, folds, points, told.append)
    assert told == list(range(1, len(points) * len(folds) + 1))
    for point, out in zip(points, found.scores, strict=True):
        for fold in folds:
            alone = clone(head).set_params(**point).fit(X[fold.fitted], y[fold.fitted])
            assert out[fold.held] == pytest.approx(scores(alone, X[fold.held]), abs=2e-3)


def test_points_may_differ_in_anything():
    X, y = unit_blobs(3, 60, 100)
    folds, head = folds_of(y), TorchLinear()
    points = [{"momentum": 0.0}, {"class_weight": {0: 3.0, 1: 1.0, 2: 1.0}, "epochs": 3}, {"epochs": 3}, {}]
    found = head.out_of_fold(Eigenbasis(X), y, folds, points)
    for point, out in zip(points, found.scores, strict=True):
        alone = clone(head).set_params(**point).fit(X[folds[0].fitted], y[folds[0].fitted])
        assert out[folds[0].held] == pytest.approx(scores(alone, X[folds[0].held]), abs=2e-3)


def test_folds_that_are_trained_in_turns_are_trained_the_same(monkeypatch):
    X, y = unit_blobs(3, 60, 100)
    points, folds, told = [{"epochs": 2}, {"epochs": 5}], folds_of(y), []
    together = TorchLinear().out_of_fold(Eigenbasis(X), y, folds, points)
    monkeypatch.setattr(torch_linear, "TOGETHER", 1)
    in_turns = TorchLinear().out_of_fold(Eigenbasis(X), y, folds, points, told.append)
    assert in_turns.scores == pytest.approx(together.scores, abs=1e-4)
    assert told == list(range(1, 2 * len(folds) + 1))


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_the_number_of_threads_decides_nothing(optimiser):
    import torch

    X, y = unit_blobs(3, 200, 300)
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(TorchLinear(optimiser=optimiser, epochs=2).fit(X, y).coef_)
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert np.array_equal(*found)


# Epochs


def test_few_epochs_are_chosen_where_many_overfit(table):
    """Noise in many dimensions: the loss of a fold turns, and the folds see it."""
    embeddings = table((60, 60), dim=400, spread=20.0)
    run = fit(embeddings, "torch-linear", folds=3).run
    assert run.hyperparameters["epochs"] < max(HEADS["torch-linear"].grid["epochs"])
    fixed = fit(embeddings, "torch-linear", folds=3, epochs=128).run
    assert fixed.hyperparameters["epochs"] == 128
    assert run.selection["log_loss"] < fixed.selection["log_loss"]


def test_early_stopping_keeps_the_best_epoch_of_rows_that_it_held_out():
    X, y = unit_blobs(3, 120, 300, spread=3.0)
    said = []
    head = TorchLinear(3.0, epochs=200, early_stopping=True, validation_fraction=0.25, n_iter_no_change=4)
    head.fit(X, y, on_epoch=said.append)
    losses = [epoch["held_loss"] for epoch in head.curves_]
    assert head.n_iter_ == len(losses) == len(said) < 200
    best = int(np.argmin(losses))
    least = np.minimum.accumulate(losses)
    assert [loss < before - head.tol for loss, before in zip(losses[-5:], least[-6:], strict=False)] == [True] + 4 * [
        False
    ]
    _, held = train_test_split(np.arange(120), test_size=0.25, stratify=y, random_state=0)
    assert log_loss(y[held], head.predict_proba(X[held])) == pytest.approx(losses[best], rel=1e-4)
    assert all(re.match(LINE, line) for line in said)


def test_without_early_stopping_all_epochs_are_run():
    head = TorchLinear(epochs=40, n_iter_no_change=1).fit(*blobs())
    assert head.n_iter_ == len(head.curves_) == 40


# Going on, one batch after another


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("classes", [2, 3])
def test_partial_fit_on_all_rows_is_one_epoch_of_fit(classes, optimiser):
    X, y = unit_blobs(classes)
    words = np.array(["b", "c", "a"])[y]
    once, often = (TorchLinear(0.1, epochs=3, optimiser=optimiser) for _ in range(2))
    once.fit(X, words)
    for _ in range(3):
        often.partial_fit(X, words, classes=np.unique(words))
    assert np.array_equal(once.coef_, often.coef_)
    assert np.array_equal(once.intercept_, often.intercept_)
    assert often.n_iter_ == 3


def test_partial_fit_learns_from_a_stream_and_goes_on_after_fit():
    X, y = unit_blobs(3, n=600)
    stream = TorchLinear()
    for start in range(0, 500, 50):
        stream.partial_fit(X[start : start + 50], y[start : start + 50], classes=[0, 1, 2])
    assert stream.score(X[500:], y[500:]) > 0.9
    fitted = TorchLinear(epochs=2).fit(X[:250], y[:250])
    before = log_loss(y[500:], fitted.predict_proba(X[500:]))
    for _ in range(3):
        fitted.partial_fit(X[250:500], y[250:500])
    assert fitted.n_iter_ == 5
    assert log_loss(y[500:], fitted.predict_proba(X[500:])) < before
    assert np.array_equal(fitted.fit(X, y).coef_, clone(fitted).fit(X, y).coef_), "fit begins anew"


def test_partial_fit_says_what_it_needs():
    X, y = blobs()
    with pytest.raises(ValueError, match="classes must be passed"):
        TorchLinear().partial_fit(X, y)
    with pytest.raises(ValueError, match=r"labels \[2\] are none of the classes"):
        TorchLinear().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="balanced"):
        TorchLinear(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    head = TorchLinear().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="first call"):
        head.partial_fit(X, y, classes=[0, 1])


# Class weights


@pytest.mark.parametrize("kind", ["balanced", {"a": 5.0, "b": 1.0, "c": 0.5}])
def test_class_weights_lead_to_the_optimum_that_scikit_learn_finds(kind):
    X, y = unit_blobs(3, n=90, spread=3.0)
    X, y = X[(y > 0) | (np.arange(90) % 3 == 0)], y[(y > 0) | (np.arange(90) % 3 == 0)]
    words = np.array(["a", "b", "c"])[y]
    decay = 0.02  # the mean loss with a penalty of decay / 2, as C times the sum of the losses
    ours = TorchLinear(1.0, 600, weight_decay=decay, batch_size=len(y), class_weight=kind).fit(X, words)
    theirs = LogisticRegression(C=1 / (decay * len(y)), class_weight=kind, tol=1e-8, max_iter=5000).fit(X, words)
    plain = LogisticRegression(C=1 / (decay * len(y)), tol=1e-8, max_iter=5000).fit(X, words)
    assert ours.predict_proba(X) == pytest.approx(theirs.predict_proba(X), abs=2e-3)
    assert np.abs(theirs.predict_proba(X) - plain.predict_proba(X)).max() > 0.05, "they matter"
