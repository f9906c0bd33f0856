import errno
import os
from pathlib import Path

import pytest
from shards import RECIPE, key, shard
from waiting import until

from fc7.cache import Store, leases, maintenance, system
from fc7.cache.files import link, replace
from fc7.cache.format import open_local
from fc7.cache.leases import Claims, owner_of
from fc7.cache.output_file import OutputFile
from fc7.cache.processes import Process
from fc7.errors import CacheError, DataError


def windows_error(number, code=errno.EACCES):
    error = OSError(code, os.strerror(code))
    error.winerror = number
    return error


@pytest.mark.parametrize(
    "name", ["CON", "con.csv", "Aux.tar.gz", "COM1", "lpt9.html", "nul .csv", "a:b", "what?", "a. "]
)
def test_names_that_windows_does_not_give_are_refused_there_only(name):
    assert system.refusal_of_name(name, windows=True)
    assert not system.refusal_of_name(name, windows=False)


@pytest.mark.parametrize("name", ["report.html", "console.csv", "com10", "Kätzchen.csv", "a b.csv", ".hidden"])
def test_other_names_are_taken(name):
    assert not system.refusal_of_name(name, windows=True)


def test_an_output_with_the_name_of_a_device_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "refusal_of_name", lambda name: f"{name} is the name of a device")
    with pytest.raises(DataError, match=r"nul\.csv is the name of a device"):
        OutputFile(tmp_path / "nul.csv")


def test_a_cache_too_deep_for_windows_is_refused_in_one_line(tmp_path, monkeypatch):
    deep = tmp_path / ("a" * 90)
    assert system.refusal_of_length(deep, 180, windows=True)
    assert not system.refusal_of_length(Path("/c"), 180, windows=True)
    monkeypatch.setattr(system, "_long_paths", lambda: True)
    assert not system.refusal_of_length(deep, 180, windows=True)
    monkeypatch.setattr("fc7.cache.format.refusal_of_length", lambda folder, below: "its path has 300 characters")
    with pytest.raises(CacheError, match="its path has 300 characters"):
        open_local(deep)


def test_the_longest_path_in_a_cache_is_as_long_as_said(tmp_path, monkeypatch):
    seen = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: seen.append(str(path)) or real(path, *rest))
    # As on Windows: no boot id, no namespaces, no start.
    mine = Process("0" * 8, "", 4_000_000_000)
    monkeypatch.setattr(Process, "mine", lambda: mine)
    store = Store(RECIPE, tmp_path / "cache")
    store.append(shard(1, 2))
    store.append(shard(3))
    maintenance.compact(tmp_path / "cache")
    start = len(str(tmp_path / "cache"))
    assert max(len(path) for path in seen if path.startswith(str(tmp_path / "cache"))) - start <= 180


def test_readers_on_windows_get_a_moment_to_close_what_is_replaced(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")
    real, refusals = Path.replace, [windows_error(5), windows_error(32)]

    def busy(path, target):
        if refusals:
            raise refusals.pop()
        return real(path, target)

    monkeypatch.setattr(Path, "replace", busy)
    replace(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert not refusals


def test_a_file_that_stays_open_is_not_waited_for_without_end(tmp_path, monkeypatch):
    def busy(path, target):
        raise windows_error(32)

    monkeypatch.setattr(system, "PATIENCE", 0.0)
    monkeypatch.setattr(Path, "replace", busy)
    with pytest.raises(PermissionError):
        replace(tmp_path / "a", b"new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failure", [windows_error(1, errno.EINVAL), OSError(errno.ENOTSUP, "")])
def test_without_hard_links_a_file_of_that_name_is_left(tmp_path, monkeypatch, failure):
    def refuse(*_):
        raise failure

    monkeypatch.setattr(os, "link", refuse)
    for content in (b"first", b"second"):
        (tmp_path / "new").write_bytes(content)
        link(tmp_path / "new", tmp_path / "name")
    assert (tmp_path / "name").read_bytes() == b"first"


def test_gc_and_compact_leave_shards_that_windows_does_not_take_from_their_readers(tmp_path, monkeypatch, caplog):
    store = Store(RECIPE, tmp_path / "cache")
    store.append(shard(1, 2))
    store.append(shard(3))
    real = Path.rename

    def busy(path, target):
        if path.suffix == ".h5":
            raise windows_error(32)
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", busy)
        maintenance.compact(tmp_path / "cache")
    assert "is open in another process and stays" in caplog.text
    assert len(Store(RECIPE, tmp_path / "cache")) == 3
    assert len(Store(RECIPE, tmp_path / "cache").entries) == 3
    maintenance.gc(tmp_path / "cache")
    again = Store(RECIPE, tmp_path / "cache")
    assert len(again.entries) == 1
    assert all(key(number) in again for number in (1, 2, 3))


@pytest.fixture
def files_for_claims(monkeypatch):
    monkeypatch.setattr(leases, "_can_touch_links", lambda: False)


def test_where_links_cannot_be_touched_a_claim_is_a_file_that_is_kept_fresh(tmp_path, files_for_claims):
    claims = Claims(tmp_path / "claims", beat=0.001)
    assert claims.take("unit")
    path = tmp_path / "claims" / "unit"
    assert path.is_file()
    assert not path.is_symlink()
    assert owner_of(path) == Process.mine()
    before = path.stat().st_mtime_ns
    until(lambda: path.stat().st_mtime_ns != before)
    claims.release_all()
    assert not path.exists()


def test_a_claim_that_is_a_file_of_a_process_that_has_ended_is_void_and_garbage(
    tmp_path, files_for_claims, monkeypatch
):
    gone = Process.mine()._replace(pid=2**22 + 1, start="1")
    Store(RECIPE, tmp_path)
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "unit").write_text(gone.token)
    (tmp_path / "claims" / "letter").write_text("Dear cache, this is not yours.")
    assert [Path(entry.file).name for entry in maintenance.gc(tmp_path, dry_run=True)] == ["unit"]
    claims = Claims(tmp_path / "claims")
    assert claims.take("unit")
    claims.release_all()


def test_a_claim_that_is_not_yet_written_is_nobody_elses(tmp_path, files_for_claims):
    (tmp_path / "unit").touch()
    assert not Claims(tmp_path).take("unit")


def test_windows_is_not_asked_with_a_signal_that_is_ctrl_c(monkeypatch):
    import ctypes

    class Kernel:
        class OpenProcess:
            def __new__(cls, access, inherit, pid):
                return None if pid == 7 else pid

        class CloseHandle:
            def __new__(cls, handle):
                return 1

        @staticmethod
        def WaitForSingleObject(handle, milliseconds):
            return 0x102 if handle.value == 8 else 0

    monkeypatch.setattr(ctypes, "WinDLL", lambda name, use_last_error: Kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: 87, raising=False)
    monkeypatch.setattr(os, "kill", None)
    assert system._has_ended_on_windows(7)  # no such process
    assert not system._has_ended_on_windows(8)
    assert system._has_ended_on_windows(9)  # ended, and somebody holds it
    assert system._has_ended_on_windows(2**40)


@pytest.mark.parametrize("call", ["preadv", "pread"])
def test_bytes_at_a_place_are_the_same_with_every_call(tmp_path, monkeypatch, call):
    monkeypatch.delattr(os, "preadv")
    if call == "pread":
        monkeypatch.delattr(os, "pread")
    (tmp_path / "a").write_bytes(bytes(range(100)))
    with (tmp_path / "a").open("rb", buffering=0) as file:
        buffers = [memoryview(bytearray(10)), memoryview(bytearray(20))]
        assert system.read_at(file.fileno(), buffers, 50) == 10
        assert bytes(buffers[0]) == bytes(range(50, 60))
        assert system.read_bytes_at(file.fileno(), 10, 95) == bytes(range(95, 100))


def test_without_any_locks_maintenance_is_refused_in_one_line(tmp_path, monkeypatch):
    import sys

    Store(RECIPE, tmp_path)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", None)
    with pytest.raises(CacheError, match="cannot be locked: this Python has no locks of files"):
        maintenance.gc(tmp_path)
