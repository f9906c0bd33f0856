"""Fitted images in a bundle: only if asked for, the nearest by brute force, and refused where they are odd."""

from dataclasses import replace

import numpy as np
import pytest
from bundles import members, refused, sealed, write
from safetensors.numpy import load, save

from fc7.classify import Bundle, fit
from fc7.classify.bundles import fitted_images as module
from fc7.classify.bundles.fitted_images import FittedImages
from fc7.classify.bundles.members import FITTED
from fc7.errors import DataError, UsageError


@pytest.fixture(scope="module")
def fitted(embeddings):
    return fit(embeddings, "centroid", folds=2)


@pytest.fixture
def saved(fitted, tmp_path):
    return Bundle.of(fitted, with_neighbours=True).save(tmp_path / "near.fc7")


def test_the_bundle_has_the_fitted_images_and_no_others(fitted, embeddings, saved):
    images = Bundle.load(saved).fitted_images
    train = embeddings[embeddings.split == "train"].in_key_order()
    assert images.paths == tuple(train.paths.tolist())
    assert images.labels == tuple(train.labels.tolist())
    assert np.array_equal(images.vectors, train.vectors)
    assert images == Bundle.of(fitted, with_neighbours=True).fitted_images
    assert Bundle.load(saved) != Bundle.of(fitted)


def test_a_bundle_has_none_unless_they_are_asked_for(fitted, embeddings, tmp_path):
    path = Bundle.of(fitted).save(tmp_path / "plain.fc7")
    assert FITTED not in members(path)
    assert not any(name.encode() in data for data in members(path).values() for name in embeddings.paths[:3])
    bundle = Bundle.load(path)
    assert bundle.fitted_images is None
    with pytest.raises(DataError, match="--with-neighbours"):
        bundle.predict([np.zeros((8, 8, 3), np.uint8)], neighbours=3)
    with pytest.raises(UsageError, match="neighbours 0"):
        bundle.predict([np.zeros((8, 8, 3), np.uint8)], neighbours=0)


def test_after_cross_validation_all_images_were_fitted(table):
    embeddings = table((12, 12))
    assert len(Bundle.of(fit(embeddings, "ridge", folds=2), with_neighbours=True).fitted_images.paths) == 24


def test_the_nearest_are_those_of_brute_force(embeddings, saved):
    images = Bundle.load(saved).fitted_images
    asked = embeddings[embeddings.split == "val"]
    rows, queries = (one.astype(float) for one in (images.vectors, asked.vectors))
    rows, queries = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (rows, queries))
    best = np.argsort(-(queries @ rows.T), axis=1)[:, :3]
    found = images.nearest(asked.vectors, 3)
    assert [[near.path for near in one] for one in found] == [[images.paths[place] for place in row] for row in best]
    assert len(images.nearest(asked.vectors[:1], 500)[0]) == len(images.paths)


def test_too_many_vectors_are_refused(fitted, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match=r"a bundle holds 1000.*fc7 similar DATA"):
        Bundle.of(fitted, with_neighbours=True)


@pytest.mark.parametrize("what", ["shape", "dtype", "nan", "label", "names", "bytes", "digest"])
def test_odd_fitted_images_are_refused_in_one_line(saved, what):
    parts = members(saved)
    arrays = dict(load(parts[FITTED]))
    vectors = arrays["vectors"].copy()
    if what == "nan":
        vectors[0, 0] = np.nan
    changed = {
        "shape": {"vectors": vectors[:, :-1].copy()},
        "dtype": {"vectors": vectors.astype(np.float64)},
        "nan": {"vectors": vectors},
        "label": {"names": arrays["names"][:-4].copy()},
        "names": {"names": np.frombuffer(b'[["a"], ["strange"]]', np.uint8)},
    }.get(what, {})
    parts[FITTED] = b"nothing" if what in ("bytes", "digest") else save(arrays | changed)
    refused(write(saved, (parts if what == "digest" else sealed(parts)).items()))


def test_a_bundle_shows_itself_without_them(saved):
    assert repr(Bundle.load(saved).fitted_images) == "FittedImages(78 images)"
    empty = FittedImages(np.zeros((0, 3), np.float16), (), ())
    assert empty.nearest(np.ones((2, 3)), 5) == [[], []]
    assert replace(empty) == empty
