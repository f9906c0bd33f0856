"""Descents, against torch's own optimisers."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import unit_blobs
from scipy.special import softmax
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.preprocessing import normalize

from fc7.classify.solvers.sgd import Descent, Rule


def by_torch(X, y, rule, rate, epochs):
    """Return the averaged planes ``(classes, d + 1)`` of torch's own layer, loss, optimiser; the order is ours."""
    import torch

    layer = torch.nn.Linear(X.shape[1], int(y.max()) + 1)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    parts = [{"params": layer.weight, "weight_decay": rule.weight_decay}, {"params": layer.bias, "weight_decay": 0}]
    if rule.optimiser == "sgd":
        optimiser = torch.optim.SGD(parts, lr=rate, momentum=rule.momentum)
    else:
        optimiser = torch.optim.AdamW(parts, lr=rate)
    average, step = 0, 0
    for epoch in range(epochs):
        order = np.random.default_rng([rule.seed, epoch]).permutation(len(y))
        batches = -(-len(y) // rule.batch_size)
        for batch in np.split(order, [len(y) * number // batches for number in range(1, batches)]):
            loss = torch.nn.functional.cross_entropy(layer(torch.from_numpy(X[batch])), torch.from_numpy(y[batch]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
            planes = torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach().numpy()
            average = average + 4 / (step + 3) * (planes - average)
    return average


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(("optimiser", "rate"), [("sgd", 0.5), ("adamw", 0.05)])
def test_a_descent_is_that_of_torch(optimiser, rate, decay):
    X, y = (part[:73] for part in unit_blobs(n=75))
    # No batch may have equal classes: AdamW would blow up the rounding of a gradient that is zero.
    rule = Rule(optimiser, 0.8, decay, batch_size=14, seed=3)
    descent = Descent(X, y, 3, [np.arange(73)], [np.ones(73)], [rate], rule)
    for _ in range(4):
        descent.epoch()
    assert descent.coefficients()[0, 0] == pytest.approx(by_torch(X, y, rule, rate, 4), abs=1e-5)


@settings(max_examples=10)
@given(
    st.lists(st.integers(5, 60), min_size=1, max_size=4), st.integers(2, 4), st.integers(1, 70), st.integers(0, 10_000)
)
def test_descents_in_step_are_those_done_alone(sizes, classes, batch, seed):
    """Groups of any sizes, weights and learning rates, also where some are done with an epoch before others."""
    X, y = unit_blobs(classes, n=70, seed=seed)
    generator, rates = np.random.default_rng(seed), (0.1, 1.0)
    groups = [generator.permutation(70)[:size] for size in sizes]
    weights = [generator.random(size) + 0.5 for size in sizes]
    for optimiser in ("sgd", "adamw"):
        rule = Rule(optimiser, 0.9, 1e-3, batch, seed)
        together = Descent(X, y, classes, groups, weights, rates, rule)
        alone = [[Descent(X, y, classes, [group], [weight], [rate], rule) for rate in rates]
                 for group, weight in zip(groups, weights, strict=True)]  # fmt: skip
        for _ in range(3):
            for descent in (together, *itertools.chain(*alone)):
                descent.epoch()
        expected = np.array([[descent.coefficients()[0, 0] for descent in row] for row in alone])
        assert together.coefficients() == pytest.approx(expected, abs=2e-3 if optimiser == "adamw" else 1e-4)


def test_the_last_average_is_steadier_than_the_last_step():
    """Why epochs can be chosen at all: the loss on new rows goes up and down less from one epoch to the next."""
    X, y = load_digits(return_X_y=True)
    X = normalize(X).astype(np.float32)
    fitted, new = np.arange(600), np.arange(600, len(y))
    descent = Descent(X, y, 10, [fitted], [np.ones(600)], [3.0], Rule())
    losses = {"average": [], "coefficients": []}
    for _ in range(24):
        descent.epoch()
        for name, values in losses.items():
            planes = descent.state[name][0].numpy()
            values.append(log_loss(y[new], softmax(X[new] @ planes[:, :-1].T + planes[:, -1], axis=1)))
    rough = {name: np.abs(np.diff(values[8:], 2)).mean() for name, values in losses.items()}
    assert rough["average"] < rough["coefficients"] / 10
    assert min(losses["average"]) == pytest.approx(min(losses["coefficients"]), rel=0.02)
