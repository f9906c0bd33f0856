"""Take a call of the system away from fc7, for this process and those that it starts.

With this folder on PYTHONPATH, ``FC7_WITHOUT=link`` lets every module of fc7 import an ``os`` that has no ``link``.
What other libraries use is theirs.
"""

import builtins
import os
import sys
import types

CALLS = {
    "fcntl": ("fcntl",),
    "link": ("os.link",),
    "O_DIRECTORY": ("os.O_DIRECTORY",),
    "O_NONBLOCK": ("os.O_NONBLOCK", "os.O_NOCTTY", "os.set_blocking"),
    "memfd": ("os.memfd_create", "os.MFD_CLOEXEC", "os.posix_fallocate"),
    "resource": ("resource",),
    "preadv": ("os.preadv", "os.pread"),
    "uname": ("os.uname",),
    "kill": ("os.kill",),
    "SIGKILL": ("signal.SIGKILL", "signal.pthread_sigmask"),
    "symlink": ("os.symlink",),
    "sched_getaffinity": ("os.sched_getaffinity",),
    "fork": ("os.fork", "os.register_at_fork"),
}


# Tests, by the end of their names, that ask for what is not promised without the call, and why.
_COUNTED = "it makes this call fail or counts it"
_NO_FOLDERS = "without folders that can be opened, rows survive a killed process, maybe not a power loss"
NOT_PROMISED = {
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
    "memfd": {"test_without_memory_to_share_the_threads_decode": _COUNTED},
    "preadv": {"test_a_reading_that_fails_says_so": _COUNTED},
    "O_NONBLOCK": {"test_a_stream_is_read_where_it_may_be_one": "a FIFO that nobody writes to is waited for"},
}


class Without:
    """Stands for a module and lacks some of its names; what is set in it is set in the module itself.

    It has no ``__dict__`` but the module's: pytest looks there for what it has to put back.
    """

    __slots__ = ("_module", "_names")

    def __init__(self, module, names):
        object.__setattr__(self, "_module", module)
        object.__setattr__(self, "_names", names)

    def __getattr__(self, name):
        if name in self._names:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)
        return getattr(self._module, name)

    def __setattr__(self, name, value):
        setattr(self._module, name, value)

    def __delattr__(self, name):
        delattr(self._module, name)


def take_away(call):
    """Hide the names of a call from the modules of fc7 that are imported from now on."""
    hidden = {}
    for name in CALLS[call]:
        module, _, attribute = name.partition(".")
        hidden.setdefault(module, set()).add(attribute)
    instead = {"msvcrt": stand_in_for_windows()} if call == "fcntl" else {}
    real = builtins.__import__

    def hooked(name, globals=None, locals=None, fromlist=(), level=0):
        ours = ((globals or {}).get("__name__") or "").startswith("fc7.")
        if ours and "" in hidden.get(name, ()):
            raise ImportError(f"{name} was taken away from fc7", name=name)
        if ours and name in instead and (name not in sys.modules or sys.modules[name] is not None):
            return instead[name]
        module = real(name, globals, locals, fromlist, level)
        return Without(module, hidden[name]) if ours and name in hidden else module

    builtins.__import__ = hooked


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


if call := os.environ.get("FC7_WITHOUT"):
    take_away(call)
