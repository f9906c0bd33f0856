import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fc7.cache import owner
from fc7.cache.owner import Process

linux = pytest.mark.skipif(sys.platform != "linux", reason="there are no PID namespaces")


@pytest.fixture
def alive():
    """Another process of this machine, which does not end by itself."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def ended():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return Process.mine()._replace(pid=process.pid, start="1")


def test_a_token_round_trip():
    mine = Process.mine()
    assert Process.parse(mine.token) == mine
    assert mine.pid == os.getpid()
    assert not set(mine.token) & {"/", ".", " ", "\0"}
    assert Process.parse("nonsense") is None
    assert Process.parse("a-b-c") is None


@linux
def test_a_token_names_what_tells_one_process_from_all_others():
    mine = Process.mine()
    assert mine.namespaces.split("+")[0] == str(Path("/proc/self/ns/pid").stat().st_ino)
    assert all(mine)


def test_a_token_of_before_says_nothing_about_namespaces():
    assert Process.parse("0123abcd-4567cdef-89") == Process("0123abcd", "4567cdef", 89)


@settings(deadline=None)
@given(st.text("0123456789abcdef-+", max_size=40) | st.text(max_size=20))
@example("--0--")
@example("a-b-\u0663")
def test_any_text_is_a_token_or_none_and_nothing_fails(text):
    process = Process.parse(text)
    if process is not None:
        assert not process.gone


def test_who_is_gone(alive, ended):
    mine = Process.mine()
    assert not mine.gone
    assert ended.gone
    assert not mine._replace(pid=alive.pid, start="").gone
    assert mine._replace(pid=10**30).gone  # no process can have it
    assert not ended._replace(host="00000000").gone  # nothing is known of another machine
    assert not ended._replace(boot="00000000").gone  # which may have the same name
    assert not ended._replace(namespaces="1+2").gone  # there, the number is another process's
    assert (
        not Process.parse(f"{mine.host}-{mine.boot}-{ended.pid}")._replace(namespaces="").gone
        or sys.platform != "linux"
    )


@linux
def test_a_number_that_is_used_again_is_not_the_owner(alive):
    mine = Process.mine()
    begun = owner._start(alive.pid)
    assert begun
    assert not mine._replace(pid=alive.pid, start=begun).gone
    assert mine._replace(pid=alive.pid, start=str(int(begun) - 1)).gone


@linux
@pytest.mark.parametrize("hidden", ["stat", "ns", "boot_id", ""])
def test_what_the_system_does_not_tell_is_empty_and_nobody_is_taken_for_gone(monkeypatch, alive, ended, hidden):
    """Without all or a part of /proc."""
    real_stat, real_read, real_link = os.stat, owner.Path.read_text, os.readlink

    def refuse(call):
        def called(path, *arguments, **options):
            if str(path).startswith("/proc") and hidden in str(path):
                raise FileNotFoundError(path)
            return call(path, *arguments, **options)

        return called

    Process.mine.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse(real_stat))
        patch.setattr(os, "readlink", refuse(real_link))
        patch.setattr(owner.Path, "read_text", refuse(real_read))
        mine = Process.mine()
        found = [mine._replace(pid=alive.pid, start="1").gone, mine._replace(pid=ended.pid).gone, mine.gone]
    Process.mine.cache_clear()
    assert Process.parse(mine.token) == mine
    assert "" in mine
    assert found == [False, hidden == "stat", False]


def test_a_machine_that_has_no_namespaces_needs_none(monkeypatch, ended):
    monkeypatch.setattr(sys, "platform", "darwin")
    mine = Process.mine()._replace(boot="", namespaces="", start="")
    monkeypatch.setattr(Process, "mine", lambda: mine)
    assert mine._replace(pid=ended.pid).gone
    assert not mine.gone


@linux
def test_a_forked_child_is_another_process():
    mine = Process.mine()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, Process.mine().token.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        theirs = Process.parse(said.read())
    os.waitpid(child, 0)
    assert theirs.pid == child
    assert (theirs.host, theirs.boot, theirs.namespaces) == (mine.host, mine.boot, mine.namespaces)
    assert theirs.gone
