"""What the fault tests share: rows that are known, calls that can be made to fail, processes that can be killed.

A fault test that forks does so in a process of its own, which has one thread: its file is also a script, and
:func:`alone` runs one of its functions there.
"""

import builtins
import contextlib
import hashlib
import io
import itertools
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from fakes import FakeBackbone, draw
from shards import key

from fc7.cache import Recipe, Store
from fc7.cache.processes import Process
from fc7.cache.shard import Shard

TESTS = Path(__file__).resolve().parent

# What of the module os the cache and the extraction use. All that they do to a disk goes through these, but for
# sqlite's own calls, whose file is derived.
CHANGING = ("write", "fsync", "close", "link", "symlink", "unlink", "mkdir", "rmdir", "rename", "replace", "utime")
LOOKING = ("open", "readlink", "stat", "lstat", "fstat", "scandir", "listdir", "preadv")
READING = ("read", "readall", "readinto")  # of a file that open() returned

RECIPE = Recipe("fake", "tiles", 16, "f" * 64, dtype="float32")


def vectors(numbers):
    """Return rows that tell which number they are of, every one of their bytes."""
    rows = [hashlib.shake_128(key(number)).digest(2 * RECIPE.dim) for number in numbers]
    return np.frombuffer(b"".join(rows), np.uint16).reshape(len(rows), RECIPE.dim).astype(np.float32)


def unit(numbers, rejected=()):
    numbers = sorted(numbers, key=key)
    return Shard([key(n) for n in numbers], vectors(numbers), {key(n): "no image" for n in rejected}, {"seconds": "1"})


def wrong(store, numbers):
    """Return how many of the rows that the store has of these numbers are not the right ones."""
    there = [number for number in numbers if key(number) in store]
    return int((store.rows([key(n) for n in there]) != vectors(there)).any(axis=1).sum())


def gallery(root, count, start=0):
    """Draw pictures of two classes, each of a colour of its own."""
    for number in range(start, start + count):
        draw(root / ("blue", "red")[number % 2] / f"{number:05}.png", colour(number))
    return root


def colour(number):
    return (number * 37 % 256, number // 7 % 256, number % 256)


class Fake(FakeBackbone):
    """The readable backbone, with small units."""

    unit_rows = 4


def alone(file, function, *, timeout=3600, prefix=(), **parameters):
    """Run a function of a test file in a process of its own, started by `prefix`, and return what it returned."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    words = [*prefix, sys.executable, str(file), function, json.dumps(parameters, default=str)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return json.loads(done.stdout.splitlines()[-1])


def script(functions):
    """Do what :func:`alone` asked for."""
    if sys.argv[1:]:
        if os.environ.get("FC7_FAULTS") != "full":  # a kill takes nothing from the system, whatever the disk has
            os.fsync = os.fstat
        name, parameters = sys.argv[1:]
        print(json.dumps(functions[name](**json.loads(parameters))), flush=True)  # noqa: T201


def warm_up(root):
    """Import what an extraction imports and forget it: a child forked later starts at once."""
    from fc7.extract import fill, read_manifest

    fill(read_manifest(gallery(root / "warm pictures", 4)), [Fake()], cache=root / "warm cache", workers=1)
    Store(Fake().recipes[0], root / "warm cache").rows([])


class Child:
    """A forked process that runs ``work(say)`` and ends; ``say`` sends the parent a line."""

    def __init__(self, work, output=None):
        reading, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            code = 70
            try:
                Process.mine.cache_clear()  # also where fc7 knows of no fork (tests/without/): a process of its own
                os.close(reading)
                if output is not None:
                    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                    os.dup2(descriptor, 1)
                    os.dup2(descriptor, 2)
                    sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))  # noqa: SIM115
                code = work(lambda line, write=os.write: write(writing, f"{line}\n".encode())) or 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                with contextlib.suppress(BaseException):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(code)
        os.close(writing)
        self._reading = reading

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout=None):
        """Return the exit code, negative for a signal, and the whole lines said; ``None`` if it had to be ended."""
        said = b""
        end = timeout and time.monotonic() + timeout
        hung = False
        import select

        while True:
            left = None if end is None else max(end - time.monotonic(), 0)
            if not select.select([self._reading], [], [], left)[0]:
                hung = True
                self.kill()
                break
            part = os.read(self._reading, 2**16)
            if not part:
                break
            said += part
        os.close(self._reading)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return None if hung else status, said.decode().split("\n")[:-1]


def acknowledge(say):
    """Say each shard's name after its append has returned."""
    append = Store.append

    def appended(self, shard):
        path = append(self, shard)
        say(f"{self.recipe.id} {path.name}")
        return path

    Store.append = appended


@contextlib.contextmanager
def between(hook, names=CHANGING + LOOKING, *, opens=True):
    """Put ``hook(name, call, args)`` between Python and the system; ``call()`` does what was asked for.

    Parameters
    ----------
    opens
        Also between Python's ``open``, what is read from the files it returns, and sqlite's ``connect``.
    """
    real = {(os, name): getattr(os, name) for name in names}
    if opens:
        real |= {(builtins, "open"): builtins.open, (io, "open"): io.open, (sqlite3, "connect"): sqlite3.connect}

    def wrap(name, function):
        def called(*args, **kwargs):
            result = hook(name, lambda: function(*args, **kwargs), args)
            return Opened(result, hook) if function is real.get((io, "open")) else result

        return called

    try:
        for (module, name), function in real.items():
            setattr(module, name, wrap(name if module is not builtins else "open", function))
        yield
    finally:
        for (module, name), function in real.items():
            setattr(module, name, function)


class Opened:
    """A file whose reading can fail, too."""

    def __init__(self, file, hook):
        self._file, self._hook = file, hook

    def __getattr__(self, name):
        found = getattr(self._file, name)
        if name in READING:
            return lambda *args: self._hook(name, lambda: found(*args), args)
        return found

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *raised):
        return self._file.__exit__(*raised)

    def __iter__(self):
        return iter(self._file)


class Counter:
    """Number the calls, and do something at one of them or from it on."""

    def __init__(self, act=None, at=None):
        self.calls, self.act, self.at = [], act, at
        self._next = itertools.count(1)

    def __call__(self, name, call, args):
        number = next(self._next)
        self.calls.append(name)
        if self.act and number == self.at:
            return self.act(name, call, args)
        return call()


@contextlib.contextmanager
def heard():
    """Yield the list of what fc7 logs as a warning."""
    found = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())
    logger = logging.getLogger("fc7")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def leftovers(directory):
    """Return the temporary files and claims in a cache."""
    patterns = ("claims/*", ".FORMAT.*", "recipes/*/.recipe.json.*", "recipes/*/tmp/*")
    return [path for pattern in patterns for path in Path(directory).glob(pattern)]
