"""Suspects: confident learning by its published definition, and as cleanlab does it where that is installed."""

import numpy as np
import pytest

from fc7.classify.evaluation.confident_learning import off_diagonal, self_confidence


def made(n, classes, seed):
    """Return probabilities and labels, a tenth of them wrong."""
    generator = np.random.default_rng(seed)
    truth = np.arange(n) % classes
    logits = 1.5 * generator.standard_normal((n, classes))
    logits[np.arange(n), truth] += 3
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = np.where(generator.random(n) < 0.1, generator.integers(0, classes, n), truth)
    return probability, y


def test_by_hand():
    """Thresholds: 0.6 for the first class, (0.9 + 0.7 + 0.2) / 3 = 0.6 for the second."""
    probability = np.array([[0.9, 0.1], [0.3, 0.7], [0.1, 0.9], [0.3, 0.7], [0.8, 0.2], [0.6, 0.4]])
    y = np.array([0, 0, 1, 1, 1, 0])
    assert self_confidence(probability, y) == pytest.approx([0.9, 0.3, 0.9, 0.7, 0.2, 0.6])
    assert off_diagonal(probability, y).tolist() == [False, True, False, False, True, False]


def test_an_image_that_reaches_no_threshold_is_not_counted():
    probability = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.0, 0.1, 0.9], [0.3, 0.4, 0.3]])
    assert off_diagonal(probability, np.array([0, 1, 2, 0])).tolist() == [False] * 4


def test_a_class_without_images_draws_none():
    probability = np.array([[0.1, 0.0, 0.9], [0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])
    assert off_diagonal(probability, np.array([0, 0, 1])).tolist() == [False] * 3


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_images_as_cleanlab(classes, seed):
    filters = pytest.importorskip("cleanlab.filter", reason="cleanlab is not installed: pip install 'fc7[dev]'")
    rank = pytest.importorskip("cleanlab.rank")
    probability, y = made(400, classes, seed)
    expected = filters.find_label_issues(y, probability, filter_by="confident_learning")
    assert expected.sum() > 10
    assert np.array_equal(off_diagonal(probability, y), expected)
    assert self_confidence(probability, y) == pytest.approx(rank.get_self_confidence_for_each_label(y, probability))
