"""Caches in an object store: the same promises as a folder's, kept by what the store has, whatever the replica has."""

import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from fakes import one_line
from stores import BUCKET, KEY, SECRET
from waiting import LONG

from fc7.cache import Recipe, Store
from fc7.cache.commit import deliver
from fc7.cache.directory import open_directory
from fc7.cache.shard import Shard, encode
from fc7.errors import CacheError, DataError, FC7Error

URL = f"s3://{BUCKET}/cache"
RECIPE = Recipe("fake", "fc7", 8, "0" * 64)


def keys_of(*numbers):
    return [number.to_bytes(32, "big") for number in numbers]


def shard_of(*numbers):
    return Shard(keys_of(*numbers), np.outer(numbers, np.ones(8)).astype(np.float16))


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Call it and be on another machine: one without a replica."""
    count = iter(range(100))
    return lambda: monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"machine{next(count)}"))


def objects(s3):
    s3.store.invalidate_cache()
    return {name.removeprefix(f"{BUCKET}/cache/"): s3.store.cat_file(name) for name in s3.store.find(f"{BUCKET}/cache")}


def the_shard(s3):
    (name,) = (name for name in objects(s3) if name.endswith(".h5"))
    return f"{BUCKET}/cache/{name}"


def flip(s3, name, place=-1):
    data = bytearray(s3.store.cat_file(name))
    data[place] ^= 1
    s3.store.pipe_file(name, bytes(data))


def test_another_machine_reads_the_same_bits(s3, elsewhere):
    Store(RECIPE, URL).append(Shard(keys_of(1, 2), shard_of(1, 2).embeddings, {keys_of(3)[0]: "no image"}))
    elsewhere()
    store = Store(RECIPE, URL)
    assert store.rows(keys_of(2, 1)).tobytes() == shard_of(2, 1).embeddings.tobytes()
    assert store.missing(keys_of(1, 2, 3, 4)) == keys_of(4)


def test_a_rejection_that_a_row_answers_is_answered_on_every_machine(s3, elsewhere):
    nothing = shard_of(1).embeddings[:0]
    Store(RECIPE, URL).append(Shard([], nothing, {keys_of(1)[0]: "damaged: MemoryError"}))
    elsewhere()
    store = Store(RECIPE, URL)
    assert store.reopen(keys_of(1)) == 1
    store.append(shard_of(1))
    for here in range(2):
        store = Store(RECIPE, URL)
        assert store.rows(keys_of(1)).tobytes() == shard_of(1).embeddings.tobytes()
        assert not store.rejected
        if not here:
            elsewhere()


def test_what_lies_in_the_store_is_a_cache_directory(s3, tmp_path):
    Store(RECIPE, URL).append(shard_of(1, 2))
    Store(RECIPE, tmp_path / "here").append(shard_of(1, 2))
    here = tmp_path / "here"
    files = {path.relative_to(here).as_posix(): path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert objects(s3) == {name: data for name, data in files.items() if name != "index.sqlite"}


def test_a_second_look_reads_nothing(s3):
    Store(RECIPE, URL).append(shard_of(1, 2))
    s3.forget()
    assert len(Store(RECIPE, URL)) == 2
    assert s3.objects() == [f"/{BUCKET}/cache/FORMAT"]
    assert s3.objects("PUT") == []


def test_what_a_new_shard_asks_of_the_store(s3):
    store = Store(RECIPE, URL)
    store.append(shard_of(1, 2))
    s3.forget()
    assert not store.committed(keys_of(3, 4))
    path = store.append(shard_of(3, 4))
    place = f"/{BUCKET}/cache/{path.relative_to(store.directory).as_posix()}"
    asked = [(method, name) for method, name, _ in s3.asked]
    assert asked[:3] == [("HEAD", place), ("GET", f"/{BUCKET}"), ("PUT", place)]
    assert asked[3:] in ([("HEAD", place), ("GET", place)], [("GET", place)]), "newer s3fs asks for the size first"


def test_the_second_writer_finds_the_first_ones_shard(s3, elsewhere):
    Store(RECIPE, URL).append(shard_of(1, 2))
    first = objects(s3)
    elsewhere()
    store = Store(RECIPE, URL)
    others = Shard(keys_of(1, 2), shard_of(3, 4).embeddings)  # as another device would round
    path = store.append(others)
    assert objects(s3) == first
    assert path.read_bytes() == s3.store.cat_file(the_shard(s3))
    assert store.rows(keys_of(1)).tobytes() == shard_of(1).embeddings.tobytes()


def test_a_replica_that_is_deleted_while_it_is_used_ends_the_run_and_is_fetched_anew(s3):
    store = Store(RECIPE, URL)
    store.append(shard_of(1))
    shutil.rmtree(store.directory)
    for use in (lambda: store.append(shard_of(2)), store.refresh, lambda: store.replica.fetch_all(again=True)):
        with pytest.raises(CacheError, match="is gone"):
            use()
    with pytest.raises(CacheError, match="is gone"):
        deliver(encode(shard_of(2), RECIPE), RECIPE, store.directory)
    assert not store.directory.exists()
    again = Store(RECIPE, URL)
    assert again.rows(keys_of(1)).tobytes() == shard_of(1).embeddings.tobytes()
    again.append(shard_of(2))
    assert Store(RECIPE, URL).rows(keys_of(2)).tobytes() == shard_of(2).embeddings.tobytes()


def test_a_store_that_looks_sees_what_others_committed(s3, elsewhere):
    ours = Store(RECIPE, URL)
    elsewhere()
    Store(RECIPE, URL).append(shard_of(1, 2))
    assert ours.committed(keys_of(2, 1))
    assert not ours.committed(keys_of(1))
    assert len(ours) == 0
    ours.refresh()
    assert ours.rows(keys_of(2)).tobytes() == shard_of(2).embeddings.tobytes()


@pytest.mark.parametrize("place", [3, 600, -1])
def test_a_damaged_object_is_missing_and_written_anew(s3, elsewhere, place, caplog):
    Store(RECIPE, URL).append(shard_of(1, 2))
    sound = objects(s3)
    flip(s3, the_shard(s3), place)
    elsewhere()
    store = Store(RECIPE, URL)
    assert "is damaged" in caplog.text
    assert store.missing(keys_of(1, 2)) == keys_of(1, 2)
    assert not store.committed(keys_of(1, 2))
    store.append(shard_of(1, 2))
    assert objects(s3) == sound
    assert store.committed(keys_of(1, 2))
    assert len(Store(RECIPE, URL)) == 2


def test_an_object_that_was_cut_short_is_missing(s3, elsewhere):
    Store(RECIPE, URL).append(shard_of(1, 2))
    name = the_shard(s3)
    for data in (b"", s3.store.cat_file(name)[:-1]):
        s3.store.pipe_file(name, data)
        elsewhere()
        assert len(Store(RECIPE, URL)) == 0


def test_a_sound_shard_under_anothers_name_is_missing(s3, elsewhere):
    Store(RECIPE, URL).append(shard_of(1, 2))
    name, (other,) = the_shard(s3), [encode(shard_of(7, 8), RECIPE)]
    s3.store.pipe_file(name, other)
    elsewhere()
    store = Store(RECIPE, URL)
    assert len(store) == 0
    with pytest.raises(CacheError, match="is not what is read from it"):
        store.append(shard_of(1, 2))


def test_a_damaged_replica_is_fetched_again(s3, caplog):
    store = Store(RECIPE, URL)
    path = store.append(shard_of(1, 2))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert store.rows(keys_of(1)).tobytes() == shard_of(1).embeddings.tobytes()
    assert "Set aside" in caplog.text
    path.unlink()
    assert store.rows(keys_of(2)).tobytes() == shard_of(2).embeddings.tobytes()


@pytest.mark.parametrize("content", [b"\xff\x00", f"{URL[:-1]}d".encode()], ids=["no URL", "another URL"])
def test_a_replica_that_does_not_say_of_what_is_refused(s3, content):
    store = Store(RECIPE, URL)
    (store.directory / "REPLICA").write_bytes(content)
    for name in (store.directory, URL):
        with pytest.raises(CacheError, match=r"REPLICA is damaged\. Delete"):
            Store(RECIPE, name)


def test_what_the_store_does_not_list_is_not_seen(s3):
    store = Store(RECIPE, URL)
    store.append(shard_of(1, 2))
    store.append(shard_of(3, 4))
    s3.store.rm_file(f"{BUCKET}/cache/{store.path(next(iter(store.entries))).relative_to(store.directory).as_posix()}")
    again = Store(RECIPE, URL)
    assert again.missing(keys_of(1, 2, 3, 4)) == keys_of(1, 2)
    again.append(shard_of(1, 2))
    assert len(objects(s3)) == 4
    assert len(Store(RECIPE, URL)) == 4


def test_names_that_are_no_shards_are_left_alone(s3, elsewhere, tmp_path):
    Store(RECIPE, URL).append(shard_of(1, 2))
    folder = the_shard(s3).rpartition("/")[0]
    for name in ("..h5", "x.h5", "..%2F..%2Fevil.h5", f"{'a' * 64}.h5", f"{'A' * 64}.h5", "notes.txt"):
        s3.store.pipe_file(f"{folder}/{name}", b"evil")
    s3.store.pipe_file(f"{BUCKET}/cache/recipes/evil/recipe.json", b"{}")
    elsewhere()
    assert len(Store(RECIPE, URL)) == 2
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"evil"] == []


@pytest.mark.parametrize("status", ["403 FORBIDDEN", "400 BAD REQUEST"])
def test_a_refusal_is_one_line_and_loses_nothing(s3, status):
    store = Store(RECIPE, URL)
    store.append(shard_of(1, 2))
    s3.answer = lambda method, path: status if method == "PUT" else None
    with pytest.raises(CacheError, match=URL):
        store.append(shard_of(3, 4))
    s3.answer = lambda method, path: None
    for one in (store, Store(RECIPE, URL)):
        assert one.missing(keys_of(1, 2, 3, 4)) == keys_of(3, 4)


def test_two_that_put_at_the_same_moment_try_again(s3):
    store, met = Store(RECIPE, URL), []

    def conflict(method, path):
        if method == "PUT" and path not in met:
            met.append(path)
            return "409 CONFLICT"
        return None

    s3.answer = conflict
    store.append(shard_of(1, 2))
    assert len(met) == 2, "the recipe and the shard"
    assert Store(RECIPE, URL).rows(keys_of(2)).tobytes() == shard_of(2).embeddings.tobytes()


def test_what_is_not_read_back_is_not_committed(s3):
    store = Store(RECIPE, URL)
    s3.answer = lambda method, path: "403 FORBIDDEN" if method == "GET" and path.endswith(".h5") else None
    with pytest.raises(CacheError, match=f"{URL} refused 2 rows: the store denies access"):
        store.append(shard_of(1, 2))
    assert store.missing(keys_of(1, 2)) == keys_of(1, 2)


def test_delivered_bytes_go_to_the_store(s3, elsewhere):
    store = Store(RECIPE, URL)
    deliver(encode(shard_of(1, 2), RECIPE), RECIPE, store.directory)
    elsewhere()
    assert len(Store(RECIPE, URL)) == 2


WRITER = """
    import sys
    import numpy as np
    from fc7.cache import Recipe, Store
    from fc7.cache.shard import Shard
    store = Store(Recipe("fake", "fc7", 8, "0" * 64), sys.argv[1])
    for first in map(int, sys.argv[2:]):
        numbers = range(first, first + 4)
        keys = [number.to_bytes(32, "big") for number in numbers]
        store.append(Shard(keys, np.outer(numbers, np.ones(8)).astype(np.float16)))
        print(first, flush=True)
"""


def write(*firsts, home=None):
    """Start a process that appends units of four."""
    environment = os.environ | ({"XDG_CACHE_HOME": str(home)} if home else {})
    words = [sys.executable, "-c", textwrap.dedent(WRITER), URL, *map(str, firsts)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)


def test_two_machines_fill_one_cache_at_once(s3, elsewhere, tmp_path):
    firsts = range(0, 40, 4)
    writers = [write(*firsts, home=tmp_path / "a"), write(*reversed(firsts), home=tmp_path / "b"), write(*firsts)]
    assert [(writer.communicate(timeout=LONG), writer.returncode)[1] for writer in writers] == [0, 0, 0]
    elsewhere()
    store = Store(RECIPE, URL)
    assert store.keys == keys_of(*range(40))
    assert store.rows(keys_of(*range(40)))[:, 0].tolist() == list(range(40))
    assert sum(name.endswith(".h5") for name in objects(s3)) == 10


def test_killed_while_it_uploads(s3, elsewhere):
    """Not what was being put, but everything that was said to be committed is there, and a rerun completes."""
    writer = None
    puts = 0

    def kill(method, path):
        nonlocal puts
        if method == "PUT" and path.endswith(".h5"):
            puts += 1
            if puts == 3:
                writer.kill()
                return "500 KILLED"
        return None

    s3.answer = kill
    writer = write(0, 4, 8, 12)
    said, _ = writer.communicate(timeout=LONG)
    assert (said.split(), writer.returncode) == (["0", "4"], -9)
    s3.answer = lambda method, path: None
    elsewhere()
    assert Store(RECIPE, URL).keys == keys_of(*range(8))
    assert write(0, 4, 8, 12).communicate(timeout=LONG)[0].split() == ["0", "4", "8", "12"]
    assert Store(RECIPE, URL).rows(keys_of(*range(16)))[:, 0].tolist() == list(range(16))


def test_what_is_no_cache_is_refused(s3, elsewhere):
    with pytest.raises(CacheError, match=f"There is no fc7 cache in {URL}"):
        open_directory(URL, new=False)
    s3.store.pipe_file(f"{BUCKET}/cache/holiday.jpg", b"x")
    with pytest.raises(CacheError, match=f"{URL} is not an fc7 cache"):
        open_directory(URL)
    s3.store.pipe_file(f"{BUCKET}/cache/FORMAT", b"fc7-cache 99\n")
    with pytest.raises(CacheError, match=f"{URL} says 'fc7-cache 99'"):
        open_directory(URL)
    with pytest.raises(CacheError, match="there is no such bucket"):
        open_directory("s3://no-such-bucket/cache")
    with pytest.raises(CacheError, match="cannot hold a cache"):
        open_directory("sftp://host/cache")
    with pytest.raises(DataError, match="user or password"):
        open_directory(f"s3://{KEY}:{SECRET}@bucket/cache")


def test_a_server_that_is_not_there(s3, monkeypatch):
    from fc7.cache.urls import filesystem

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3.store.clear_instance_cache()
    filesystem.cache_clear()
    with pytest.raises(FC7Error, match="cannot be reached"):
        open_directory(URL)


def test_verbs(s3, fc7, fc7_json, pictures, elsewhere, tmp_path):
    words = ("--backbone", "squeezenet1_1", "--weights", "random:0", "--layer", "gap")
    done = fc7_json("extract", pictures, *words, "--cache", URL)
    assert done["computed"] == 10
    elsewhere()
    done = fc7_json("extract", pictures, *words, "--cache", URL)
    assert (done["computed"], done["reused"]) == (0, 10)
    (tmp_path / "out").mkdir()
    assert fc7("fit", pictures, *words, "--head", "ridge", "--cache", URL, "-o", tmp_path / "out" / "a.fc7")[0] == 0
    elsewhere()
    found = fc7_json("cache", "info", "--cache", URL)
    assert (found["directory"], found["recipes"][0]["rows"]) == (URL, 10)
    assert fc7("cache", "verify", "--cache", URL)[0] == 0
    assert fc7("cache", "export", tmp_path / "rows.h5", pictures, *words, "--cache", URL)[0] == 0
    assert fc7("cache", "import", tmp_path / "rows.h5", "--cache", f"{URL}2")[0] == 0
    for verb in ("gc", "compact", "repair"):
        code, _, err = fc7("cache", verb, "--cache", URL)
        assert (code, f"{URL} is not a folder" in one_line(err)) == (1, True)
    flip(s3, the_shard(s3))
    assert fc7("cache", "verify", "--cache", URL)[0] == 0, "the replica was fetched before"
    code, out, _ = fc7("cache", "verify", "--deep", "--cache", URL)
    assert (code, "1 damaged. Delete those objects" in out) == (1, True)


def test_nothing_in_a_replica_has_the_secret(s3, tmp_path, capfd):
    Store(RECIPE, URL).append(shard_of(1, 2))
    files = [path for path in (tmp_path / "user").rglob("*") if path.is_file()]
    assert len(files) == 5
    for secret in (SECRET, KEY):
        assert [path for path in files if secret.encode() in path.read_bytes()] == []
        assert secret not in "".join(capfd.readouterr())


def test_another_kind_of_store(monkeypatch, tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="needs the extra fc7[remote]")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        Store(RECIPE, "memory://fc7/cache").append(shard_of(1, 2))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
        store = Store(RECIPE, "memory://fc7/cache")
        store.append(shard_of(1, 2))
        assert store.rows(keys_of(2)).tobytes() == shard_of(2).embeddings.tobytes()
    finally:
        fsspec.filesystem("memory").store.clear()
