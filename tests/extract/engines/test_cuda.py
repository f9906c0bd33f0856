"""What only a CUDA device can show: the numbers of the processor, its own limits, the same bits in a second run."""

import numpy as np
import pytest
import torch
from fakes import photographs_of_noise

from fc7.errors import FC7Error
from fc7.extract import extract, load_backbone, read_manifest
from fc7.extract.engines import local
from fc7.extract.manifest.manifest import Manifest

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


@pytest.fixture
def photos(tmp_path):
    return read_manifest(photographs_of_noise(tmp_path / "photos", 10))


def squeezenet(device="cuda", **options):
    return load_backbone("squeezenet1_1", weights="ndf", device=device, dtype="float32", **options)


def test_it_agrees_with_the_processor(photos, tmp_path):
    there = extract(photos, squeezenet(), cache=tmp_path / "there").vectors
    here = extract(photos, squeezenet("cpu"), cache=tmp_path / "here").vectors
    np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-4)


def test_bfloat16_stays_close_to_float32(photos):
    exact, fast = (extract(photos, squeezenet(precision=p)).vectors for p in ("fp32", "bf16"))
    cosine = (exact * fast).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(fast, axis=1)
    assert cosine.min() > 0.999
    assert not np.array_equal(exact, fast)


def test_a_resumed_run_has_the_same_bits_whoever_decodes(photos, tmp_path, monkeypatch):
    part = Manifest(photos.root, photos.images[:3], photos.classes)
    extract(part, squeezenet(batch_size=4), cache=tmp_path / "resumed")
    once = extract(photos, squeezenet(batch_size=4), cache=tmp_path / "once").vectors
    monkeypatch.setattr(local, "STARTING", 1)
    resumed = extract(photos, squeezenet(batch_size=4), cache=tmp_path / "resumed", workers=2).vectors
    np.testing.assert_array_equal(resumed, once)


def test_a_full_memory_is_one_clear_line_and_free_again():
    backbone = squeezenet(batch_size=4)
    backbone.load()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.001)  # of this process
    try:
        with pytest.raises(FC7Error, match=r"The memory of cuda:0 is too small: .* take batch_size 256\."):
            backbone.forward(np.zeros((512, 224, 224, 3), np.uint8))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert np.isfinite(backbone.forward(np.zeros((4, 224, 224, 3), np.uint8))[0]).all()
