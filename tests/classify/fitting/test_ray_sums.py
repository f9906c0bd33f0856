"""Sums and jobs on Ray give what they give here, whoever is done first."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from fc7.cache import Embeddings, Recipe, Store
from fc7.cache.shard import Shard
from fc7.cache.store import StoredVectors
from fc7.classify import compare, fit
from fc7.classify.fitting.parallel import run
from fc7.classify.fitting.ray_sums import ray_map
from fc7.classify.solvers import map_reduce
from fc7.classify.solvers.eigenbasis import Eigenbasis
from fc7.classify.solvers.row_stream import Stream
from fc7.errors import DataError, EngineError, MissingExtra
from fc7.extract.engines.ray_engine import require_ray

try:
    ray = require_ray()
except MissingExtra as absent:
    pytest.skip(str(absent), allow_module_level=True)

# Ray 2.52 leaves files open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

DIM, ROWS, RAM = 24, 16, 2**18
SUMS = ("ridge", "lda", "gaussian-nb", "centroid")


@pytest.fixture
def table(cache_dir, monkeypatch):
    """120 rows of three classes on disk, in two views and shards of 50; parts of 16 rows."""
    monkeypatch.setattr(map_reduce, "ROWS", ROWS)
    generator = np.random.default_rng(0)
    y = np.arange(120) % 3
    keys = [generator.bytes(32) for _ in y]
    views = []
    for view in range(2):
        vectors = np.maximum(generator.standard_normal((3, DIM))[y] + generator.standard_normal((120, DIM)), 0)
        store = Store(Recipe("fake", "layer", DIM, "0" * 64, view=view), cache_dir)
        for first in range(0, 120, 50):
            some = sorted(range(first, min(first + 50, 120)), key=keys.__getitem__)
            store.append(Shard([keys[row] for row in some], vectors[some].astype(np.float16)))
        views.append(StoredVectors(store, keys, RAM))
    return Embeddings(
        labels=np.array([f"c{code}" for code in y]),
        paths=np.array([f"{row}.png" for row in range(120)]),
        split=np.array(["train"] * 90 + ["val"] * 30),
        group=np.array([""] * 120),
        sha256=np.frombuffer(b"".join(keys), np.uint8).reshape(120, 32),
        classes=("c0", "c1", "c2"),
        name="rows",
        vectors=views[0],
        recipe=views[0].store.recipe,
        views=tuple(views[1:]),
    )


def stream(table, engine=None):
    return Stream([table.vectors, *table.views], np.arange(5, 95), ray_map(engine) if engine else None)


def test_sums_are_those_of_a_stream_and_the_same_bits_each_time(table, engine):
    y, rows, weights = np.tile(table.y[5:95], 2), np.arange(3, 170), np.array([1.0, 2.0, 0.5])
    here, there = Eigenbasis(stream(table)), Eigenbasis(stream(table, engine))
    one, other = here.class_sums(y, rows, squares=True), there.class_sums(y, rows, squares=True)
    for name in ("counts", "sums", "squares"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-12)
    whole = here.class_sums(y)
    for given in (None, weights):
        expected, found = here.moments(y, whole, rows, given)[1], there.moments(y, whole, rows, given)[1]
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    again = Eigenbasis(stream(table, engine)).class_sums(y, rows, squares=True)
    np.testing.assert_array_equal(again.squares, other.squares)
    parts = [part for _, part in map_reduce._parts(stream(table), rows)]
    assert len(parts) == 6 + 5
    in_order = sum((map_reduce._moment(part) for part in parts), np.zeros((DIM, DIM)))
    np.testing.assert_array_equal(map_reduce.second_moment(stream(table), rows, ray_map(engine)), in_order)


@pytest.mark.parametrize("name", SUMS)
def test_heads_of_sums_are_those_without_ray(table, engine, name):
    one, other = fit(table, name).run, fit(table, name, engine=engine).run
    assert one.id == other.id
    assert one.hyperparameters == other.hyperparameters
    close = pytest.approx(np.array(one.probabilities.matrix()), abs=1e-8)
    assert np.array(other.probabilities.matrix()) == close


def test_a_worker_that_cannot_read_the_cache_says_so(table, engine, cache_dir):
    for path in cache_dir.glob("recipes/*/shards/*/*.h5"):
        path.unlink()
    with pytest.raises(DataError, match=r"A worker on Ray cannot sum up rows: .* have no fake layer embedding"):
        map_reduce.second_moment(stream(table), np.arange(40), ray_map(engine))


def test_a_worker_that_is_killed_or_hangs(table, engine, tmp_path, monkeypatch):
    mark = tmp_path / "mark"

    def dies_once(part):
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.ones(1)

    def hangs(part):
        signal.pause()

    parts = [part for _, part in map_reduce._parts(stream(table), np.arange(60))]
    assert len(list(ray_map(engine)(dies_once, iter(parts)))) == len(parts)
    with monkeypatch.context() as patch, pytest.raises(EngineError, match=r"did not come back in 1 s"):
        patch.setattr(engine, "stall", 1.0)
        list(ray_map(engine)(hangs, iter(parts)))
    assert len(list(ray_map(engine)(dies_once, iter(parts)))) == len(parts), "room again"


def test_jobs_on_ray_are_those_of_one_process(table, engine, tmp_path, semaphores):
    told = []

    def where(number):
        if number == 99:
            raise ValueError("that is too many")
        return number, os.getpid()

    found, numbers = [], [(number,) for number in range(100)]
    with pytest.raises(ValueError, match="too many"):
        for each in run(where, numbers, -1, engine):
            found.append(each)
    assert [number for number, _ in found] == list(range(len(found)))
    assert os.getpid() not in {pid for _, pid in found}
    assert found
    memory = Embeddings(**{**vars(table), "vectors": table.vectors[:], "views": ()})
    heads = ["ridge", "gaussian-nb"]
    alone = compare(memory, heads)
    shared = compare(memory, heads, folder=tmp_path, n_jobs=2, engine=engine, progress=lambda *said: told.append(said))
    assert [one.id for one in alone] == [one.id for one in shared]
    for one, other in zip(alone, shared, strict=True):
        assert one.hyperparameters == other.hyperparameters
        assert np.array(one.probabilities.matrix()) == pytest.approx(np.array(other.probabilities.matrix()))
    assert ("fit heads", 3, 3) in told
    assert len(list(Path(tmp_path).glob("*.json"))) == 3
