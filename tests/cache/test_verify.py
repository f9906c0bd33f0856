import os
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeBackbone
from shards import RECIPE, key, rows

from fc7.cache import Store
from fc7.cache.maintenance_lock import alone
from fc7.cache.shard import Shard
from fc7.cache.verify import durability, info, repair, verify
from fc7.errors import CacheError


@pytest.fixture
def store(store):
    """Two shards: rows 1, 2 and rows 3, 4, 5."""
    store.append(Shard([key(1), key(2)], rows(1, 2)))
    store.append(Shard([key(3), key(4), key(5)], rows(3, 4, 5), {key(6): "no image"}))
    return store


def flip(path):
    """Flip a bit of a shard."""
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def test_a_sound_cache(store, directory):
    found = verify(directory)
    assert (found.recipes, found.shards, found.rows, found.read, found.damaged) == (1, 2, 5, 0, [])
    assert verify(directory, deep=True).read == 2
    store.index.forget_all()
    assert verify(directory).read == 2


def test_verify_names_what_is_damaged_and_changes_nothing(store, directory):
    path = next(iter(store.folder.glob("shards/*/*.h5")))
    flip(path)
    before = sorted(directory.rglob("*"))
    found = verify(directory)
    assert [one.file for one in found.damaged] == [path.relative_to(directory).as_posix()]
    assert "sha256" in found.damaged[0].reason
    assert sorted(directory.rglob("*")) == before


def test_bits_that_rot_under_unchanged_times_are_found_by_a_deep_look_only(store, directory):
    path = store.path(next(iter(store.entries)))
    flip(path)
    entry = store.entries[path.name]
    status = path.stat()
    stat = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
    store.index.remember_shards(RECIPE.id, {path.name: entry._replace(stat=stat)})
    assert verify(directory).damaged == []
    assert [one.file for one in verify(directory, deep=True).damaged] == [path.relative_to(directory).as_posix()]
    assert len(repair(directory)) == 1
    assert Store(RECIPE, directory).missing(entry.keys) == sorted(entry.keys)


def test_rows_that_are_not_finite_are_found_by_a_deep_look(directory):
    Store(RECIPE, directory).append(Shard([key(1)], np.full((1, 4), np.nan, np.float32)))
    assert verify(directory).damaged == []
    assert "finite" in verify(directory, deep=True).damaged[0].reason


def test_a_shard_in_the_wrong_place_is_damage(store, directory):
    other = Store(replace(RECIPE, weights="0" * 64), directory)
    path = next(iter(store.folder.glob("shards/*/*.h5")))
    stray = other.path(path.name)
    stray.parent.mkdir(parents=True)
    os.link(path, stray)
    renamed = store.path("0" * 64 + ".h5")
    renamed.parent.mkdir(exist_ok=True)
    os.link(path, renamed)
    reasons = {one.file: one.reason for one in verify(directory).damaged}
    assert "recipe" in reasons[stray.relative_to(directory).as_posix()]
    assert "name" in reasons[renamed.relative_to(directory).as_posix()]


@pytest.mark.parametrize("text", ["", "{}", "[1", "\udc80", None])
def test_a_lost_description_is_damage_and_is_written_anew(store, directory, text, caplog):
    Store(replace(RECIPE, weights="0" * 64), directory).append(Shard([key(1)], rows(1)))
    path = store.folder / "recipe.json"
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert [one.rows for one in info(directory)] == [1], "the other recipe"
    assert "fc7 cache repair" in caplog.text
    assert [one.file for one in verify(directory).damaged] == [path.relative_to(directory).as_posix()]
    assert len(repair(directory)) == 1
    assert {one.rows for one in info(directory)} == {1, 5}
    assert verify(directory, deep=True).damaged == []


def test_a_lost_description_that_no_shard_tells_is_removed(directory):
    store = Store(RECIPE, directory)
    (store.folder / "recipe.json").write_text("nonsense")
    repair(directory)
    assert not (store.folder / "recipe.json").exists()
    assert len(Store(RECIPE, directory)) == 0


def test_repair_leaves_a_sound_cache_whose_rows_can_be_computed_again(store, directory):
    path = store.path(next(iter(store.entries)))
    flip(path)
    assert [one.file for one in repair(directory)] == [path.relative_to(directory).as_posix()]
    assert verify(directory, deep=True).damaged == []
    assert repair(directory) == []
    left = Store(RECIPE, directory)
    np.testing.assert_array_equal(left.rows(left.missing([])), np.empty((0, 4)))
    assert len(left) in (2, 3)


def test_one_process_at_a_time_looks_after_a_cache(store, directory):
    with alone(directory), pytest.raises(CacheError, match="Another"):
        repair(directory)
    assert repair(directory) == []


def test_there_must_be_a_cache(tmp_path):
    for look in (info, verify, repair):
        with pytest.raises(CacheError, match="no fc7 cache"):
            look(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_what_rows_survive_is_known(store, directory, monkeypatch):
    assert durability(directory) == "power loss"

    def refuse(_):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    assert durability(directory) == "process crash"


def test_fake_backbone_recipe_is_described(directory):
    recipe = FakeBackbone().recipes[0]
    Store(recipe, directory).append(Shard([key(1)], np.zeros((1, 12), np.float16)))
    (found,) = info(directory)
    assert found.recipe == recipe
    assert (found.rows, found.shards, found.quarantined) == (1, 1, 0)
