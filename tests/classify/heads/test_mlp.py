"""The multi-layer perceptron: batches of about equal size."""

import numpy as np
import pytest
from problems import unit_blobs

from fc7.classify.heads.mlp import BATCH, Mlp


@pytest.mark.parametrize("rows", [BATCH - 1, BATCH + 1, BATCH + 5])
def test_a_few_rows_more_than_a_batch_are_learned_as_well(rows):
    """A last batch of one row had a penalty so strong that every answer was the same class."""
    X, y = unit_blobs(classes=2, n=2 * rows, spread=0.5)
    head = Mlp(alpha=1.0, random_state=0).fit(X[:rows], y[:rows])
    assert head.score(X[rows:], y[rows:]) > 0.8
    assert head.batch_size == "auto"
    assert np.isfinite(head.loss_)
