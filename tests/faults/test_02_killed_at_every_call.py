"""Fault test 2: the process is killed before, in and after every call to the system that a commit makes."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from faulty import CHANGING, LOOKING, RECIPE, Child, Counter, alone, between, heard, key, leftovers, script, unit, wrong

from fc7.cache import Store, commit, listing
from fc7.cache.maintenance import compact, gc
from fc7.cache.shard import encode
from fc7.cache.verify import repair, verify

NUMBERS = range(24)
OPERATIONS = {
    "first commit": "The first commit of a cache",
    "later commit": "A later commit",
    "compact": "compact",
    "gc": "gc",
    "repair": "repair",
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_every_call(tmp_path, size, figure, operation):
    names = size([*CHANGING, "open"], [*CHANGING, *LOOKING])
    step = size(3 if operation.endswith("commit") else 5, 1)
    found = alone(__file__, "campaign", root=tmp_path, operation=operation, names=names, step=step)
    figure(
        f"{OPERATIONS[operation]} killed at every call",
        f"{found['kills']} SIGKILLs: before, in the middle of and after each of {found['calls']} calls to the system",
        f"unit absent {found['absent']} times, complete {found['complete']} times, in part {found['part']}; "
        f"{found['lost']} rows lost, {found['wrong']} wrong, {found['unopenable']} caches that do not open, "
        f"{found['unfinished']} that a second run does not finish, {found['left']} leftovers that gc leaves",
    )
    bad = ("part", "lost", "wrong", "unopenable", "unfinished", "left", "damaged")
    assert {name: found[name] for name in bad} == dict.fromkeys(bad, 0)
    assert found["kills"] > 1.5 * found["calls"] > 0, "nearly every call can be survived, for one moment at least"
    if operation == "later commit":
        assert found["absent"]
        assert found["complete"]


def test_a_commit_in_place_is_caught(tmp_path):
    """The twin: a shard written under its final name can be seen in part."""
    found = alone(__file__, "campaign", root=tmp_path, operation="later commit", names=["write"], in_place=True)
    assert found["part"] + found["damaged"] > 0


def prepare(cache, operation):
    """Make the cache that the operation is to find, and return which numbers it holds."""
    if operation == "first commit":
        return []
    held = list(NUMBERS[:16])
    made = Store(RECIPE, cache)
    for start in range(0, 16, 4):
        made.append(unit(held[start : start + 4]))
    if operation == "gc":
        made.append(unit(held))
        (cache / "recipes" / RECIPE.id / "tmp" / "x.0-0-0.1").write_bytes(b"")
        os.utime(cache / "recipes" / RECIPE.id / "tmp" / "x.0-0-0.1", (0, 0))
    if operation == "repair":
        (cache / "recipes" / RECIPE.id / "recipe.json").write_bytes(b"{")
        path = made.path(next(iter(made.entries)))
        held = [number for number in held if key(number) not in made.entries[path.name].keys]
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    return held


def perform(cache, operation):
    if operation.endswith("commit"):
        Store(RECIPE, cache).append(unit(NUMBERS[16:]))
    else:
        {"compact": compact, "gc": gc, "repair": repair}[operation](cache)


def campaign(root, operation, names, step=1, in_place=False):
    listing.READERS = 1  # the same calls in the same order each time
    root = Path(root)
    held = prepare(root / "template", operation)
    counts = "kills calls absent complete part lost wrong unopenable unfinished left damaged"
    found = dict.fromkeys(counts.split(), 0)
    encode(unit([0]), RECIPE)  # h5py is imported once, here
    # The moments begin at other calls, so that together they meet more; of the few writes, each is met.
    moments = {
        "before": (before, names, 1, step),
        "half": (half, ["write"], 1, 1),
        "after": (after, names, 1 + step // 2, step),
    }
    for moment, (act, at_these, first, each) in moments.items():
        at, calls = first - each, 1
        while at < calls:
            at += each
            cache = root / f"{moment} {at}"
            if held:
                shutil.copytree(root / "template", cache)
            survived = killed(cache, operation, at_these, act, at, in_place=in_place)
            calls = survived if survived is not None else max(calls, at + each)
            found["kills"] += survived is None
            found["calls"] += survived is None and moment == "before"
            look(cache, operation, held, found, said=survived is not None)
            shutil.rmtree(cache)
    return found


def killed(cache, operation, names, act, at, *, in_place):
    """Run the operation in a child that ends itself at a call; if it came to its end, return how many calls it made."""
    counter = Counter(act, at)

    def work(say):
        if in_place:
            commit.publish = lambda data, final, *_: write_in_place(data, final)
        with between(counter, names, opens=False):
            perform(cache, operation)
        say(len(counter.calls))

    code, said = Child(work).wait()
    assert code in (0, -signal.SIGKILL), code
    return int(said[0]) if said else None


def look(cache, operation, held, found, *, said):
    """Count what is wrong with the cache now, after a second run, and after tidying."""
    numbers = [*held, *NUMBERS[16:]] if operation.endswith("commit") else held
    try:
        with heard() as warnings:
            now = Store(RECIPE, cache)
    except Exception:
        found["unopenable"] += 1
        return
    there = [key(number) in now for number in NUMBERS[16:]]
    if operation.endswith("commit"):
        found["damaged"] += len(warnings)
        found["absent" if not any(there) else "complete" if all(there) else "part"] += 1
        found["lost"] += said and not all(there)
    found["lost"] += len(now.missing([key(number) for number in held]))
    found["wrong"] += wrong(now, numbers)
    perform(cache, operation)
    again = Store(RECIPE, cache)
    found["unfinished"] += bool(again.missing([key(number) for number in numbers]))
    found["wrong"] += wrong(again, numbers)
    found["damaged"] += len(verify(cache, deep=True).damaged) if operation != "gc" else 0
    gc(cache)
    found["left"] += len(leftovers(cache))
    last = Store(RECIPE, cache)
    found["lost"] += len(last.missing([key(number) for number in numbers]))
    assert sum(len(entry.keys) for entry in last.entries.values()) == len(last) == len(np.unique(numbers))


def before(name, call, args):
    os.kill(os.getpid(), signal.SIGKILL)


def half(name, call, args):
    """In the middle: of what is written, one half arrives."""
    real_write(args[0], bytes(args[1])[: len(args[1]) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


def after(name, call, args):
    call()
    os.kill(os.getpid(), signal.SIGKILL)


def write_in_place(data, final):
    """What the cache does not do."""
    final.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(final, os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(descriptor, data)
    os.close(descriptor)
    return True


real_write = os.write

if __name__ == "__main__":
    script(globals())
