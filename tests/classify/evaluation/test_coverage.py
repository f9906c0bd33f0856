"""Error against coverage: what a loop over thresholds finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.classify.evaluation.coverage import STEPS, error_by_coverage

IMAGES = st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.9, 1.0]), st.booleans()), min_size=1, max_size=60)


@given(IMAGES, st.randoms())
def test_a_point_is_what_a_threshold_answers(images, random):
    confidence, right = np.array([sure for sure, _ in images]), np.array([good for _, good in images])
    rows = error_by_coverage(confidence, right)
    assert 1 <= len(rows) <= STEPS
    for row in rows:
        answered = confidence >= np.sort(confidence)[::-1][row["answered"] - 1]
        assert row["answered"] == answered.sum()
        assert row["coverage"] == answered.mean()
        assert row["error"] == pytest.approx((~right[answered]).mean())
        assert row["low"] <= row["error"] + 1e-12
        assert row["high"] >= row["error"] - 1e-12
    assert (rows[-1]["coverage"], rows[-1]["error"]) == (1, pytest.approx(1 - right.mean()))
    shuffled = np.array(random.sample(range(len(right)), len(right)))
    assert error_by_coverage(confidence[shuffled], right[shuffled]) == rows


def test_groups_widen_the_interval():
    right, confidence = np.tile([True, True, True, False], 20), np.full(80, 0.9)
    (alone,) = error_by_coverage(confidence, right)
    (grouped,) = error_by_coverage(confidence, np.sort(right), np.arange(80) // 8)
    assert grouped["error"] == alone["error"]
    assert grouped["high"] - grouped["low"] > alone["high"] - alone["low"]
