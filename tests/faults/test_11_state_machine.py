"""Fault test 11: adding, removing, extracting, killing, damaging and tidying in any order, against a model in a set."""

import hashlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fakes import draw
from faulty import CHANGING, LOOKING, Counter, Fake, between, colour, heard, leftovers
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fc7.cache import Store, files
from fc7.cache.embeddings import Embeddings
from fc7.cache.maintenance import compact, gc, import_rows
from fc7.cache.processes import Process
from fc7.cache.verify import repair, verify
from fc7.extract import extract, fill, read_manifest

RECIPE = Fake().recipes[0]
GONE = Process.mine()._replace(pid=2**30)  # no process can have this number


class Killed(BaseException):
    """Nothing is called any more."""


class Killer(Counter):
    """From one call on, every call ends the process: its ``finally`` blocks run, but change nothing on the disk."""

    def __call__(self, name, call, args):
        self.calls.append(name)
        if len(self.calls) >= self.at and name != "close":
            raise Killed
        return call()


class Cache(RuleBasedStateMachine):
    """The model: which pictures lie in the folder, whose rows must be in the cache, and whose may be."""

    steps = kills = 0

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.pictures, self.directory = self.root / "pictures", self.root / "cache"
        self.files = {}  # which number's picture lies there
        self.keys = []  # of each number
        self.kept = set()  # numbers whose rows were acknowledged, and not damaged since
        self.maybe = set()  # numbers that a killed run may have committed

    def teardown(self):
        shutil.rmtree(self.root)

    def put(self, path):
        """Draw the next picture there."""
        number = len(self.keys)
        self.keys.append(hashlib.sha256(draw(path, colour(number)).read_bytes()).digest())
        self.files[path] = number

    def there(self):
        """Return the numbers whose rows the cache has."""
        store = Store(RECIPE, self.directory)
        return {number for number, key in enumerate(self.keys) if key in store}

    @initialize()
    def begin(self):
        self.add(6)
        self.extract()

    @invariant()
    def every_row_is_there_and_right(self):
        type(self).steps += 1
        with heard() as warnings:
            store = Store(RECIPE, self.directory)
        numbers = sorted(self.there())
        assert not warnings
        assert self.kept <= set(numbers) <= self.kept | self.maybe
        expected = np.tile(np.float32([colour(number) for number in numbers]).reshape(-1, 3) / 255, 4)
        rows = store.rows([self.keys[number] for number in numbers])
        np.testing.assert_array_equal(rows, expected.astype(np.float16))

    @rule(count=st.integers(1, 9))
    def add(self, count):
        for _ in range(count):
            self.put(self.pictures / "ab"[len(self.keys) % 2] / f"{len(self.keys)}.png")

    @rule(data=st.data())
    def edit(self, data):
        self.put(data.draw(st.sampled_from(sorted(self.files))))

    @precondition(lambda self: len(self.files) > 4)
    @rule(data=st.data())
    def remove(self, data):
        path = data.draw(st.sampled_from(sorted(self.files)))
        path.unlink()
        del self.files[path]

    @rule()
    def extract(self):
        wanted = set(self.files.values())
        lacking = wanted - self.there()
        done = fill(read_manifest(self.pictures), [Fake()], cache=self.directory)[0]
        assert (done.computed, done.ok) == (len(lacking), len(wanted))
        self.kept |= wanted

    @rule(at=st.integers(1, 200))
    def be_killed_while_extracting(self, at):
        manifest = read_manifest(self.pictures)
        self.maybe |= set(self.files.values())
        self.be_killed(lambda: fill(manifest, [Fake()], cache=self.directory, workers=1), at)

    @rule(at=st.integers(1, 100), work=st.sampled_from([compact, gc, repair]))
    def be_killed_while_tidying(self, at, work):
        self.be_killed(lambda: work(self.directory), at)

    def be_killed(self, work, at):
        files._synced.clear()  # as a new process begins
        with between(Killer(at=at), (*CHANGING, *LOOKING), opens=False), pytest.MonkeyPatch.context() as patch:
            patch.setattr(Process, "mine", lambda: GONE)
            try:
                work()
            except Killed:
                type(self).kills += 1
        files._synced.clear()

    @rule(data=st.data())
    def rot(self, data):
        store = Store(RECIPE, self.directory)
        before = self.there()
        name = data.draw(st.sampled_from(sorted(store.entries)))
        content = bytearray(store.path(name).read_bytes())
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
        store.path(name).write_bytes(content)
        elsewhere = {key for other, entry in store.entries.items() if other != name for key in entry.keys}
        lost = {number for number in before if self.keys[number] in {*store.entries[name].keys} - elsewhere}
        with heard() as warnings:
            assert self.there() == before - lost
        assert len(warnings) == 1
        self.kept -= lost
        if not self.kept:
            self.extract()

    @rule()
    def forget_the_index(self):
        (self.directory / "index.sqlite").unlink(missing_ok=True)

    @rule(data=st.binary(max_size=300))
    def damage_the_index(self, data):
        (self.directory / "index.sqlite").write_bytes(data)
        with heard():
            self.there()

    @rule(deep=st.booleans())
    def verify(self, deep):
        assert verify(self.directory, deep=deep).damaged == []

    @rule()
    def compact(self):
        compact(self.directory)

    @rule()
    def gc(self):
        gc(self.directory)
        assert leftovers(self.directory) == []

    @rule()
    def move_elsewhere_and_back(self):
        """Export all rows, import them into another cache, and read them there."""
        self.extract()
        manifest = read_manifest(self.pictures)
        table = extract(manifest, Fake(), cache=self.directory)
        exported = Embeddings.from_h5(table.to_h5(self.root / "rows.h5"))
        assert import_rows(exported, self.root / "elsewhere") == len(set(self.files.values()))
        assert import_rows(exported, self.directory) == 0
        again = extract(manifest, Fake(), cache=self.root / "elsewhere")
        np.testing.assert_array_equal(again.vectors, table.vectors)
        shutil.rmtree(self.root / "elsewhere")


@pytest.mark.timeout(1800)
def test_any_order(size, figure, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(Cache, "steps", 0)
    monkeypatch.setattr(Cache, "kills", 0)
    run_state_machine_as_test(
        Cache,
        settings=settings(
            max_examples=size(6, 60),
            stateful_step_count=size(20, 40),
            deadline=None,
            derandomize=not size(False, True),
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    figure(
        "Any order of everything",
        f"{Cache.steps} steps of a state machine: add, edit, remove, extract, kill ({Cache.kills} times), flip a bit, "
        "damage or delete the index, verify, compact, gc, export and import",
        "0 differences from the model",
    )
    assert Cache.steps > size(60, 1000)
    assert Cache.kills > 0
