"""Products by oneDNN are those of NumPy's BLAS, whatever the shapes and however the matrices lie in memory."""

import platform

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.classify.heads.table import HEADS
from fc7.classify.solvers import products
from fc7.classify.solvers.products import MANY, Multiply

ASKED = products._has_wide_vectors.__wrapped__
LAYOUTS = {
    "in order": np.ascontiguousarray,
    "by column": np.asfortranarray,
    "every other": lambda matrix: np.repeat(matrix, 2, axis=0)[::2],
}


@pytest.fixture(scope="module", autouse=True)
def wide():
    """Have the processor pass for one with AVX-512."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "_has_wide_vectors", lambda: True)
        yield


@given(
    n=st.integers(1, 40),
    d=st.integers(1, 40),
    k=st.integers(1, 20),
    seed=st.integers(0, 9),
    layout=st.sampled_from(sorted(LAYOUTS)),
)
def test_products_are_those_of_matrices(n, d, k, seed, layout):
    generator = np.random.default_rng(seed)
    rows, planes, residuals = (
        LAYOUTS[layout](generator.standard_normal(shape).astype(np.float32)) for shape in ((n, d), (k, d), (k, n))
    )
    wide = Multiply(MANY, np.float32)
    for found, expected in (
        (wide.project(planes, rows), planes.astype(np.float64) @ rows.T),
        (wide.gather(residuals, rows), residuals.astype(np.float64) @ rows),
        (wide.turn(rows, planes.T), rows.astype(np.float64) @ planes.T),
    ):
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        assert found.flags.writeable
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_rows_that_cannot_be_written_are_read():
    rows = np.ones((3, 4), np.float32)
    rows.flags.writeable = False
    assert (Multiply(MANY, np.float32).project(rows[:2], rows) == 4).all()


@pytest.mark.parametrize("name", ["logreg", "linear-svm", "ridge"])
def test_heads_answer_the_same(name, monkeypatch):
    generator = np.random.default_rng(0)
    y = np.arange(300) % 3
    rows = (generator.standard_normal((300, 20)) + y[:, None]).astype(np.float32)
    found = []
    for many in (MANY, 1):
        monkeypatch.setattr(products, "MANY", many)
        found.append(HEADS[name].build(0).fit(rows, y).decision_function(rows))
    np.testing.assert_allclose(*found, atol=1e-4)


@pytest.mark.parametrize(("numbers", "dtype"), [(MANY - 1, np.float32), (MANY, np.float64)])
def test_few_numbers_and_float64_are_left_to_blas(numbers, dtype, monkeypatch):
    monkeypatch.setattr(products, "_convolve", None)
    rows = np.arange(6, dtype=dtype).reshape(2, 3)
    assert (Multiply(numbers, dtype).project(rows, rows) == rows @ rows.T).all()


@pytest.mark.parametrize(("machine", "capability", "found"), [
    ("x86_64", "AVX512", True), ("AMD64", "AVX512", True), ("x86_64", "AVX2", False), ("arm64", "AVX512", False),
])  # fmt: skip
def test_onednn_is_for_processors_with_avx512(machine, capability, found, monkeypatch):
    import torch

    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert ASKED() == (found and torch.backends.mkldnn.is_available())
