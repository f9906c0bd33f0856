"""Take calls of the system away from fc7, for this process and those that it starts.

With this folder on PYTHONPATH, ``FC7_WITHOUT=link`` lets every module of fc7 import an ``os`` that has no ``link``;
``FC7_WITHOUT=all`` takes away all but ``kill``, which every system has: without it nobody can tell that a process has
ended, and much is not promised. What other libraries use is theirs. With ``FC7_ASKED=FILE``, each test that asks for
such a call, whether it is there or not, gets a line in the file.
"""

import builtins
import contextlib
import os
import sys
import types

from calls import CALLS

# Tests, by the end of their names, that ask for what is not promised without the call, and why.
_COUNTED = "it makes this call fail or counts it"
_NO_FOLDERS = "without folders that can be opened, rows survive a killed process, maybe not a power loss"
_ENDED = "nobody can tell that a process has ended: its claims are void a minute later, and what it left stays"
NOT_PROMISED = {
    "kill": {
        "tests/faults/": _ENDED,
        "test_gc_removes_what_dead_processes_left": _ENDED,
        "test_a_claim_that_is_taken_over_meanwhile_stays": _ENDED,
        "test_a_dead_process_holds_nothing": _ENDED,
        "test_what_killed_writers_left_goes": _ENDED,
        "test_what_a_killed_process_has_left_is_removed": _ENDED,
        "test_what_a_killed_review_left_is_removed_by_the_next": _ENDED,
        "test_what_is_not_of_fc7_is_said": _ENDED,
        "test_who_is_gone": _ENDED,
        "test_a_forked_child_is_another_process": _ENDED,
        "test_what_the_system_does_not_tell_is_empty": _ENDED,
        "test_a_machine_that_has_no_namespaces_needs_none": _ENDED,
        "test_a_claim_that_is_a_file_of_a_process_that_has_ended": _ENDED,
        "test_the_second_user_writes_collects_and_has_the_index": _ENDED,
        "test_what_the_second_user_may_only_read_is_read_and_said_once": _ENDED,
    },
    "link": {"test_synced_before_it_is_visible": _COUNTED, "test_a_failing_call_leaves_no_file": _COUNTED},
    "O_DIRECTORY": {
        "test_a_file_system_that_cannot_sync_folders": _COUNTED,
        "test_synced_before_it_is_visible": _NO_FOLDERS,
        "test_what_rows_survive_is_known": _NO_FOLDERS,
        "test_a_lock_that_is_held_is_said": "the lock is another file's, and the test holds the folder's",
        "test_03_power_loss": _NO_FOLDERS,
    },
    "fork": {
        "test_a_forked_child_is_another_process": "it forks, which a system without this cannot",
        "test_a_lock_is_open_in_a_child": "it forks, which a system without this cannot",
    },
    "symlink": {
        "test_each_call_fails": "a claim that is a file stays if writing or removing it fails; it ends a minute later",
    },
    "memfd": {"test_without_memory_to_share_the_threads_decode": _COUNTED},
    "preadv": {"test_a_reading_that_fails_says_so": _COUNTED},
    "O_NONBLOCK": {
        "test_a_stream_is_read_where_it_may_be_one": "a FIFO that nobody writes to is waited for",
        "no_file_is_refused_and_not_waited_for[fifo]": "a FIFO that nobody writes to is waited for",
        "test_what_cannot_be_written_is_refused_before_anything_else": "a FIFO that nobody reads is waited for",
    },
}


class Without:
    """Stands for a module and lacks some of its names; what is set in it is set in the module itself.

    It has no ``__dict__`` but the module's: pytest looks there for what it has to put back.
    """

    __slots__ = ("_calls", "_module")

    def __init__(self, module, calls):
        object.__setattr__(self, "_module", module)
        object.__setattr__(self, "_calls", calls)  # by name

    def __getattr__(self, name):
        if call := self._calls.get(name):
            if name != "register_at_fork":  # what it registers matters to who forks
                note(call)
            if call in GONE:
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        return getattr(self._module, name)

    def __setattr__(self, name, value):
        setattr(self._module, name, value)

    def __delattr__(self, name):
        delattr(self._module, name)


def note(call, test=""):
    """Write down that a test, or that which runs, asks for a call. Its fixtures may be those of other tests, too."""
    if not test:
        test, _, phase = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")
        test = test.partition("::")[0] if phase == "(setup)" else test
    if ASKED and test and (call, test) not in _noted:
        _noted.add((call, test))
        # A test may have as many files open as it may. pathlib is not there yet.
        with contextlib.suppress(OSError), open(ASKED, "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(f"{call}\t{test}\n")


def take_away():
    """Hide the names of the calls that are gone from the modules of fc7 that are imported from now on."""
    calls = {}
    for call in CALLS if ASKED else GONE:
        for name in CALLS[call]:
            module, _, attribute = name.partition(".")
            calls.setdefault(module, {})[attribute] = call
    instead = {"msvcrt": stand_in_for_windows()} if "fcntl" in GONE else {}
    real = builtins.__import__

    def hooked(name, globals=None, locals=None, fromlist=(), level=0):
        ours = ((globals or {}).get("__name__") or "").startswith("fc7.")
        if ours and (call := calls.get(name, {}).get("")):
            note(call)
            if call in GONE:
                raise ImportError(f"{name} was taken away from fc7", name=name)
        if ours and name in instead and (name not in sys.modules or sys.modules[name] is not None):
            return instead[name]
        module = real(name, globals, locals, fromlist, level)
        return Without(module, calls[name]) if ours and name in calls and "" not in calls[name] else module

    builtins.__import__ = hooked
    sys.addaudithook(lambda event, arguments: note("fork") if event == "os.fork" else None)
    for name in ("unlink", "remove", "rename", "replace"):
        setattr(os, name, refuse_if_open(getattr(os, name)))


def stand_in_for_windows():
    """Return an ``msvcrt`` that locks files, as where there is no ``fcntl``."""
    import errno
    import fcntl

    def locking(descriptor, mode, count):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None

    return types.SimpleNamespace(LK_NBLCK=2, locking=locking)


def refuse_if_open(real):
    """Return a call that fails, where fc7 makes it, on what this process has open, as on Windows."""

    def call(*paths, **options):
        if not options and _is_of_fc7(sys._getframe(1)):
            note("removal")
            if "removal" in GONE and _are_open(paths):
                error = PermissionError(13, "The process cannot access the file", os.fspath(paths[0]))
                error.winerror = 32
                raise error
        return real(*paths, **options)

    return call


def _is_of_fc7(frame):
    while frame is not None and frame.f_globals.get("__name__") in ("pathlib", "shutil", "tempfile", "contextlib"):
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("fc7.")


def _are_open(paths):
    ends = [os.path.realpath(path) for path in map(os.fspath, paths)]
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - as above
        try:
            file = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
        except OSError:  # the listing's own
            continue
        if any(file == end or file.startswith(f"{end}/") for end in ends):
            return True
    return False


_noted = set()
ASKED = os.environ.get("FC7_ASKED", "")
GONE = {call for call in CALLS if os.environ.get("FC7_WITHOUT") in (call, "" if call == "kill" else "all")}
if GONE or ASKED:
    take_away()
