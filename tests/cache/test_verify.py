import errno
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeBackbone
from shards import RECIPE, key, rows

from fc7.cache import Store, listing
from fc7.cache import verify as module
from fc7.cache.directory import alone
from fc7.cache.maintenance import compact
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


@pytest.mark.parametrize("look", [dict, lambda: {"deep": True}])
def test_shards_that_are_merged_meanwhile_are_not_damaged(store, directory, monkeypatch, look):
    """The first one that is looked at is the last one that is still there."""
    store.index.forget_all()
    check = module.check_file

    def too_late(*arguments, **options):
        monkeypatch.undo()
        compact(directory)
        return check(*arguments, **options)

    monkeypatch.setattr(listing, "READERS", 1)
    monkeypatch.setattr(module, "check_file", too_late)
    found = verify(directory, **look())
    assert (found.recipes, found.shards, found.rows, found.damaged) == (1, 1, 5, [])


def test_a_recipe_that_is_removed_meanwhile_is_not_damaged(store, directory, monkeypatch):
    names = module.shard_names

    def too_late(folder):
        monkeypatch.undo()
        shutil.rmtree(folder)
        return names(folder)

    monkeypatch.setattr(module, "shard_names", too_late)
    assert verify(directory) == module.Verdict(recipes=0, shards=0, rows=0, read=0, damaged=[])


def test_info_counts_what_was_listed_though_it_is_removed_meanwhile(store, directory, monkeypatch):
    size = sum(path.stat().st_size for path in store.folder.glob("shards/*/*.h5"))
    refresh = Store.refresh

    def refreshed(self):
        refresh(self)
        monkeypatch.undo()
        shutil.rmtree(self.folder)

    monkeypatch.setattr(Store, "refresh", refreshed)
    (found,) = info(directory)
    assert (found.rows, found.bytes) == (5, size)


def test_what_cannot_be_read_now_ends_the_verb_and_is_left_as_it_is(store, directory, monkeypatch):
    there = sorted(store.folder.rglob("*"))

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    for name in ("check_file", "recipe_folders", "shard_names"):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, refuse)
            for look in (lambda: verify(directory, deep=True), lambda: repair(directory)):
                with pytest.raises(CacheError, match=r"Too many open files.*run again"):
                    look()
    with monkeypatch.context() as patch:
        patch.setattr("fc7.cache.commit.read_regular", refuse)
        with pytest.raises(CacheError, match="Too many open files"):
            verify(directory)
    assert sorted(store.folder.rglob("*")) == there


def test_what_is_sound_again_by_the_time_of_repair_is_not_set_aside(store, directory, monkeypatch):
    path = store.path(next(iter(store.entries)))
    sound = path.read_bytes()
    flip(path)
    found = verify(directory, deep=True)
    assert len(found.damaged) == 1
    path.write_bytes(sound)
    monkeypatch.setattr(module, "verify", lambda *_, **__: found)
    assert repair(directory) == []
    assert len(Store(RECIPE, directory)) == 5


def test_a_description_that_is_there_again_by_the_time_of_repair_is_left(store, directory, monkeypatch):
    path = store.folder / "recipe.json"
    text = path.read_bytes()
    path.unlink()
    found = verify(directory)
    assert len(found.damaged) == 1
    path.write_bytes(text)
    monkeypatch.setattr(module, "verify", lambda *_, **__: found)
    assert repair(directory) == []
    assert path.read_bytes() == text


def test_repair_puts_back_what_was_set_aside_though_it_is_sound(store, directory, caplog):
    path = store.path(next(iter(store.entries)))
    (store.folder / "quarantine").mkdir()
    path.rename(store.folder / "quarantine" / path.name)
    assert repair(directory) == []
    assert "is sound. It is put back" in caplog.text
    assert len(Store(RECIPE, directory)) == 5


def test_an_index_that_is_a_folder_is_said_before_anything_is_changed(store, directory):
    flip(store.path(next(iter(store.entries))))
    (directory / "index.sqlite").unlink()
    (directory / "index.sqlite" / "mine").mkdir(parents=True)
    there = sorted(directory.rglob("*"))
    with pytest.raises(CacheError, match=r"index\.sqlite cannot be deleted.* Move it away, .*fc7 cache repair"):
        repair(directory)
    assert sorted(set(directory.rglob("*")) - {directory / "maintenance.lock"}) == there


def test_what_is_no_recipe_blocks_no_recipe(store, directory):
    (directory / "recipes" / "@eaDir" / "shards").mkdir(parents=True)
    (directory / "recipes" / ".DS_Store").write_bytes(b"")
    assert [one.rows for one in info(directory)] == [5]
    assert verify(directory, deep=True).damaged == []
    assert repair(directory) == []
    assert (directory / "recipes" / "@eaDir").exists()


def test_a_recipe_of_which_nothing_is_sound_is_repaired(store, directory):
    """Its shards are set aside, and nothing is left that could block another one."""
    lost = Store(replace(RECIPE, weights="0" * 64), directory)
    path = lost.append(Shard([key(1)], rows(1)))
    flip(path)
    (lost.folder / "recipe.json").write_bytes(b"nonsense")
    assert [one.rows for one in info(directory)] == [5]
    assert len(repair(directory)) == 2
    assert repair(directory) == []
    assert verify(directory, deep=True).damaged == []
    assert [one.rows for one in info(directory)] == [5]
    lost = Store(lost.recipe, directory)
    lost.append(Shard([key(1)], rows(1)))
    np.testing.assert_array_equal(Store(lost.recipe, directory).rows([key(1)]), rows(1))


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
