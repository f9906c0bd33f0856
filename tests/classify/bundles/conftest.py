"""Embeddings to fit bundles on."""

import pytest


@pytest.fixture(scope="module")
def embeddings(table):
    return table((30, 30, 30), dim=100, val=4)
