"""Switches that a caller has set for the whole process reach no vector, and are put back."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from fc7.cache.recipe import Transform
from fc7.extract import Backbone, load_backbone
from fc7.extract.computing import Counted, computing
from fc7.extract.in_memory import embed

LEAVES = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")


def backend(name):
    library, operation = name.split(".")
    return getattr(getattr(torch.backends, library), operation)


def state():
    """Return all that a caller can have set."""
    default = torch.get_default_dtype(), torch.get_default_device(), torch.is_autocast_enabled("cpu")
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    for older in (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32):
        try:
            default += (older(),)
        except RuntimeError:  # torch refuses to say it where both of its interfaces were used
            default += (None,)
    products = [torch.backends.fp32_precision, *(backend(name).fp32_precision for name in LEAVES)]
    return [*default, threads, benchmark, np.geterr(), *products]


@contextlib.contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def reduced(name, precision):
    owner = backend(name) if "." in name else torch.backends
    before = owner.fp32_precision
    owner.fp32_precision = precision
    try:
        yield
    finally:
        owner.fp32_precision = before


@contextlib.contextmanager
def older(write, value, usual):
    write(value)
    try:
        yield
    finally:
        write(usual)


@contextlib.contextmanager
def benchmark():
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = False


SWITCHES = {
    "default dtype bfloat16": lambda: default_dtype(torch.bfloat16),
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default device meta": lambda: default_device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "oneDNN matmul in bfloat16": lambda: reduced("mkldnn.matmul", "bf16"),
    "oneDNN convolutions in bfloat16": lambda: reduced("mkldnn.conv", "bf16"),
    "lower precision of matmul": lambda: older(torch.set_float32_matmul_precision, "medium", "highest"),
    "TF32 of matmul": lambda: older(lambda on: setattr(torch.backends.cuda.matmul, "allow_tf32", on), True, False),
    "no TF32 in cuDNN": lambda: older(lambda on: setattr(torch.backends.cudnn, "allow_tf32", on), False, True),
    "TF32 of matmul only": lambda: reduced("cuda.matmul", "tf32"),
    "TF32 of cuDNN's convolutions only": lambda: reduced("cudnn.conv", "ieee"),
    "TF32 everywhere": lambda: reduced("generic", "tf32"),
    "cuDNN's benchmark": benchmark,
    "floating point errors": lambda: np.errstate(all="raise"),
}


class Positions(torch.nn.Module):
    """It makes tensors in its forward pass, as many networks do."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3, dtype=torch.float32) / 3)

    def forward(self, images):
        means = images.mean((2, 3)) * self.scale
        return torch.cat([means, torch.softmax(means * torch.arange(3) + torch.ones(3) * 1e-3, 1)], 1)


def vectors(seed):
    """Return what a named network and a module compute for the same pictures."""
    rng = np.random.default_rng(seed)
    pictures = [rng.integers(0, 256, (70, 90, 3), dtype=np.uint8) for _ in range(3)]
    named = load_backbone("squeezenet1_1", ["gap", "logits"], weights="random:0", dtype="float32", image_size=(64, 64))
    own = Backbone(OWN, Transform(32, 32), dtype="float32", device="cpu")
    embedded, rejected = embed(pictures, [named, own])
    assert rejected == {}
    assert named.recipes[0].id == NAMED
    batch = np.stack([picture[:64, :64] for picture in pictures])
    return [*embedded.values(), *named.forward(batch), *own.embed(np.ascontiguousarray(batch[:, :32, :32]))]


OWN = Positions()
NAMED = load_backbone("squeezenet1_1", "gap", weights="random:0", dtype="float32", image_size=(64, 64)).recipes[0].id


@pytest.fixture(scope="module")
def expected():
    return vectors(0)


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_reaches_no_vector_and_is_put_back(switch, expected):
    with SWITCHES[switch]():
        before = state()
        found = vectors(0)
        assert state() == before
    for matrix, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(matrix, right)


def test_switches_stay_at_their_defaults_until_the_last_thread_is_done():
    first_inside, second_inside, first_out = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def first():
        with computing():
            first_inside.set()
            second_inside.wait()
        first_out.set()

    def second():
        first_inside.wait()
        with computing():
            second_inside.set()
            first_out.wait()
            seen.append(torch.get_default_dtype())

    with default_dtype(torch.float64), ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(first), pool.submit(second)]:
            future.result()
        assert seen == [torch.float32]
        assert torch.get_default_dtype() == torch.float64


def test_both_interfaces_of_torch_say_that_precision_is_full():
    with computing():
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32
        assert {backend(name).fp32_precision for name in LEAVES} <= {"none", "ieee"}
        with torch.backends.cudnn.flags(enabled=True):  # as torch.export does
            pass


def test_a_counted_change_is_undone_after_an_error():
    done = []
    change = Counted(lambda: done.append("made") or (lambda: done.append("undone")))
    with pytest.raises(KeyError), change(), change():
        raise KeyError
    assert done == ["made", "undone"]
