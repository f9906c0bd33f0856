"""The leading axes of rows."""

import numpy as np
import pytest
from problems import rows

from fc7.classify.heads.leading_axes import LeadingAxes


@pytest.mark.parametrize("shape", [(20, 50), (50, 20)])
def test_leading_axes_hold_the_most_that_so_many_can(shape):
    X = rows(*shape, 0)
    axes = LeadingAxes(5).fit(X)
    assert axes.components_ @ axes.components_.T == pytest.approx(np.eye(5), abs=1e-9)
    assert np.square(axes.transform(X)).sum() == pytest.approx((np.linalg.svd(X, compute_uv=False)[:5] ** 2).sum())
