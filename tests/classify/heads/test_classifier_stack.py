"""The trained stack as an estimator: what is fitted, what a clone is, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError

from fc7.classify.heads import Calibrated, ClassifierStack
from fc7.errors import UsageError
from fc7.extract.backbones import architectures

ROWS = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)


def network(num_classes):
    return torch.nn.Sequential(
        torch.nn.Dropout(0.5), torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, num_classes)
    )


@pytest.fixture(params=[2, 3])
def stack(request, monkeypatch):
    def skeleton(num_classes):
        return SimpleNamespace(classifier=network(num_classes))

    monkeypatch.setattr(architectures, "architecture", lambda name: SimpleNamespace(skeleton=skeleton))
    state = {name: value.detach().numpy() for name, value in network(request.param).named_parameters()}
    return ClassifierStack.trained("alexnet", state, request.param)


def test_it_answers_as_the_network_does(stack):
    classes = len(stack.classes_)
    with torch.inference_mode():
        right = stack.module()(torch.from_numpy(ROWS)).double().numpy()
    margins = right[:, 1] - right[:, 0] if classes == 2 else right
    np.testing.assert_allclose(stack.decision_function(ROWS), margins, atol=1e-6)
    np.testing.assert_array_equal(stack.predict(ROWS), right.argmax(axis=1))
    np.testing.assert_allclose(stack.decision_function(ROWS[:1]), margins[:1], atol=1e-5)
    assert (stack.n_features_in_, is_classifier(stack)) == (5, True)


def test_a_clone_is_not_fitted(stack):
    for copy in clone(stack), clone(Calibrated(stack, 2.0)):
        with pytest.raises(NotFittedError):
            copy.predict(ROWS)
    assert clone(stack).backbone == "alexnet"


def test_it_is_not_fitted_on_rows_alone(stack):
    for estimator in stack, clone(stack), Calibrated(stack):
        with pytest.raises(UsageError, match=r"cross-validate it with fc7\.classify\.fit"):
            estimator.fit(ROWS, np.arange(9) % 2)


def test_rows_of_another_length_are_refused(stack):
    with pytest.raises(ValueError, match="has 4 features, but ClassifierStack is expecting 5"):
        stack.decision_function(ROWS[:, :4])
