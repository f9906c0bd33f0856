import contextlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from shards import RECIPE, key, rows, shard

from fc7.cache import Embeddings, Store
from fc7.cache import maintenance as module
from fc7.cache.keys import Keys
from fc7.cache.maintenance import compact, gc, import_rows
from fc7.cache.processes import ABANDONED, Process
from fc7.cache.shard import Shard, decode
from fc7.cache.verify import info, repair, verify
from fc7.errors import CacheError, DataError


@pytest.fixture(scope="module")
def ended():
    """A process that was, on this machine."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return Process.mine()._replace(pid=process.pid)


def temporary(store, process, name="ab"):
    path = store.folder / "tmp" / f"{name}.{process.token}.0123abcd"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"half a shard")
    return path


def age(path):
    then = path.stat().st_mtime - ABANDONED - 60
    os.utime(path, (then, then))


def test_gc_removes_what_dead_processes_left_and_nothing_of_the_living(store, directory, ended):
    store.append(Shard([key(1)], rows(1)))
    dead, alive = temporary(store, ended, "dead"), temporary(store, Process.mine(), "alive")
    far = temporary(store, Process("elsewhere", "boot", 1), "far")
    (directory / "claims").mkdir()
    (directory / "claims" / "dead").symlink_to(ended.token)
    (directory / "claims" / "alive").symlink_to(Process.mine().token)
    described = directory / f".FORMAT.{ended.token}.0123abcd"
    described.write_bytes(b"")
    expected = {path.relative_to(directory).as_posix() for path in (dead, described, directory / "claims" / "dead")}
    assert {one.file for one in gc(directory, dry_run=True)} == expected
    assert dead.exists()
    assert {one.file for one in gc(directory)} == expected
    assert not dead.exists()
    assert alive.exists()
    assert far.exists()
    age(far)
    assert [one.file for one in gc(directory)] == [far.relative_to(directory).as_posix()]
    assert Store(RECIPE, directory).missing([key(1)]) == []


def test_gc_removes_quarantined_shards_and_rows_kept_twice(store, directory):
    store.append(Shard([key(1)], rows(1)))
    store.append(Shard([key(2), key(3)], rows(2, 3)))
    whole = store.append(Shard([key(1), key(2), key(3)], rows(1, 2, 3)))
    (store.folder / "quarantine").mkdir()
    (store.folder / "quarantine" / "x.h5").write_bytes(b"damaged")
    found = gc(directory)
    assert len(found) == 3
    assert sum("rows are all in others" in one.reason for one in found) == 2
    assert list(store.folder.glob("shards/*/*.h5")) == [whole]
    np.testing.assert_array_equal(Store(RECIPE, directory).rows([key(3), key(1)]), rows(3, 1))


def test_of_two_shards_that_hold_the_same_rows_one_stays(store, directory):
    store.append(Shard([key(1), key(2)], rows(1, 2)))
    store.append(Shard([key(2), key(3)], rows(2, 3)))
    store.append(Shard([key(3), key(1)], rows(3, 1)))
    assert len(gc(directory)) == 1
    assert Store(RECIPE, directory).missing([key(1), key(2), key(3)]) == []


def test_gc_forgets_files_that_are_gone(store, directory, tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1, 1))
    store.index.sha256([tmp_path / "a", tmp_path / "b"])
    (tmp_path / "a").unlink()
    gc(directory)
    assert store.index.forget_files(lambda path: True) == 1


def test_gc_removes_an_old_recipe_without_rows(store, directory):
    assert gc(directory) == []
    age(store.folder)
    assert [one.file for one in gc(directory)] == [f"recipes/{RECIPE.id}"]
    assert not store.folder.exists()
    store.append(Shard([key(1)], rows(1)))  # a writer that had it open goes on
    assert Store(RECIPE, directory).missing([key(1)]) == []
    assert verify(directory).damaged == []


@pytest.mark.parametrize("moment", ["rmdir", "unlink"])
@pytest.mark.parametrize("call", range(4))
def test_rows_that_are_committed_while_gc_removes_their_folder_stay(store, directory, monkeypatch, moment, call):
    """The folder is empty and old when gc looks, and not any more at each call with which it removes something."""
    age(store.folder)
    calls, real = [], getattr(type(directory), moment)

    def too_late(path, **options):
        calls.append(path)
        if len(calls) == call + 1:
            store.append(shard(1))
        return real(path, **options)

    monkeypatch.setattr(type(directory), moment, too_late)
    gc(directory)
    monkeypatch.undo()
    if len(calls) > call:
        np.testing.assert_array_equal(store.rows([key(1)]), rows(1))
        np.testing.assert_array_equal(Store(RECIPE, directory).rows([key(1)]), rows(1))
        assert verify(directory, deep=True).damaged == []


def test_rows_that_are_committed_after_gc_has_looked_stay(store, directory, monkeypatch):
    age(store.folder)
    monkeypatch.setattr(module, "_size", lambda path: store.append(shard(1)) and 0)
    assert gc(directory) == []
    np.testing.assert_array_equal(Store(RECIPE, directory).rows([key(1)]), rows(1))


def test_a_claim_that_is_taken_over_meanwhile_stays(store, directory, monkeypatch, ended):
    claim = directory / "claims" / "unit"
    claim.parent.mkdir()
    claim.symlink_to(ended.token)

    def taken_over(path):
        claim.unlink()
        claim.symlink_to(Process.mine().token)
        return 0

    monkeypatch.setattr(module, "_size", taken_over)
    assert gc(directory) == []
    assert str(claim.readlink()) == Process.mine().token


def test_a_claim_that_is_given_up_meanwhile_is_gone(store, directory, monkeypatch, ended):
    claim = directory / "claims" / "unit"
    claim.parent.mkdir()
    claim.symlink_to(ended.token)
    monkeypatch.setattr(module, "_size", lambda path: claim.unlink() or 0)
    assert gc(directory) == []


def test_a_rejection_whose_shard_has_become_a_rows_meanwhile_stays(store, directory, monkeypatch):
    """Both have the same name; only the rejection is in another shard, too."""
    refuse(store, 1)
    refuse(store, 1, 2)
    small = store.path(min(store.entries, key=lambda name: len(store.entries[name].rejected)))
    take = module._take

    def too_late(path, directory):
        monkeypatch.undo()
        small.unlink()
        Store(RECIPE, directory).append(shard(1))
        return take(path, directory)

    monkeypatch.setattr(module, "_take", too_late)
    assert gc(directory) == []
    np.testing.assert_array_equal(Store(RECIPE, directory).rows([key(1)]), rows(1))


@pytest.mark.parametrize("tidy", [gc, compact])
def test_of_two_copies_the_good_one_stays(store, directory, monkeypatch, tidy):
    """The one that was to stay is found damaged when the other one is taken away."""
    for number in range(3):
        store.append(shard(number))
    take, flipped = module._take, []

    def too_late(path, root):
        for other in store.folder.glob("shards/*/*.h5"):
            if other != path and other.stat().st_size > path.stat().st_size and not flipped:
                flipped.append(other)
                data = bytearray(other.read_bytes())
                data[-1] ^= 1
                other.write_bytes(data)
        return take(path, root)

    if tidy is gc:
        store.append(shard(0, 1, 2))
    monkeypatch.setattr(module, "_take", too_late)
    tidy(directory)
    monkeypatch.undo()
    assert len(flipped) == 1
    np.testing.assert_array_equal(Store(RECIPE, directory).rows([key(0), key(1), key(2)]), rows(0, 1, 2))


@pytest.mark.parametrize("tidy", [gc, compact, repair])
def test_what_a_killed_maintenance_had_taken_away_is_put_back(store, directory, ended, tidy):
    store.append(shard(1))
    taken = directory / "removing"
    (taken / "recipes").mkdir(parents=True)
    store.folder.rename(taken / "recipes" / RECIPE.id)
    (taken / "claims").mkdir()
    (taken / "claims" / "unit").symlink_to(Process.mine().token)
    store = Store(RECIPE, directory)
    store.append(shard(2))  # and its folder was made anew meanwhile
    tidy(directory)
    np.testing.assert_array_equal(Store(RECIPE, directory).rows([key(1), key(2)]), rows(1, 2))
    assert str((directory / "claims" / "unit").readlink()) == Process.mine().token
    assert not taken.exists()


def test_what_cannot_be_read_now_is_put_back_before_the_verb_ends(store, directory, monkeypatch):
    store.append(shard(1))
    store.append(shard(1, 2))

    def refuse(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(module, "check_file", refuse)
    with pytest.raises(CacheError, match=r"Too many open files\. .*un again"):
        gc(directory)
    assert len(list(store.folder.glob("shards/*/*.h5"))) == 2
    assert not (directory / "removing").exists()


def test_a_folder_that_cannot_be_listed_is_not_one_without_rows(store, directory, monkeypatch):
    store.append(shard(1))
    age(store.folder)
    real = os.scandir

    def refuse(path):
        if "shards" in os.fspath(path):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for tidy in (gc, compact, repair):
        with pytest.raises(CacheError, match=r"Permission denied.*shards"):
            tidy(directory)
    monkeypatch.undo()
    assert key(1) in Store(RECIPE, directory)


def test_what_is_not_of_fc7_is_said_and_left(store, directory, ended, caplog):
    """What could be a file of fc7's is judged by its name."""
    store.append(shard(1))
    mine = ["claims/notes", "recipes/@eaDir/x", f"recipes/{RECIPE.id}/quarantine/notes.txt"]
    mine += [f"recipes/{RECIPE.id}/tmp/{name}" for name in ("notes", ".DS_Store", "a.b.c/x")]
    for name in mine:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(b"")
        age(directory / name)
    (directory / "claims" / "dead").symlink_to(f"{Process.mine()._replace(pid=10**30).token}")
    (directory / "claims" / "odd").symlink_to("nobody knows")
    assert [one.file for one in gc(directory)] == ["claims/dead"]
    assert all((directory / name).exists() for name in mine)
    for name in ("claims/notes", "recipes/@eaDir", "tmp/notes", "tmp/a.b.c", "quarantine/notes.txt"):
        assert f"{name} is not fc7's and is left. If nothing needs it: rm -r /" in caplog.text


@pytest.mark.parametrize("name", ["quarantine/x.h5", "tmp/my.old.notes", ".recipe.json.1-1-1.0123abcd"])
def test_what_lies_in_a_folder_that_is_no_recipe_is_left(store, directory, caplog, name):
    path = directory / "recipes" / "notes" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    age(path)
    assert gc(directory) == []
    assert path.read_bytes() == b"mine"
    assert f"{directory / 'recipes' / 'notes'} is not fc7's and is left" in caplog.text


def test_a_recipe_with_a_lost_description_blocks_no_other(store, directory, caplog):
    other = Store(replace(RECIPE, weights="0" * 64), directory)
    for number in range(3):
        store.append(shard(number))
        other.append(shard(number))
    (other.folder / "recipe.json").write_bytes(b"nonsense")
    assert [(done.before, done.after) for done in compact(directory)] == [(3, 1)]
    assert gc(directory) == []
    assert "recipe.json is damaged" in caplog.text
    assert "fc7 cache repair" in caplog.text
    assert len(list(other.folder.glob("shards/*/*.h5"))) == 3


def test_a_folder_that_repair_has_left_without_a_sound_file_goes_in_time(store, directory):
    path = store.append(shard(1))
    path.write_bytes(b"damaged")
    (store.folder / "recipe.json").write_bytes(b"nonsense")
    repair(directory)
    assert len(gc(directory)) == 1, "the damaged shard"
    age(store.folder)
    assert [one.file for one in gc(directory)] == [f"recipes/{RECIPE.id}"]
    assert not store.folder.exists()


def test_gc_removes_one_recipe_on_request(store, directory):
    store.append(Shard([key(1)], rows(1)))
    other = Store(replace(RECIPE, weights="0" * 64), directory)
    other.append(Shard([key(1)], rows(9)))
    for beginning in ("", "no such"):
        with pytest.raises(CacheError, match="fc7 cache info"):
            gc(directory, recipe=beginning)
    (one,) = gc(directory, recipe=RECIPE.id[:10])
    assert one.bytes > 0
    assert Store(RECIPE, directory).missing([key(1)]) == [key(1)]
    np.testing.assert_array_equal(Store(other.recipe, directory).rows([key(1)]), rows(9))


def test_compact_merges_small_shards_and_keeps_every_bit(store, directory, monkeypatch):
    monkeypatch.setattr(module, "UNIT_ROWS", 4)
    for number in range(6):
        facts = {"seconds": "2.0", "device": "cpu" if number % 2 else "cuda"}
        store.append(Shard([key(number)], rows(number), {}, facts))
    full = store.append(Shard([key(n) for n in (10, 11, 12, 13)], rows(10, 11, 12, 13)))
    store.append(Shard([key(10), key(20)], rows(10, 20), {key(21): "no image"}))
    reader = Store(RECIPE, directory)
    (done,) = compact(directory)
    assert (done.before, done.after) == (8, 3)
    assert full.exists()
    again = Store(RECIPE, directory)
    numbers = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 20]
    np.testing.assert_array_equal(again.rows([key(n) for n in numbers]), rows(*numbers))
    assert again.rejected == {key(21): "no image"}
    assert again.seconds([key(n) for n in (*range(6), 20)]) == pytest.approx(12, abs=0.01)
    made = decode(next(path for path in again.folder.glob("shards/*/*.h5") if path != full).read_bytes())
    assert made.provenance["device"] in ("cuda | cpu", "cpu | cuda")
    assert verify(directory, deep=True).damaged == []
    np.testing.assert_array_equal(reader.rows([key(5), key(20)]), rows(5, 20))  # its shards moved while it was open
    assert compact(directory)[0] == (RECIPE, 3, 3)
    assert gc(directory) == []


def embeddings(numbers, vectors=None):
    count = len(numbers)
    return Embeddings(
        labels=np.array(["a", "b"] * count)[:count],
        paths=np.array([f"{number}.jpg" for number in range(count)]),
        split=np.full(count, ""),
        group=np.full(count, ""),
        sha256=np.array([np.frombuffer(key(number), np.uint8) for number in numbers]),
        classes=("a", "b"),
        vectors=rows(*numbers) if vectors is None else vectors,
        recipe=RECIPE,
        seconds=6.0,
    )


def test_imported_rows_are_those_of_the_file_and_only_the_missing_ones(store, directory):
    store.append(Shard([key(1)], rows(1)))
    assert import_rows(embeddings([1, 2, 3, 2]), directory) == 2
    again = Store(RECIPE, directory)
    np.testing.assert_array_equal(again.rows([key(3), key(2), key(1)]), rows(3, 2, 1))
    assert again.seconds([key(2), key(3)]) == pytest.approx(4)
    assert import_rows(embeddings([1, 2, 3]), directory) == 0


def test_one_image_with_two_different_rows_is_refused(directory):
    with pytest.raises(DataError, match=r"1\.jpg and 0\.jpg"):
        import_rows(embeddings([1, 1], rows(1, 2)), directory)


# Rejections that rows answer


def looked_at_again(directory, *numbers, rejected=()):
    """Commit rows of images that are recorded as rejected."""
    store = Store(RECIPE, directory)
    assert store.reopen(Keys.of(map(key, [*numbers, *rejected]))) == len(numbers) + len(rejected)
    assert list(store.missing(map(key, numbers))) == sorted(map(key, numbers))
    store.append(Shard([key(n) for n in numbers], rows(*numbers), {key(n): "still none" for n in rejected}))
    return store


def refuse(store, *numbers, beside=()):
    store.append(shard(*beside, rejected=numbers))


def test_a_row_answers_a_rejection_in_every_store(store, directory):
    refuse(store, 1)
    refuse(store, 2, 3, beside=(4,))
    again = looked_at_again(directory, 1, 2, rejected=(3,))
    for one in (again, Store(RECIPE, directory)):
        assert one.rejected.keys() == {key(3)}
        assert one.rows([key(1), key(2)]).tolist() == rows(1, 2).tolist()
        assert not one.missing(map(key, (1, 2, 3, 4)))
        assert len(one) == 3
    assert verify(directory, deep=True).damaged == []
    assert len(again.entries) == 3, "a rejection that stands is not written again"


@pytest.mark.parametrize("order", [("gc", "compact", "gc"), ("compact", "gc", "compact")])
def test_maintenance_never_takes_a_rejection_for_its_row(store, directory, order):
    refuse(store, 1)
    refuse(store, 2, 3, beside=(4,))
    looked_at_again(directory, 1)
    looked_at_again(directory, 2)
    for name in order:
        {"gc": gc, "compact": compact}[name](directory)
        one = Store(RECIPE, directory)
        assert one.rows([key(1), key(2), key(4)]).tolist() == rows(1, 2, 4).tolist()
        assert one.rejected.keys() == {key(3)}


def test_compact_keeps_a_row_whose_merged_shard_would_have_the_name_of_its_rejection(store, directory):
    refuse(store, 1)
    looked_at_again(directory, 1)
    for _ in range(3):
        compact(directory)
        assert Store(RECIPE, directory).rows([key(1)]).tolist() == rows(1).tolist()
    assert len(Store(RECIPE, directory).entries) == 1
    assert gc(directory) == []


def test_compact_keeps_a_row_whose_rejection_is_in_a_full_shard(store, directory, monkeypatch):
    monkeypatch.setattr(module, "UNIT_ROWS", 3)
    refuse(store, 1, beside=(2, 3))
    looked_at_again(directory, 1)
    store.append(Shard([key(4)], rows(4)))
    compact(directory)
    assert Store(RECIPE, directory).rows([key(1), key(4)]).tolist() == rows(1, 4).tolist()


def test_a_store_that_was_open_keeps_its_rejections_until_it_looks_again(store, directory):
    refuse(store, 1)
    looked_at_again(directory, 1)
    assert key(1) in store.rejected
    store.refresh()
    assert not store.rejected


@pytest.mark.parametrize("tidy", [gc, compact, repair])
def test_what_others_put_where_files_are_taken_to_is_left(store, directory, caplog, tidy):
    store.append(shard(1))
    foreign = directory / "removing" / "FORMAT"
    foreign.parent.mkdir()
    foreign.write_text("precious")
    tidy(directory)
    assert foreign.read_text() == "precious"
    assert "FORMAT is not fc7's and is left" in caplog.text
    assert len(Store(RECIPE, directory)) == 1


@pytest.mark.parametrize("tidy", [gc, compact, repair])
def test_a_link_in_place_of_the_folder_that_files_are_taken_to_is_not_followed(store, directory, tmp_path, tidy):
    foreign = tmp_path / "foreign" / "FORMAT"
    foreign.parent.mkdir()
    foreign.write_text("precious")
    (directory / "removing").symlink_to(foreign.parent)
    with pytest.raises(CacheError, match="Not a directory"):
        tidy(directory)
    assert foreign.read_text() == "precious"


@pytest.mark.parametrize("where", ["FORMAT", "REPLICA", "recipe.json", "quarantine", "shard"])
def test_a_fifo_in_place_of_a_file_of_the_cache_is_not_waited_for(store, directory, where):
    path = store.append(shard(1))
    quarantine = store.folder / "quarantine" / path.name
    quarantine.parent.mkdir()
    fifo = {
        "FORMAT": directory / "FORMAT",
        "REPLICA": directory / "REPLICA",
        "recipe.json": store.folder / "recipe.json",
        "quarantine": quarantine,
        "shard": path,
    }[where]
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    for verb in (info, verify, repair, gc, compact, lambda cache: Store(RECIPE, cache).append(shard(1))):
        with contextlib.suppress(CacheError):
            verb(directory)
    if where in ("quarantine", "FORMAT", "REPLICA", "shard"):
        assert fifo.is_fifo()
