"""Copies to a device, with a stand-in for CUDA where there is none."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fc7.extract.backbones.torch_runtime import pinned, to_device

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def runtime(monkeypatch):
    """CUDA's calls for memory; `answer` is what registering returns."""
    calls = []

    def register(start, size, flags):
        calls.append(("register", start, size, flags))
        return fake.answer

    fake = SimpleNamespace(
        answer=0, calls=calls, cudaHostRegister=register, cudaHostUnregister=lambda start: calls.append(("give", start))
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: fake)
    return fake


def fail_as_cuda_does(*_, **__):
    """Report what failed before."""
    raise RuntimeError("CUDA error: invalid argument")


@pytest.mark.parametrize(("answer", "given_back"), [(0, True), (2, False)])
def test_memory_is_registered_for_the_block(runtime, monkeypatch, answer, given_back):
    runtime.answer, memory = answer, np.zeros(4096, np.uint8)
    monkeypatch.setattr(torch, "zeros", fail_as_cuda_does)
    with pytest.raises(KeyError), pinned(memory, [CUDA]):
        assert runtime.calls == [("register", memory.ctypes.data, 4096, 0)]
        raise KeyError
    assert (("give", memory.ctypes.data) in runtime.calls) is given_back


def test_no_memory_is_registered_for_a_processor(runtime):
    with pinned(np.zeros(4096, np.uint8), [CPU, torch.device("mps")]):
        assert runtime.calls == []


def test_a_batch_for_the_processor_stays_where_it_is():
    batch = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    there = to_device(batch, CPU)
    assert there.data_ptr() == batch.ctypes.data
    np.testing.assert_array_equal(there.numpy(), batch)
