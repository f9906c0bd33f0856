"""Tracing beside threads that compute: torch.fx patches modules for the whole process."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torchvision
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.models.feature_extraction import NodePathTracer

from fc7.extract.backbones.tracing import Trace, imagine


class Waiting(torch.nn.Module):
    """Its forward pass, when it is traced, waits until another thread has computed."""

    def __init__(self, inside, done):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 4, 1)
        self.inside, self.done = inside, done

    def forward(self, images):
        self.inside.set()
        self.done.wait(60)
        return self.layer(images)


def test_modules_of_other_threads_compute_while_a_network_is_traced():
    inside, done = threading.Event(), threading.Event()
    network = Waiting(inside, done).eval()
    other = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).eval()
    rows = torch.randn(2, 5)
    expected = other(rows)

    def compute():
        try:
            inside.wait(60)
            return other(rows), other[0].weight
        finally:
            done.set()

    with ThreadPoolExecutor(1) as pool:
        computed = pool.submit(compute)
        trace = Trace(network, {}, {})
        found, weight = computed.result()
    assert torch.equal(found, expected)
    assert weight is other[0].weight
    assert list(trace.names) == ["images", "layer"]


class OddNames(torch.nn.Module):
    """Modules and functions whose names end in numbers, and that are called again."""

    names = ("layer", "layer_1", "layer_1_2", "layer_3", "add_1", "relu")

    def __init__(self, deep=True):
        super().__init__()
        for name in self.names:
            self.add_module(name, torch.nn.Linear(4, 4))
        self.block_1 = torch.nn.Sequential(*(OddNames(deep=False) for _ in range(3))) if deep else torch.nn.ReLU()

    def forward(self, rows):
        for name in (*self.names, *reversed(self.names), *self.names):
            rows = torch.relu(self.get_submodule(name)(rows) + rows) + rows
        return self.block_1(self.block_1(rows) * 2)


@pytest.mark.parametrize("make", [OddNames, lambda: torchvision.models.densenet121(weights=None)])
def test_nodes_have_the_names_of_torchvisions_feature_extractor(make):
    network = make().eval()
    tracer = NodePathTracer()
    tracer.trace(network)
    assert list(Trace(network).names)[1:] == list(tracer.node_to_qualname.values())[1:], "but for the input"


def test_networks_that_threads_trace_at_once_are_whole():
    networks = [torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(count))).eval() for count in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        traces = list(pool.map(lambda network: Trace(network, {}, {}), networks))
    rows = torch.randn(2, 4)
    for network, trace in zip(networks, traces, strict=True):
        assert torch.equal(trace.whole()(rows), network(rows))
    assert type(torch.nn.Linear(1, 1)(torch.zeros(1, 1))) is torch.Tensor, "nothing stays patched"


class Adding(torch.nn.Module):
    """As position embeddings of another size."""

    def forward(self, images):
        return images + torch.zeros(1, 3, 7, 7)


def test_torch_writes_no_traceback_of_shapes_that_do_not_fit(caplog):
    log = logging.getLogger(FakeTensorMode.__module__)
    log.addHandler(caplog.handler)
    try:
        with pytest.raises(RuntimeError):
            imagine(Adding(), Adding(), 5)
        assert not caplog.records
        with pytest.raises(RuntimeError), FakeTensorMode(allow_non_fake_inputs=True):
            Adding()(torch.empty(1, 3, 5, 5))
        assert caplog.records, "it would, and others still hear it"
    finally:
        log.removeHandler(caplog.handler)
