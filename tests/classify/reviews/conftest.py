"""A review, its pictures and its csv."""

import pytest
from reviewed import labels_of, reviewed

from fc7.classify.reviews.review import Review


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "pictures"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "out" / "labels.csv"


@pytest.fixture
def begin(table, folder, file):
    def make(**options):
        rows, manifest = reviewed(table, folder, **options)
        return Review(rows, labels_of(rows, manifest, file))

    return make


@pytest.fixture(scope="module")
def desk(served):
    return served()
