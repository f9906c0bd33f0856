"""Several devices, a process for each. The stand-in for two of them is the processor, twice."""

import os
import signal
import threading

import numpy as np
import pytest
from fakes import photographs_of_noise
from waiting import until

from fc7.extract import extract, fill, load_backbone, read_manifest
from fc7.extract.backbones.torch_runtime import device_names
from fc7.extract.engines import several_devices
from fc7.extract.engines.several_devices import SeveralDevices


@pytest.fixture
def photos(tmp_path):
    return read_manifest(photographs_of_noise(tmp_path / "photos", 12))


def network(device):
    return load_backbone("squeezenet1_1", weights="random:0", device=device, image_size=(64, 64), dtype="float32")


def vectors(photos, cache):
    return extract(photos, network("cpu"), cache=cache).vectors


def test_names_of_several(monkeypatch):
    assert device_names("cuda:1") == ["cuda:1"]
    assert device_names("cuda:1,cuda:3") == ["cuda:1", "cuda:3"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert device_names("cuda:all") == ["cuda:0", "cuda:1"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert device_names("cuda:all") == ["cuda"], "which is refused as it always is"


def test_rows_are_those_of_one_device_and_each_has_its_part(photos, tmp_path, monkeypatch):
    fill(photos, [network("cpu")], cache=tmp_path / "one", unit_rows=3)
    heard, parts, start = [], [], SeveralDevices._start

    def counted(self, number, keys, rows):
        parts.append(len(keys))
        return start(self, number, keys, rows)

    monkeypatch.setattr(SeveralDevices, "_start", counted)
    monkeypatch.setattr(SeveralDevices, "_hear", lambda self, n, process: heard.append(process))
    (done,) = fill(photos, [network("cpu,cpu")], cache=tmp_path / "two", unit_rows=3, workers=2)
    assert done.ok == 12
    assert parts == [6], "two of four units"
    np.testing.assert_array_equal(vectors(photos, tmp_path / "two"), vectors(photos, tmp_path / "one"))
    assert heard[0].returncode is not None, "it has ended"


def test_a_process_computes_its_part_alone(photos, tmp_path, monkeypatch):
    """Hold this process back until the other has committed all that it was given."""
    gate, ours = threading.Event(), several_devices.Pipeline.run

    def run(self, missing, unit_rows=None):
        store = self.stores[0]
        until(lambda: store.refresh() or len(store.missing(missing)) <= 6)
        gate.set()
        return ours(self, missing, unit_rows)

    monkeypatch.setattr(several_devices.Pipeline, "run", run)
    told = []
    progress = lambda stage, done, total: told.append(done)  # noqa: E731
    (done,) = fill(photos, [network("cpu,cpu")], cache=tmp_path / "two", unit_rows=3, progress=progress)
    assert gate.is_set()
    assert done.ok == 12
    assert max(told) == 12


def test_fewer_units_than_devices_start_no_process(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(SeveralDevices, "_start", None)
    (done,) = fill(photos, [network("cpu,cpu,cpu")], cache=tmp_path / "one", unit_rows=12)
    assert done.ok == 12


def test_what_a_killed_process_leaves_is_computed_here(photos, tmp_path, monkeypatch):
    hear = SeveralDevices._hear

    def kill(self, number, process):
        os.kill(process.pid, signal.SIGKILL)
        hear(self, number, process)

    monkeypatch.setattr(SeveralDevices, "_hear", kill)
    (done,) = fill(photos, [network("cpu,cpu")], cache=tmp_path / "two", unit_rows=3)
    assert done.ok == 12


def test_a_device_that_fails_says_so_and_is_done_without(photos, tmp_path, log, monkeypatch):
    heard, hear = threading.Event(), SeveralDevices._hear
    monkeypatch.setattr(SeveralDevices, "_hear", lambda *given: hear(*given) or heard.set())
    run = several_devices.Pipeline.run
    monkeypatch.setattr(several_devices.Pipeline, "run", lambda *given: until(heard.is_set) and run(*given))
    (done,) = fill(photos, [network("cpu,cuda:77")], cache=tmp_path / "two", unit_rows=3)
    assert done.ok == 12
    assert "cuda:77 computes no more" in log.text
