"""Heads on a device answer as on the processor. The device is torch's on the processor, by the same code path."""

import pickle

import fake_cuda
import numpy as np
import pytest
import torch
from problems import folds_of, overlapping
from sklearn.preprocessing import normalize

from fc7.classify.heads.calibration import find_temperature
from fc7.classify.heads.table import HEADS
from fc7.classify.solvers import device_rows, eigenbasis, namespaces
from fc7.classify.solvers.eigenbasis import Eigenbasis
from fc7.classify.solvers.lapack import eigh, solve_shifted

CPU = torch.device("cpu")
NAMES = ["logreg", "linear-svm", "rbf-svm", "ridge", "lda", "knn", "centroid", "gaussian-nb"]


@pytest.fixture(params=["whole", "in blocks"])
def place(request, monkeypatch):
    """Have rows on the device, or sent to it block by block."""
    monkeypatch.setattr(device_rows, "NUMBERS", 200)
    monkeypatch.setattr(eigenbasis, "BLOCK", 16)
    monkeypatch.setattr(namespaces.OnDevice, "block", 500)
    if request.param == "in blocks":
        monkeypatch.setattr(device_rows, "free_memory", lambda device: 0.0)
    return request.param


@pytest.mark.parametrize("shape", [(90, 12), (60, 80)], ids=["narrow", "wide"])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_heads_answer_as_on_the_processor(name, classes, shape, place):
    X, y = overlapping(shape, classes, 0)
    X = normalize(X).astype(np.float32)
    head, grid = HEADS[name], HEADS[name].grid
    points = [dict(zip(grid, values, strict=True)) for values in zip(*grid.values(), strict=False)]
    found = []
    for basis in (Eigenbasis(X), Eigenbasis(X, CPU)):
        estimator = head.build(0)
        scores = estimator.out_of_fold(basis, y, folds_of(y), points or [{}]).scores
        fitted = estimator.set_params(**(points[-1] if points else {})).fit_prepared(basis, y)
        answers = fitted.predict_proba(X) if name == "knn" else getattr(fitted, "decision_function", fitted.predict)(X)
        found.append((scores, answers))
    if name in ("logreg", "linear-svm"):  # solved as far as a search needs it
        losses = [[find_temperature(point, y)[1] for point in scores] for scores, _ in found]
        np.testing.assert_allclose(losses[1], losses[0], rtol=2e-3)
        assert np.argmin(losses[1]) == np.argmin(losses[0])
    else:
        np.testing.assert_allclose(found[1][0], found[0][0], atol=1e-3 if name == "rbf-svm" else 1e-6)
    np.testing.assert_allclose(found[1][1], found[0][1], atol=1e-3 if name == "rbf-svm" else 1e-4)


@pytest.mark.parametrize("name", [*NAMES, "torch-linear"])
def test_no_tensor_of_the_processor_meets_one_of_the_device(name, monkeypatch):
    """Which torch on the processor would not show: the stand-in for CUDA does."""
    fake_cuda.install(monkeypatch)
    X, y = overlapping((60, 6), 3, 0)
    X, folds = normalize(X).astype(np.float32), folds_of(y, 2)
    point = {parameter: values[0] for parameter, values in HEADS[name].grid.items()}
    here, there = (
        HEADS[name].build(0).out_of_fold(Eigenbasis(X, at), y, folds, [point]).scores for at in (None, fake_cuda.CUDA)
    )
    np.testing.assert_allclose(there, here, atol=1e-2 if name in ("logreg", "linear-svm") else 1e-3)
    HEADS[name].build(0).set_params(**point).fit_prepared(Eigenbasis(X, fake_cuda.CUDA), y)


@pytest.mark.parametrize("kind", ["balanced", {0: 5.0, 1: 0.5, 2: 1.0}])
@pytest.mark.parametrize("name", ["logreg", "linear-svm", "ridge", "lda"])
def test_class_weights_count_there_too(name, kind, place):
    X, y = overlapping((90, 12), 3, 0)
    X, y = X[:70].astype(np.float32), y[:70]
    heads = [
        HEADS[name].build(0).set_params(class_weight=kind).fit_prepared(Eigenbasis(X, at), y) for at in (None, CPU)
    ]
    np.testing.assert_allclose(*(head.coef_ for head in heads), atol=1e-4)


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("shape", [(90, 12), (60, 80)], ids=["narrow", "wide"])
def test_mini_batches_are_the_same(shape, optimiser):
    X, y = overlapping(shape, 3, 0)
    X = X.astype(np.float32)
    points = [{"epochs": epochs, "learning_rate": rate} for epochs in (1, 3) for rate in (0.1, 1)]
    head = HEADS["torch-linear"].build(0).set_params(optimiser=optimiser)
    scores = [head.out_of_fold(Eigenbasis(X, at), y, folds_of(y), points).scores for at in (None, CPU)]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-4, atol=1e-5)
    coefs = [head.set_params(epochs=3).fit_prepared(Eigenbasis(X, at), y).coef_ for at in (None, CPU)]
    np.testing.assert_allclose(coefs[1], coefs[0], rtol=1e-5)


def test_mini_batches_of_rows_that_do_not_fit_come_in_blocks(monkeypatch):
    monkeypatch.setattr(eigenbasis, "BLOCK", 32)
    monkeypatch.setattr(device_rows, "free_memory", lambda device: 0.0)
    X, y = overlapping((90, 12), 3, 0)
    head = HEADS["torch-linear"].build(0).set_params(epochs=8)
    fitted = [head.fit_prepared(Eigenbasis(X.astype(np.float32), at), y).score(X, y) for at in (None, CPU)]
    assert abs(fitted[1] - fitted[0]) < 0.1


def test_a_fitted_head_is_handed_over_without_its_device():
    X, y = overlapping((30, 5), 3, 0)
    head = HEADS["knn"].build(0).fit_prepared(Eigenbasis(X, CPU), y)
    other = pickle.loads(pickle.dumps(head))
    np.testing.assert_allclose(other.predict_proba(X), head.predict_proba(X))
    basis = Eigenbasis(X, CPU)
    assert basis.second is not None
    assert pickle.loads(pickle.dumps(basis)).device is None


def test_a_system_that_is_not_definite_is_an_error_there_too():
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        solve_shifted(-torch.eye(3, dtype=torch.float64), np.ones((3, 1)), 0.0)


def test_eigenvectors_that_a_device_does_not_find_are_found_by_the_processor(monkeypatch):
    calls, ours = [], torch.linalg.eigh

    def eigh_once(matrix):
        calls.append(matrix)
        if len(calls) == 1:
            raise torch.linalg.LinAlgError("failed to converge")
        return ours(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", eigh_once)
    values, vectors = eigh(torch.diag(torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64)))
    assert values == pytest.approx([3, 2, 1])
    assert vectors.abs().argmax(dim=0).tolist() == [1, 2, 0]


class Event:
    """Says when a copy has ended; it is made, recorded and waited for in this order."""

    waited = recorded = 0

    def synchronize(self):
        self.waited += 1
        assert self.waited == self.recorded + 1

    def record(self, stream):
        self.recorded += 1


def test_blocks_are_sent_through_two_pinned_buffers_in_turn(monkeypatch):
    """CUDA's part of sending, with a processor that passes for CUDA: what was sent stays what it was."""
    ours, pinned = torch.empty, []

    def empty(*shape, device=None, pin_memory=False, **options):
        made = ours(*shape, **options)
        pinned.extend([made] if pin_memory else [])
        return made

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    send = device_rows._Sender(torch.device("cuda", 0))
    sizes = [(3, np.float32), (3, np.float32), (2, np.float32), (3, np.float32), (8, np.float64), (1, np.float32)]
    blocks = [np.random.default_rng(n).standard_normal((n, 4)).astype(kind) for n, kind in sizes]
    blocks[2].flags.writeable = False
    for there, block in [(send(block), block) for block in blocks]:
        np.testing.assert_array_equal(there.numpy(), block)
        assert there.dtype == getattr(torch, block.dtype.name)
    assert [len(buffer) for buffer in pinned] == [48, 48, 256, 256]
