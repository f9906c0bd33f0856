"""Left-out scores against scikit-learn: a fit for each image, of all others but its like."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from fc7.classify.heads.base import from_margins
from fc7.classify.reviews.leave_one_out import NONE, LeftOut, choose_penalty, prepare
from fc7.classify.solvers.eigenbasis import Eigenbasis


def made(n, dim, classes, seed, *, groups=None, absent=0):
    """Rows, codes with some of none, and what is left out together."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, classes, n)
    rows = generator.standard_normal((n, dim)) + 2 * generator.standard_normal((classes, dim))[y]
    y[generator.permutation(n)[:absent]] = NONE
    together = np.arange(n) if groups is None else generator.integers(0, groups, n)
    return rows - rows.mean(axis=0), y, together


def by_refits(rows, y, classes, together, alpha):
    """Fit once per image."""
    wanted = np.arange(classes)[1 if classes == 2 else 0 :]
    targets = np.where(y[:, None] == wanted, 1.0, -1.0)
    found = np.zeros((len(y), len(wanted)))
    for image in range(len(y)):
        fitted = (y != NONE) & (together != together[image])
        fitted[image] = False
        if fitted.any():
            estimator = Ridge(alpha, solver="svd").fit(rows[fitted], targets[fitted])
            found[image] = estimator.predict(rows[[image]])
    return from_margins(found)


shapes = {
    "n": st.integers(6, 24),
    "dim": st.integers(1, 30),
    "classes": st.integers(2, 4),
    "seed": st.integers(0, 2**16),
    "alpha": st.sampled_from([0.01, 1.0, 30.0]),
}


@settings(max_examples=40)
@given(**shapes, groups=st.none() | st.integers(1, 12), absent=st.integers(0, 4))
def test_every_image_is_judged_by_the_fit_of_all_others(n, dim, classes, seed, alpha, groups, absent):
    rows, y, together = made(n, dim, classes, seed, groups=groups, absent=absent)
    found = LeftOut(Eigenbasis(rows), y, classes, together, alpha).scores()
    np.testing.assert_allclose(found, by_refits(rows, y, classes, together, alpha), atol=1e-7, rtol=1e-6)


@settings(max_examples=40)
@given(**shapes, groups=st.none() | st.integers(2, 12), data=st.data())
def test_labels_that_change_are_as_if_they_had_always_been_so(n, dim, classes, seed, alpha, groups, data):
    rows, y, together = made(n, dim, classes, seed, groups=groups, absent=1)
    basis = Eigenbasis(rows)
    kept = LeftOut(basis, y, classes, together, alpha)
    first = kept.scores()
    changes = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(-1, classes - 1)), max_size=6))
    before = []
    for image, code in changes:
        before.append((image, int(kept.y[image])))
        kept.put(image, code)
    np.testing.assert_allclose(
        kept.scores(), LeftOut(basis, kept.y, classes, together, alpha).scores(), atol=1e-8, rtol=1e-7
    )
    for image, code in reversed(before):
        kept.put(image, code)
    assert (kept.y == y).all()
    np.testing.assert_allclose(kept.scores(), first, atol=1e-8, rtol=1e-7)


def test_copies_do_not_vouch_for_each_other():
    """Two copies with one wrong label would believe each other."""
    rows, y, together = made(40, 60, 2, 3)
    rows[1], y[0], y[1] = rows[0], 1 - y[0], 1 - y[0]
    rows -= rows.mean(axis=0)
    basis = Eigenbasis(rows)
    alone = LeftOut(basis, y, 2, together, 0.1).scores()
    together[1] = together[0]
    left = LeftOut(basis, y, 2, together, 0.1).scores()
    assert alone[0].argmax() == y[0]
    assert left[0].argmax() != y[0]


@pytest.mark.parametrize("count", [400, 2600])
def test_float32_rows_and_many_dimensions(count):
    """More rows than dimensions are worked on in float32, whose answers are near enough."""
    rows, y, together = made(count, 300, 5, 1, absent=3)
    vectors = (rows + 0.5).astype(np.float16)
    basis = prepare(vectors)
    found = LeftOut(basis, y, 5, together, 0.3)
    found.put(7, 2)
    y[7] = 2
    some = np.random.default_rng(0).integers(0, count, 10)
    exact = basis.inputs.astype(np.float64)
    for image in some:
        fitted = (y != NONE) & (np.arange(count) != image)
        targets = np.where(y[fitted][:, None] == np.arange(5), 1.0, -1.0)
        said = Ridge(0.3, solver="cholesky").fit(exact[fitted], targets).predict(exact[[image]])[0]
        np.testing.assert_allclose(found.scores()[image], said, atol=2e-5)


def test_the_penalty_is_the_one_with_the_least_left_out_log_loss():
    rows, y, together = made(80, 40, 3, 5)
    basis = Eigenbasis(rows)
    alphas = [100.0, 1.0, 0.01]
    found, alpha, temperature = choose_penalty(basis, y, 3, together, alphas)
    losses = []
    for one in alphas:
        scores = LeftOut(basis, y, 3, together, one).scores()
        logs = [scores / t - np.log(np.exp(scores / t).sum(axis=1, keepdims=True)) for t in (temperature,)]
        losses.append(-logs[0][np.arange(80), y].mean())
    assert losses[alphas.index(alpha)] == min(losses)
    assert temperature > 0
    np.testing.assert_allclose(found.scores(), LeftOut(basis, y, 3, together, alpha).scores())
