"""Fault test 1: the process is killed at any time, again and again; what it had acknowledged is there."""

import random
import time
from pathlib import Path

import numpy as np
from faulty import Child, Fake, acknowledge, alone, gallery, heard, leftovers, script, warm_up
from waiting import spend

from fc7.cache import Store
from fc7.cache.maintenance import gc
from fc7.cache.verify import verify
from fc7.extract import fill, read_manifest

FIRST_MOMENT = 0.002  # seconds, in which FORMAT and recipe.json are written


def test_killed_at_any_time(tmp_path, size, figure):
    found = alone(__file__, "campaign", root=tmp_path, kills=size(20, 200), images=size(40, 120))
    lost = found["lost"] + found["wrong"] + found["unreadable"]
    figure(
        "Killed at any time",
        f"{found['kills']} SIGKILLs of an extraction, {found['early']} of them in its first moment, "
        f"{found['runs']} extractions resumed to their end",
        f"{found['acknowledged']} rows were acknowledged before a kill: {found['lost']} lost, "
        f"{found['unreadable']} unreadable shards, {found['wrong']} wrong rows, {found['twice']} rows kept twice; "
        f"gc removed {found['leftovers']} leftovers, {found['left']} remained",
    )
    assert (lost, found["twice"], found["left"]) == (0, 0, 0)
    assert found["kills"] == size(20, 200)
    # When a kill comes is chance; of a few, none may come after many rows, or while anything is being written.
    assert found["acknowledged"] > size(0, found["kills"])
    assert found["leftovers"] >= size(0, 1), "no kill came while anything was being written"


def test_what_was_acknowledged_and_removed_is_counted_as_lost(tmp_path):
    """The twin: a cache that loses a shard after each kill; on a slow disk many kills come before the first commit."""
    found = alone(__file__, "campaign", root=tmp_path, kills=100, images=40, forgetful=True)
    assert found["lost"] > 0


class Campaign:
    """Extractions into one cache after another, each killed and resumed until it comes to its end."""

    def __init__(self, root, images):
        warm_up(root)
        self.root, self.recipe = root, Fake().recipes[0]
        self.manifest = read_manifest(gallery(root / "pictures", images))
        started = time.perf_counter()
        assert self.start(root / "right").wait()[0] == 0
        self.whole = time.perf_counter() - started
        reference = Store(self.recipe, root / "right")
        self.keys = reference.keys
        self.expected = reference.rows(self.keys)
        self.chance = random.Random(1)
        names = "kills early runs acknowledged lost unreadable wrong twice leftovers left"
        self.found = dict.fromkeys(names.split(), 0)

    def start(self, cache):
        def work(say):
            acknowledge(say)
            fill(self.manifest, [Fake()], cache=cache, workers=2)

        return Child(work)

    def look(self, cache, acknowledged):
        """Count what of the acknowledged rows is not there, or not right."""
        with heard() as warnings:
            store = Store(self.recipe, cache)
        self.found["unreadable"] += len(warnings)
        self.found["lost"] += sum(key not in store for key in acknowledged)
        there = [number for number, one in enumerate(self.keys) if one in store]
        got = store.rows([self.keys[number] for number in there])
        self.found["wrong"] += int((got != self.expected[there]).any(axis=1).sum())
        return store

    def to_the_end(self, cache, kills, forgetful):
        """Kill and resume one extraction until the kills are used up or one was too late."""
        acknowledged, early, ended = set(), self.found["runs"] % 2 == 0, False
        while not ended:
            child = self.start(cache)
            if self.found["kills"] < kills:
                spend(self.chance.random() * (FIRST_MOMENT if early else self.whole))
                child.kill()
            code, said = child.wait()
            assert code in (0, -9), code
            ended = code == 0
            self.found["kills"] += not ended
            self.found["early"] += not ended and early
            early = False
            store = self.look(cache, acknowledged)
            for line in said:
                entry = store.entries.get(line.split()[1])
                self.found["lost"] += entry is None
                acknowledged |= set(entry.keys if entry else ())
            self.found["acknowledged"] += 0 if ended else len(acknowledged)
            if forgetful and not ended and store.entries:
                store.path(next(iter(store.entries))).unlink()
                self.look(cache, acknowledged)

    def judge(self, cache, *, forgetful):
        """Count what is not as after an undisturbed run, before and after tidying."""
        found, store = self.found, Store(self.recipe, cache)
        found["lost"] += len(store.missing(self.keys))
        assert forgetful or np.array_equal(store.rows(self.keys), self.expected)
        found["twice"] += sum(len(entry.keys) for entry in store.entries.values()) - len(store)
        found["unreadable"] += len(verify(cache, deep=True).damaged)
        found["leftovers"] += len(leftovers(cache))
        gc(cache)
        found["left"] += len(leftovers(cache))
        self.look(cache, set(self.keys))


def campaign(root, kills, images, forgetful=False):
    the = Campaign(Path(root), images)
    while the.found["kills"] < kills and not (forgetful and the.found["lost"]):
        cache = the.root / f"cache {the.found['runs']}"
        the.to_the_end(cache, kills, forgetful)
        the.judge(cache, forgetful=forgetful)
        the.found["runs"] += 1
    return the.found


if __name__ == "__main__":
    script(globals())
