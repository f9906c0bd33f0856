"""The network is compared with the bundle, on which pictures, and what follows."""

import numpy as np
import pytest
import torch
from exported import SQUEEZENET, run_pt2

from fc7.cache.recipe import Transform
from fc7.classify import export
from fc7.classify.exports import formats
from fc7.classify.exports.parity import synthetic_pixels
from fc7.errors import DataError, ExportError


def test_what_a_state_dict_cannot_round_is_measured_and_told(home, cache, tmp_path):
    bundle = home.bundle("linear-svm", 3, "scale")
    with pytest.raises(ExportError) as caught:
        export(bundle, tmp_path / "net.safetensors", tolerance=1e-6, images=[home.pictures(3)], **cache)
    assert "rounded to float16, which a state dict cannot do: fit on float32" in str(caught.value)
    written = export(bundle, tmp_path / "net.safetensors", tolerance=0.01, images=[home.pictures(3)], **cache)
    assert written.parity.probability > 1e-6
    exact = home.exported(".pt2", bundle)
    assert exact.parity.probability < written.parity.probability
    assert exact.notes == ()


def test_a_bundle_that_computes_in_bfloat16_is_exported_in_float32(home):
    bundle = home.bundle("ridge", 2, precision="bf16", **SQUEEZENET)
    written = home.exported(".pt2", bundle)
    assert written.parity.probability < 1e-4 < written.parity.predicted
    assert written.notes == ("fc7 predict computes in bf16, the network in float32",)
    probability = run_pt2(written.path, home.prepared(bundle))[1]
    assert probability == pytest.approx(home.predicted(bundle), abs=0.1)


def test_the_images_compared_on_are_named(home, cache, tmp_path):
    bundle = home.bundle("ridge", 2, "scale", dtype="float32")
    made_up = export(bundle, tmp_path / "net.safetensors", **cache).parity
    assert (made_up.images, made_up.origin) == (16, "made up by fc7")
    (tmp_path / "empty.png").write_bytes(b"")
    images = [home.pictures(2), tmp_path / "empty.png", tmp_path / "absent.png"]
    real = export(bundle, tmp_path / "net.safetensors", images=images, **cache).parity
    assert (real.images, real.origin) == (24, ", ".join(map(str, images)))
    with pytest.raises(DataError, match=r"no images .*empty.png: empty file"):
        export(bundle, tmp_path / "none.safetensors", images=images[1:], **cache)


def test_made_up_pictures_are_the_same_each_time_and_differ_among_each_other():
    one, two = synthetic_pixels(Transform(40, 32)), synthetic_pixels(Transform(40, 32))
    assert np.array_equal(one, two)
    assert all(picture.shape == (32, 32, 3) and picture.dtype == np.uint8 for picture in one)
    assert len({picture.tobytes() for picture in one}) == len(one)


@pytest.mark.parametrize("suffix", list(formats.FORMATS))
def test_a_network_that_answers_otherwise_is_not_written(home, cache, nothing, monkeypatch, suffix):
    """The twin of the check: it does see a wrong number in the file."""
    form = formats.FORMATS[suffix]
    encode = form.encode

    def wrong(self, tapped):
        with torch.no_grad():
            self.network.layers[-1].bias[0] += 0.01
        return encode(self, tapped)

    monkeypatch.setattr(form, "encode", wrong)
    backbone, bundle = home.small()
    if suffix == ".safetensors":  # of a published network
        backbone, bundle = None, home.bundle("ridge", 2, "scale", dtype="float32")
    with pytest.raises(ExportError, match=r"differ from the bundle's by up to \d.*on 16 images.*Nothing was written"):
        export(bundle, nothing / f"net{suffix}", backbone=backbone, **cache)


def test_a_network_whose_answers_are_no_numbers_is_not_written(home, cache, nothing, monkeypatch):
    nan = np.full((16, 2), np.nan, np.float32)
    monkeypatch.setattr(formats.StateDict, "open", lambda self, data: lambda images: (nan[: len(images)],) * 2)
    bundle = home.bundle("ridge", 2, "scale", dtype="float32")
    with pytest.raises(ExportError, match="inf"):
        export(bundle, nothing / "net.safetensors", **cache)
