import errno
import logging
import os
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from shards import RECIPE, key, rows, shard
from waiting import LONG

from fc7.cache import Recipe, Store
from fc7.cache import store as module
from fc7.cache.maintenance import compact
from fc7.cache.shard import Shard
from fc7.errors import CacheError


def test_rows_come_back_in_the_order_asked_for(store):
    store.append(shard(1, 2, 3))
    store.append(shard(4, 5))
    np.testing.assert_array_equal(store.rows([key(5), key(1), key(4), key(1)]), rows(5, 1, 4, 1))
    assert store.rows([]).shape == (0, 4)


def test_missing_is_what_has_neither_row_nor_reason(store):
    store.append(shard(1, 2, rejected=[3]))
    assert store.missing([key(n) for n in (1, 2, 3, 4, 4)]) == [key(4)]
    assert key(1) in store
    assert key(3) not in store
    assert len(store) == 2
    assert store.rejected == {key(3): "no image"}


def test_a_new_process_sees_the_same(store, tmp_path):
    store.append(shard(1, 2, rejected=[3]))
    again = Store(RECIPE, tmp_path / "cache")
    assert again.missing([key(1), key(2), key(3)]) == []
    np.testing.assert_array_equal(again.rows([key(2)]), rows(2))


def test_without_the_index_everything_is_found_again(store, tmp_path):
    store.append(shard(1, 2, rejected=[3]))
    (tmp_path / "cache" / "index.sqlite").unlink()
    assert Store(RECIPE, tmp_path / "cache").missing([key(1), key(2), key(3)]) == []


def test_a_damaged_index_is_made_anew(store, tmp_path, caplog):
    store.append(shard(1))
    (tmp_path / "cache" / "index.sqlite").write_bytes(b"not a database at all, far from it" * 99)
    with caplog.at_level(logging.WARNING):
        assert Store(RECIPE, tmp_path / "cache").missing([key(1)]) == []
    assert "damaged" in caplog.text
    caplog.clear()
    assert Store(RECIPE, tmp_path / "cache").missing([key(1)]) == []
    assert caplog.text == ""


def test_another_recipe_shares_nothing(store, tmp_path):
    store.append(shard(1))
    other = Store(Recipe("fake", "tiles", 4, "0" * 64, dtype="float32"), tmp_path / "cache")
    assert other.missing([key(1)]) == [key(1)]


def test_rows_that_are_not_there_are_an_error_with_the_counts(store):
    store.append(shard(1))
    with pytest.raises(CacheError, match=r"1 of 2 images .* fc7 extract"):
        store.rows([key(1), key(2)])


@pytest.mark.parametrize("rows", [np.zeros((1, 3), np.float32), np.zeros((2, 4), np.float32), np.zeros((1, 4))])
def test_rows_of_another_shape_or_dtype_are_refused(store, rows):
    with pytest.raises(CacheError, match="recipe says"):
        store.append(Shard([key(1)], rows))


def test_a_flipped_bit_is_quarantined_and_its_rows_are_missing(store, tmp_path, caplog):
    path = store.append(shard(1, 2))
    store.append(shard(3))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        again = Store(RECIPE, tmp_path / "cache")
    assert again.missing([key(1), key(2), key(3)]) == sorted([key(1), key(2)])
    assert "damaged" in caplog.text
    assert [file.name for file in (path.parents[2] / "quarantine").iterdir()] == [path.name]
    again.append(shard(1, 2))
    np.testing.assert_array_equal(Store(RECIPE, tmp_path / "cache").rows([key(2)]), rows(2))


def test_a_deleted_shard_is_missing(store, tmp_path):
    store.append(shard(1)).unlink()
    assert Store(RECIPE, tmp_path / "cache").missing([key(1)]) == [key(1)]


def test_a_full_disk_is_one_clear_error_and_keeps_what_was_there(store, tmp_path, monkeypatch):
    store.append(shard(1))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(CacheError, match=r"No space left on device.*kept"):
        store.append(shard(2))
    monkeypatch.undo()
    assert Store(RECIPE, tmp_path / "cache").missing([key(1), key(2)]) == [key(2)]


def test_an_unknown_format_is_refused(tmp_path):
    (tmp_path / "FORMAT").write_text("fc7-cache 999\n")
    with pytest.raises(CacheError, match="fc7-cache 999"):
        Store(RECIPE, tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CacheError, match="not an fc7 cache"):
        Store(RECIPE, tmp_path)
    assert not (tmp_path / "FORMAT").exists()


WRITER = """
import hashlib, sys
import numpy as np
from fc7.cache import Recipe, Store
from fc7.cache import store as module
from fc7.cache.maintenance import compact
from fc7.cache.shard import Shard

store = Store(Recipe("fake", "tiles", 4, "f" * 64, dtype="float32"), sys.argv[1])
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 12):
    pair = [number, number + 1000]
    keys = [hashlib.sha256(str(one).encode()).digest() for one in pair]
    store.append(Shard(keys, np.array([[one, one + 0.5, 0, 1] for one in pair], np.float32)))
"""


def test_writers_at_once_need_no_lock(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "cache")]
    writers = [subprocess.Popen([*command, str(start)]) for start in (0, 0, 6)]
    assert [writer.wait(timeout=LONG) for writer in writers] == [0, 0, 0]
    store = Store(RECIPE, tmp_path / "cache")
    assert len(list(store.folder.glob("shards/??/*.h5"))) == 18
    assert len(store) == 36


def test_threads_that_read_get_the_rows_of_their_keys_while_shards_are_merged_and_added(store, tmp_path):
    for number in range(0, 60, 2):
        store.append(shard(number, number + 1))
    done, wrong = threading.Event(), []

    def read(seed):
        rng = np.random.default_rng(seed)
        while not done.is_set():
            numbers = rng.integers(0, 60, 7).tolist()
            if not np.array_equal(store.rows([key(number) for number in numbers]), rows(*numbers)):
                wrong.append(numbers)
            if rng.random() < 0.3:
                store.refresh()

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, seed) for seed in range(3)]
        try:
            for number in range(60, 80, 2):
                store.append(shard(number, number + 1))
                compact(tmp_path / "cache")
                assert store.missing([key(number), key(number + 1)]) == []
        finally:
            done.set()
        for reader in readers:
            reader.result()
    assert wrong == []
    np.testing.assert_array_equal(store.rows([key(n) for n in range(80)]), rows(*range(80)))


def test_a_reader_that_is_overtaken_by_a_refresh_still_gets_its_rows(store, tmp_path, monkeypatch):
    for number in range(6):
        store.append(shard(number))
    read = store._read

    def overtaken(*arguments):  # between finding the places and reading them, another thread lists anew
        monkeypatch.undo()
        compact(tmp_path / "cache")
        store.append(shard(10))
        store.refresh()
        return read(*arguments)

    monkeypatch.setattr(store, "_read", overtaken)
    np.testing.assert_array_equal(store.rows([key(5), key(0)]), rows(5, 0))


def test_a_look_during_which_rows_move_is_repeated(store, tmp_path, monkeypatch):
    """It passes the merged shard's place before that is there, and the small ones' places when they are gone."""
    for number in range(6):
        store.append(shard(number))
    names, looks = module.shard_names, []

    def torn(folder):
        looks.append(names(folder))
        if len(looks) == 2:
            compact(tmp_path / "cache")
            return []
        return looks[-1]

    monkeypatch.setattr(module, "shard_names", torn)
    compacted = Store(RECIPE, tmp_path / "cache")
    assert compacted.missing([key(number) for number in range(6)]) == []
    np.testing.assert_array_equal(compacted.rows([key(5), key(0)]), rows(5, 0))


def test_a_shard_that_is_merged_before_it_is_checked_is_looked_for_again(store, tmp_path, monkeypatch):
    for number in range(6):
        store.append(shard(number))
    store.index.forget_all()
    admit, once = Store._admit, threading.Lock()

    def too_late(self, name):
        if once.acquire(blocking=False):
            compact(tmp_path / "cache")
        return admit(self, name)

    monkeypatch.setattr(Store, "_admit", too_late)
    once.acquire()
    reader = Store(RECIPE, tmp_path / "cache")
    once.release()
    reader.index.forget_all()
    reader.refresh()
    assert reader.missing([key(number) for number in range(6)]) == []


def test_a_row_is_read_where_it_stays(store, tmp_path):
    """Small shards may be about to be removed, because their rows are in a large one."""
    for number in range(6):
        store.append(shard(number))
    whole = store.append(shard(*range(6)))
    reader = Store(RECIPE, tmp_path / "cache")
    for name in reader.entries.keys() - {whole.name}:
        reader.path(name).unlink()
    reader.refresh = None  # one look is enough
    np.testing.assert_array_equal(reader.rows([key(5), key(0)]), rows(5, 0))


def test_a_store_whose_folder_gc_has_removed_is_empty_and_can_be_filled(store, tmp_path):
    store.append(shard(1))
    shutil.rmtree(store.folder)
    store.refresh()
    assert len(store) == 0
    store.append(shard(2))
    np.testing.assert_array_equal(Store(RECIPE, tmp_path / "cache").rows([key(2)]), rows(2))


def test_a_reading_that_fails_says_so_and_what_to_do(store, monkeypatch):
    store.append(shard(1))

    def refuse(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "preadv", refuse)
    with pytest.raises(CacheError, match=r"cannot be read: Too many open files\. Run again"):
        store.rows([key(1)])


@pytest.mark.parametrize("name", ["@eaDir", "ab", f"{'0' * 64}.h5"])
def test_what_others_put_among_the_shards_is_not_looked_at(store, tmp_path, name):
    path = store.append(shard(1))
    (path.parent / name).mkdir()
    (path.parent / f"._{path.name}").write_bytes(b"of a Mac")
    (path.parents[1] / ".DS_Store").write_bytes(b"")
    (path.parents[1] / "00").write_bytes(b"")
    assert list(Store(RECIPE, tmp_path / "cache").entries) == [path.name]
    assert (path.parent / f"._{path.name}").exists()


def test_shards_that_are_appended_while_another_thread_lists_are_not_lost(store):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: (store.append(shard(number)), store.refresh()), range(40)))
        assert list(pool.map(lambda number: key(number) in store, range(40))) == [True] * 40


def test_a_store_can_be_sent_to_another_process(store):
    store.append(shard(1))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).rows([key(1)]), rows(1))


def test_seconds_are_shared_out_over_rows(store):
    store.append(Shard([key(1), key(2)], rows(1, 2), {}, {"seconds": "3.0"}))
    assert store.seconds([key(1), key(1)]) == pytest.approx(1.5)
