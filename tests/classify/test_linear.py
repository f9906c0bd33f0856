"""The torch linear head: the optimum that scikit-learn finds, the same for a seed, with a line per epoch."""

import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.utils.estimator_checks import check_estimator

from fc7.classify.linear import TorchLinear, epoch_line

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
    ours = TorchLinear(weight_decay=0, epochs=300, batch_size=len(X)).fit(X, y)
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


@pytest.mark.parametrize("epochs", [0, -1])
def test_no_epochs_are_refused(epochs):
    with pytest.raises(ValueError, match="epochs"):
        TorchLinear(epochs=epochs).fit(*blobs())


def test_it_is_a_scikit_learn_classifier():
    results = check_estimator(TorchLinear(epochs=25), on_fail=None, on_skip=None)
    assert [result["check_name"] for result in results if result["status"] == "failed"] == []
