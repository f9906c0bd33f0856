"""Rows that stay on disk give the answers of rows in memory, in the memory allowed."""

import numpy as np
import pytest

from fc7.cache import Embeddings, Recipe, Store
from fc7.cache.shard import Shard
from fc7.cache.store import StoredVectors
from fc7.classify import compare, fit
from fc7.classify.heads.table import HEADS
from fc7.errors import DataError, UsageError

STREAMING = [name for name, head in HEADS.items() if head.streams]
EXACT = [name for name in STREAMING if name != "torch-linear"]
DIM, RAM = 24, 2**18  # blocks of some dozen rows


def tables(cache_dir, *, classes=3, train=90, val=30, views=0, dim=DIM, max_ram=RAM):
    """Return the same embeddings in memory and on disk."""
    generator = np.random.default_rng(0)
    n = train + val
    y = np.arange(n) % classes
    centres = generator.standard_normal((classes, dim))
    keys = [generator.bytes(32) for _ in range(n)]
    rows, stored = [], []
    for view in range(1 + views):
        vectors = np.maximum(centres[y] + 1.5 * generator.standard_normal((n, dim)) + 0.5, 0).astype(np.float16)
        recipe = Recipe("fake", "layer", dim, "0" * 64, view=view)
        store = Store(recipe, cache_dir)
        for first in range(0, n, 50):
            some = sorted(range(first, min(first + 50, n)), key=keys.__getitem__)
            store.append(Shard([keys[row] for row in some], vectors[some]))
        rows.append(vectors)
        stored.append(StoredVectors(store, keys, max_ram))
    about = dict(
        labels=np.array([f"c{code}" for code in y]),
        paths=np.array([f"{row}.png" for row in range(n)]),
        split=np.array(["train"] * train + ["val"] * val),
        group=np.array([""] * n),
        sha256=np.frombuffer(b"".join(keys), np.uint8).reshape(n, 32),
        classes=tuple(f"c{code}" for code in range(classes)),
        recipe=Recipe("fake", "layer", dim, "0" * 64),
    )
    memory = Embeddings(vectors=rows[0], views=tuple(rows[1:]), **about)
    return memory, Embeddings(vectors=stored[0], views=tuple(stored[1:]), **about)


def test_stored_vectors_are_indexed_like_an_array(cache_dir):
    memory, disk = tables(cache_dir)
    assert disk.vectors.shape == memory.vectors.shape
    assert disk.vectors.dtype == memory.vectors.dtype
    for rows in (np.array([5, 3, 3, 99]), slice(7, 40), memory.y == 1):
        assert (disk.vectors[rows] == memory.vectors[rows]).all()
        assert (disk[rows].vectors[:] == memory[rows].vectors).all() if not isinstance(rows, slice) else True
    assert sorted(disk.vectors.order) == list(range(120))


def test_an_exported_file_of_stored_vectors_is_that_of_vectors_in_memory(cache_dir, tmp_path):
    memory, disk = tables(cache_dir)
    found = [Embeddings.from_h5(one.to_h5(tmp_path / f"{name}.h5")) for name, one in (("m", memory), ("d", disk))]
    assert (found[0].vectors == found[1].vectors).all()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", EXACT)
def test_a_streamed_head_is_the_head_in_memory(cache_dir, name, classes):
    """Probabilities within 1e-3, the same choice."""
    memory, disk = tables(cache_dir, classes=classes, views=1)
    one, other = fit(memory, name, average_views=True), fit(disk, name, average_views=True)
    assert one.run.hyperparameters == other.run.hyperparameters
    assert one.run.selection["log_loss"] == pytest.approx(other.run.selection["log_loss"], abs=1e-3)
    close = pytest.approx(np.array(one.run.probabilities.matrix()), abs=1e-3)
    assert np.array(other.run.probabilities.matrix()) == close
    assert not other.run.notes


@pytest.mark.parametrize("classes", [2, 3])
def test_a_descent_on_blocks_comes_to_about_the_same(cache_dir, classes):
    """Its batches are others, as rows come in the order in which they lie."""
    memory, disk = tables(cache_dir, classes=classes, views=1)
    one, other = (fit(table, "torch-linear", epochs=20).run for table in (memory, disk))
    assert one.selection["log_loss"] == pytest.approx(other.selection["log_loss"], abs=0.05)
    assert one.metrics["accuracy"] == pytest.approx(other.metrics["accuracy"], abs=0.1)
    assert len(other.curves) == other.hyperparameters["epochs"] == 20


@pytest.mark.parametrize("name", ["logreg", "ridge", "knn", "gaussian-nb"])  # one of each way to read rows
def test_cross_validation_streams_too(cache_dir, name):
    memory, disk = tables(cache_dir, train=60, val=0)
    for table in (memory, disk):
        table.split[:] = ""
    one, other = fit(memory, name, folds=3), fit(disk, name, folds=3)
    close = pytest.approx(np.array(one.run.probabilities.matrix()), abs=2e-3)
    assert np.array(other.run.probabilities.matrix()) == close


def test_a_head_that_needs_all_rows_says_which_do_not(cache_dir):
    with pytest.raises(UsageError, match=r"rbf-svm needs all rows .*logreg, linear-svm, ridge, lda, knn, centroid"):
        fit(tables(cache_dir)[1], "rbf-svm")


def test_all_heads_are_all_that_stream(cache_dir, caplog):
    runs = compare(tables(cache_dir)[1], epochs=2)
    assert {run.head for run in runs} == set(STREAMING)
    assert "rbf-svm, random-forest, hist-gb, mlp" in caplog.text


def test_moments_larger_than_the_memory_are_refused_before_any_work(cache_dir):
    _, disk = tables(cache_dir, dim=400, max_ram=2**20)
    with pytest.raises(DataError, match=r"400-d embeddings take 3 MB, max_ram allows 1 MB\. .* centroid"):
        fit(disk, "ridge")
    assert fit(disk, "centroid").run.metrics["accuracy"] > 0.8
