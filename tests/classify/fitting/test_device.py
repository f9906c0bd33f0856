"""Where heads are fitted: on the device that is named, or where rows are many; records name it."""

import numpy as np
import pytest
import torch

from fc7.classify import fit as fit_head
from fc7.classify.fitting import fit
from fc7.classify.fitting.compare import compare
from fc7.classify.fitting.device import MANY, heads_device
from fc7.errors import FC7Error, UsageError


@pytest.fixture
def cuda(monkeypatch):
    """Have torch pass for one with two CUDA devices."""
    ours = torch.empty
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def empty(*shape, device=None, **options):
        if str(device).startswith(("cuda", "mps")):
            return type("There", (), {"device": torch.device(device if ":" in device else f"{device}:0")})
        return ours(*shape, device=device, **options)

    monkeypatch.setattr(torch, "empty", empty)


@pytest.mark.parametrize(("name", "numbers", "found"), [
    ("auto", MANY, "cuda:0"), ("auto", MANY - 1, None), ("cuda", 1, "cuda:0"), ("cuda:1", 1, "cuda:1"),
    ("cpu", MANY, None), ("mps", MANY, None),
])  # fmt: skip
def test_rows_go_to_the_device_that_is_named_or_worth_it(cuda, name, numbers, found):
    device = heads_device(name, numbers)
    assert (device and str(device)) == found


def test_without_cuda_the_processor_fits(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert heads_device("auto", MANY) is None


def test_a_device_that_is_not_there_is_refused(table):
    with pytest.raises(UsageError, match="device nonsense cannot be used here"):
        fit_head(table((20, 20), val=6, dim=12), "ridge", device="nonsense")


@pytest.fixture
def stand_in(monkeypatch):
    """Fit heads by the code of devices, on torch's own on the processor."""
    monkeypatch.setattr(fit, "heads_device", lambda name, numbers: None if name == "cpu" else torch.device("cpu"))
    monkeypatch.setattr(fit, "_kind", lambda device: "cpu" if device is None else "cuda")


@pytest.mark.parametrize("head", ["ridge", "logreg", "knn", "torch-linear"])
def test_a_head_chooses_and_predicts_there_as_here(stand_in, table, head):
    rows = table((20, 20), val=6, dim=12)
    here, there = (fit_head(rows, head, device=device).run for device in ("cpu", "auto"))
    assert (here.protocol["device"], there.protocol["device"]) == ("cpu", "cuda")
    assert here.id != there.id
    assert there.hyperparameters == here.hyperparameters
    np.testing.assert_allclose(there.probabilities.matrix(), here.probabilities.matrix(), atol=1e-4)


def test_heads_of_other_programs_stay_on_the_processor(stand_in, table):
    assert fit_head(table((20, 20), val=6, dim=12), "random-forest").run.protocol["device"] == "cpu"


def test_several_processes_fit_on_the_processor(stand_in, table):
    runs = compare(table((20, 20), val=6, dim=12), "ridge", learning_curve=False, n_jobs=2)
    assert {run.protocol["device"] for run in runs} == {"cpu"}


def test_a_device_whose_memory_is_too_small_is_said_in_a_line(stand_in, table, monkeypatch):
    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GB. GPU 0 has 1 GB. More words.")

    monkeypatch.setattr("fc7.classify.solvers.device_rows.DeviceRows.second_moment", fail)
    with pytest.raises(FC7Error, match=r"too small.*device cpu"):
        fit_head(table((20, 20), val=6, dim=12), "ridge")
