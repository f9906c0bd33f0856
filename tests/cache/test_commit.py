"""Commits: into a cache that is there, and beside others who tidy; what is set aside is what was found damaged."""

import errno
import os
import shutil

import numpy as np
import pytest
from shards import RECIPE, key, rows, shard

from fc7.cache import Store, commit
from fc7.cache.commit import admit, deliver
from fc7.cache.shard import check_file, encode
from fc7.errors import CacheError


def flip(path):
    """Flip a bit of a shard."""
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def append(store, directory):
    store.append(shard(2))


def deliver_to(store, directory):
    deliver(encode(shard(2), RECIPE), RECIPE, directory)


def move(directory):
    directory.rename(directory.with_name("moved"))


def replace_by_another(directory):
    move(directory)
    Store(RECIPE, directory)


@pytest.mark.parametrize("vanish", [move, shutil.rmtree, replace_by_another])
def test_rows_are_not_acknowledged_once_the_cache_is_gone(store, directory, vanish):
    store.append(shard(1))
    vanish(directory)
    there = sorted(directory.rglob("*"))
    with pytest.raises(CacheError, match=r"is gone.* moved, deleted or replaced .* with cache, then"):
        store.append(shard(2))
    with pytest.raises(CacheError, match="is gone"):
        store.refresh()
    assert sorted(directory.rglob("*")) == there
    assert directory.exists() == bool(there), "the next run finds no folder that is not a cache"


@pytest.mark.parametrize("write", [append, deliver_to])
@pytest.mark.parametrize("vanish", [move, shutil.rmtree, replace_by_another])
def test_a_commit_during_which_the_cache_goes_is_not_acknowledged(store, directory, monkeypatch, write, vanish):
    store.append(shard(1))
    publish = commit.publish

    def too_late(*arguments):
        monkeypatch.undo()
        vanish(directory)
        return publish(*arguments)

    monkeypatch.setattr(commit, "publish", too_late)
    with pytest.raises(CacheError, match="is gone"):
        write(store, directory)
    assert not directory.exists() or (directory / "FORMAT").exists()


def test_a_cache_that_was_moved_there_and_back_is_the_same(store, directory):
    move(directory)
    directory.with_name("moved").rename(directory)
    store.append(shard(1))
    assert key(1) in Store(RECIPE, directory)


@pytest.mark.parametrize("removed", ["tmp", "shards", "."])
def test_a_commit_into_a_folder_that_gc_removes_is_made_again(store, directory, monkeypatch, removed):
    link = os.link

    def too_late(source, target):
        monkeypatch.undo()
        shutil.rmtree(store.folder / removed)
        return link(source, target)

    monkeypatch.setattr(os, "link", too_late)
    store.append(shard(1))
    again = Store(RECIPE, directory)
    np.testing.assert_array_equal(again.rows([key(1)]), rows(1))
    assert (store.folder / "recipe.json").exists()


def test_a_damaged_shard_that_is_sound_again_stays(store, monkeypatch):
    """Between finding it damaged and setting it aside, others set it aside and compute it again."""
    path = store.append(shard(1))
    sound = path.read_bytes()
    flip(path)

    def look(*arguments, **options):
        try:
            return check_file(*arguments, **options)
        finally:
            monkeypatch.undo()
            path.unlink()
            path.write_bytes(sound)

    monkeypatch.setattr(commit.shards, "check_file", look)
    assert [*admit(path).keys] == [key(1)]
    assert not (store.folder / "quarantine").exists()


def test_a_shard_that_was_computed_again_while_it_was_moved_is_put_back(store, monkeypatch):
    path = store.append(shard(1))
    sound = path.read_bytes()
    flip(path)
    replace = type(path).replace

    def too_late(moved, target):
        monkeypatch.undo()
        path.unlink()
        path.write_bytes(sound)
        return replace(moved, target)

    monkeypatch.setattr(type(path), "replace", too_late)
    assert [*admit(path).keys] == [key(1)]
    assert path.read_bytes() == sound
    assert list((store.folder / "quarantine").iterdir()) == []


@pytest.mark.parametrize("call", ["open", "stat"])
@pytest.mark.parametrize("code", [errno.EMFILE, errno.EACCES, errno.EIO, errno.ENOMEM])
def test_what_cannot_be_read_now_is_not_damaged(store, directory, monkeypatch, code, call):
    path = store.append(shard(1))
    store.index.forget_all()

    real = getattr(os, call)

    def refuse(name, *arguments, **options):
        if os.fspath(name) == str(path):
            raise OSError(code, os.strerror(code))
        return real(name, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        for look in (lambda: admit(path), store.refresh, lambda: Store(RECIPE, directory)):
            with pytest.raises(CacheError, match=rf"{path.name} cannot be read: {os.strerror(code)}\. .*un again"):
                look()
    assert path.exists()
    assert not (store.folder / "quarantine").exists()
    np.testing.assert_array_equal(Store(RECIPE, directory).rows([key(1)]), rows(1))


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_damaged_shard_that_cannot_be_set_aside_blocks_no_other(store, directory, monkeypatch, caplog, code):
    store.append(shard(1))
    path = store.append(shard(2))
    flip(path)

    def refuse(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(commit, "make_folder", refuse)
    for _ in range(2):
        caplog.clear()
        reader = Store(RECIPE, directory)
        assert f"{path.name} is damaged and cannot be set aside ({os.strerror(code)})" in caplog.text
        np.testing.assert_array_equal(reader.rows([key(1)]), rows(1))
        assert list(reader.missing([key(1), key(2)])) == [key(2)]
    assert not reader.committed([key(2)]), "whoever waits for it would wait for ever"
    with pytest.raises(CacheError, match=f"refused 1 row: {os.strerror(code)}"):
        reader.append(shard(2))
    assert path.exists()
