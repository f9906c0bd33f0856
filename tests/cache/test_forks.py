import contextlib
import copy
import os
import pickle
import subprocess
import sys
import threading

from fc7.cache.forks import Lock, once

FORKED = """
import os, threading
from fc7.cache.forks import Lock

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
