"""Fault test 13: gc, repair and compact, each beside processes that write and read, stopped at each call in turn."""

import hashlib
import mmap
import os
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faulty import RECIPE, Child, alone, between, key, leftovers, script, unit, vectors
from waiting import until

from fc7.cache import Store
from fc7.cache.maintenance import compact, gc
from fc7.cache.processes import ABANDONED
from fc7.cache.shard import encode, unit_id
from fc7.cache.verify import info, repair, verify

VERBS = {"gc": gc, "repair": repair, "compact": compact}
UNIT = 4  # rows
WRITERS = READERS = 4
EPISODE = 25  # rounds with one cache
TAKING = ("rename", "replace", "link", "unlink", "rmdir")  # the calls with which maintenance changes the cache
AHEAD = 2  # units of each writer for each round


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("verb", VERBS)
def test_others_write_and_read_meanwhile(tmp_path, size, figure, verb):
    found = alone(__file__, "campaign", root=tmp_path, verb=verb, rounds=size(3, 200))
    figure(
        f"{verb} beside writers and readers",
        f"{found['rounds']} x {verb} beside {WRITERS} processes that write and {READERS} that read; in "
        f"{found['stopped']} of them it was stopped before one of its calls until others had committed more",
        f"{found['lost']} of {found['acknowledged']} acknowledged rows lost, {found['wrong']} wrong; "
        f"{found['failed']} of {found['reads']} reads failed, {found['false']} sound shards said to be damaged, "
        f"{found['left']} files left",
    )
    bad = ("lost", "wrong", "failed", "false", "left", "crashed")
    assert {name: found[name] for name in bad} == dict.fromkeys(bad, 0), "\n".join(found["said"])
    assert found["stopped"] > 0
    assert found["reads"] > found["rounds"], "readers read while maintenance worked"
    assert found["acknowledged"] >= found["rounds"] * UNIT, "writers wrote while maintenance worked"


class Shared:
    """Numbers that the processes share: how many units each writer may commit, and has; whether all is over."""

    def __init__(self):
        self._numbers = np.frombuffer(mmap.mmap(-1, 4096), np.int64)
        self.allowed, self.over, self.crashed = (self._numbers[n : n + 1] for n in range(3))
        self.acknowledged = self._numbers[8 : 8 + WRITERS]

    def units(self):
        """Return writer and number of each unit that is acknowledged."""
        counts = self.acknowledged.tolist()
        return [(writer, number) for writer in range(WRITERS) for number in range(counts[writer])]

    def wait_for_more(self):
        """Let the writers commit, and wait until they have."""
        before = self.acknowledged.sum()
        self.allowed += AHEAD
        until(lambda: self.acknowledged.sum() > before or self.crashed.any())


def numbers_of(writer, number):
    start = 1_000_000 * writer + UNIT * number
    return list(range(start, start + UNIT))


def recipe_of(writer, number):
    """Return the recipe of a unit: of some units of one writer, a recipe that has no other unit."""
    if writer or number % 8 != 3:
        return RECIPE
    return replace(RECIPE, weights=hashlib.sha256(str(number).encode()).hexdigest())


def opened(cache, recipe):
    """Open a recipe's store; gc may take the folder of one that is new for an old one without rows."""
    store = Store(recipe, cache)
    if recipe != RECIPE and not len(store):
        then = time.time() - ABANDONED - 60
        os.utime(store.folder, (then, then))
    return store


def write(cache, writer, shared):
    number = 0
    while not shared.over:
        store = opened(cache, recipe_of(writer, number))
        until(lambda: shared.allowed > number or shared.over)  # noqa: B023 - it is called here only
        numbers = numbers_of(writer, number)
        if number % 4 == 1:  # a damaged shard of this name is there
            path = store.path(f"{unit_id(store.recipe.id, [key(n) for n in numbers])}.h5")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(unit(numbers), store.recipe)[:-1])
        if number % 4 == 2:  # a part of these rows is there
            store.append(unit(numbers[:2]))
        store.append(unit(numbers))
        number += 1
        shared.acknowledged[writer] = number


def read(cache, seed, shared, say):
    """Read acknowledged rows in each way that there is, and say of each read what was wrong."""
    rng = random.Random(seed)
    kept = Store(RECIPE, cache)
    for turn in range(10**9):
        if shared.over:
            return
        units = shared.units()
        if not units:
            continue
        try:
            if turn % 8 == 6:
                names = {unit_id(recipe_of(*one).id, [key(n) for n in numbers_of(*one)]) for one in units}
                damaged = verify(cache, deep=rng.random() < 0.5).damaged
                say(f"false {sum(Path(damage.file).stem in names for damage in damaged)}")
            elif turn % 8 == 7:
                rows = sum(found.rows for found in info(cache))
                say("ok" if rows >= UNIT * len(units) else f"lost {UNIT * len(units) - rows}")
            else:
                some = rng.sample(units, min(len(units), 8))
                recipe = recipe_of(*some[0])
                numbers = [n for one in some if recipe_of(*one) == recipe for n in numbers_of(*one)]
                store = kept if recipe == RECIPE and turn % 2 else Store(recipe, cache)
                rows = store.rows([key(n) for n in numbers])
                say(f"wrong {int((rows != vectors(numbers)).any(axis=1).sum())}")
        except Exception as error:
            say(f"failed {type(error).__name__}: {' '.join(str(error).split())}")


def campaign(root, verb, rounds):
    found = dict.fromkeys(("lost", "wrong", "failed", "false", "left", "crashed"), 0)
    found |= {"stopped": 0, "reads": 0, "acknowledged": 0, "rounds": rounds, "said": []}
    encode(unit([0]), RECIPE)  # h5py is imported once, here
    for first in range(0, rounds, EPISODE):
        episode(Path(root) / str(first), verb, range(first, min(first + EPISODE, rounds)), found)
    return found


def episode(cache, verb, rounds, found):
    shared = Shared()
    Store(RECIPE, cache)

    def child(work, name):
        def guarded(say):
            try:
                work(say)
            except BaseException:
                shared.crashed += 1
                raise

        return Child(guarded, cache.with_name(f"{cache.name} {name}"))

    writers = [
        child(lambda say, writer=writer: write(cache, writer, shared), f"writer {writer}") for writer in range(WRITERS)
    ]
    readers = [
        child(lambda say, seed=seed: read(cache, seed, shared, say), f"reader {seed}") for seed in range(READERS)
    ]
    shared.wait_for_more()
    calls = 1
    for number in rounds:
        shared.allowed += AHEAD
        stop = Stop(number // 2 % calls + 1 if number % 2 else None, shared)
        with between(stop, TAKING, opens=False):
            VERBS[verb](cache)
        found["stopped"] += stop.stopped
        calls = max(stop.calls, 1)
    shared.over += 1
    ended = [each.wait() for each in (*writers, *readers)]
    found["crashed"] += sum(code != 0 for code, _ in ended)
    found["said"] += [path.read_text()[-2000:] for path in cache.parent.glob(f"{cache.name} *") if path.stat().st_size]
    judge(cache, shared.units(), [line for _, said in ended for line in said], found)


class Stop:
    """Stop before one of the calls, until others have committed more."""

    def __init__(self, at, shared):
        self.at, self.shared, self.calls, self.stopped = at, shared, 0, 0

    def __call__(self, name, call, args):
        self.calls += 1
        if self.calls == self.at:
            self.stopped += 1
            self.shared.wait_for_more()
        return call()


def judge(cache, units, said, found):
    """Count what readers have said, and what is in the cache in the end."""
    found["reads"] += len(said)
    for line in said:
        what, _, number = line.partition(" ")
        if what == "failed":
            found["failed"] += 1
            found["said"].append(line)
        elif what != "ok":
            found[what] += int(number)
    found["acknowledged"] += UNIT * len(units)
    for recipe in {recipe_of(*one) for one in units}:
        numbers = [n for one in units if recipe_of(*one) == recipe for n in numbers_of(*one)]
        store = Store(recipe, cache)
        there = [n for n in numbers if key(n) in store]
        found["lost"] += len(numbers) - len(there)
        found["wrong"] += int((store.rows([key(n) for n in there]) != vectors(there)).any(axis=1).sum())
    repair(cache)
    gc(cache)
    found["false"] += len(verify(cache, deep=True).damaged)
    found["left"] += len(leftovers(cache)) + len(list(cache.glob("removing")))


if __name__ == "__main__":
    script(globals())
