"""The way of images through a CUDA device, with a stand-in for it: nothing of two devices meets."""

import fake_cuda
import numpy as np
import pytest
from fakes import photographs_of_noise

from fc7.extract import extract, load_backbone, read_manifest
from fc7.extract.engines import local


@pytest.fixture
def photos(tmp_path):
    return read_manifest(photographs_of_noise(tmp_path / "photos", 10))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_rows_are_those_of_the_processor(photos, tmp_path, monkeypatch, precision):
    def rows(device, cache):
        options = {"device": device, "precision": precision, "batch_size": 4, "dtype": "float32"}
        network = load_backbone("squeezenet1_1", weights="random:0", image_size=(64, 64), mirror=True, **options)
        return extract(photos, network, cache=tmp_path / cache, workers=2).vectors

    here = rows("cpu", "here")
    monkeypatch.setattr(local, "STARTING", 1)
    calls = fake_cuda.install(monkeypatch)
    there = rows("cuda", "there")
    np.testing.assert_allclose(there, here, atol=1e-5 if precision == "fp32" else 0.02 * np.abs(here).max())
    (start, size), *_ = [words[1:] for name, *words in ((call[0], *call) for call in calls) if name == "register"]
    assert ("unregister", start) in [call[:2] for call in calls]
    assert size > 10 * 64 * 64 * 3
    assert ("record_stream", fake_cuda.DEFAULT) in calls, "what was copied in a stream of its own"
