"""Processes: which have ended, and what a forked child opens."""

import contextlib
import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fc7.cache import processes
from fc7.cache.processes import Lock, Process, once

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
    begun = processes._start(alive.pid)
    assert begun
    assert not mine._replace(pid=alive.pid, start=begun).gone
    assert mine._replace(pid=alive.pid, start=str(int(begun) - 1)).gone


@linux
@pytest.mark.parametrize("hidden", ["stat", "ns", "boot_id", ""])
def test_what_the_system_does_not_tell_is_empty_and_nobody_is_taken_for_gone(monkeypatch, alive, ended, hidden):
    """Without all or a part of /proc."""
    real_stat, real_read, real_link = os.stat, processes.Path.read_text, os.readlink

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
        patch.setattr(processes.Path, "read_text", refuse(real_read))
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


FORKED = """
import os, threading
from fc7.cache.processes import Lock

lock, held, end = Lock(), threading.Event(), threading.Event()

def hold():
    with lock:
        held.set()
        end.wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
pid = os.fork()
if not pid:
    with lock:
        print("open", flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""


def test_a_lock_is_open_in_a_child_where_its_holder_does_not_exist():
    said = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert said == "open\n"


def test_a_lock_is_copied_and_pickled_as_a_new_one():
    lock = Lock()
    with lock:
        for again in (copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))):
            taken = threading.Thread(target=again.__enter__)
            taken.start()
            taken.join(60)
            assert not taken.is_alive()


def test_a_lock_lets_one_thread_in_at_a_time_and_the_same_again():
    lock, inside, most = Lock(), 0, 0

    def work():
        nonlocal inside, most
        for _ in range(200):
            with lock, lock:
                inside += 1
                most = max(most, inside)
                os.sched_yield()
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


class Counting:
    """Says how often its value was computed."""

    def __init__(self):
        self.computed = 0

    @once
    def value(self):
        """Return a value."""
        self.computed += 1
        os.sched_yield()
        return object()


def test_a_value_is_computed_once_whichever_threads_ask():
    for _ in range(50):
        owner, gate, values = Counting(), threading.Barrier(4), []

        def ask(owner=owner, gate=gate, values=values):
            gate.wait()
            values.append(owner.value)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert owner.computed == 1
        assert len(set(map(id, values))) == 1
    assert Counting.value.__doc__ == "Return a value."


def test_a_value_that_could_not_be_computed_is_computed_again():
    class Failing:
        tries = 0

        @once
        def value(self):
            self.tries += 1
            if self.tries < 2:
                raise KeyError
            return self.tries

    failing = Failing()
    with contextlib.suppress(KeyError):
        _ = failing.value
    assert (failing.value, failing.value, failing.tries) == (2, 2, 2)
