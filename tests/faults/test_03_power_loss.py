"""Fault test 3: the power fails at any moment; the disk keeps what was synced, and of the rest whatever it likes."""

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from faulty import RECIPE, alone, heard, key, script, unit, vectors, wrong
from powerloss import Disk, Stopped, Trace

from fc7.cache import Recipe, Store, commit, files
from fc7.cache.index import Index, stat_line
from fc7.cache.maintenance import compact
from fc7.errors import CacheError

NUMBERS = range(30)
OTHER = Recipe("fake", "other", 16, "f" * 64, dtype="float32")
INDEXES = ("missing", "old", "old, and believed", "random bytes")
LOST = ("lost", "wrong", "unopenable", "unfinished")


def test_power_loss(tmp_path, size, figure):
    found = alone(__file__, "campaign", root=tmp_path, states=size(40, 500), traces=size(4, 25))
    figure(
        "Power loss",
        f"{found['states']} disks as a power loss may leave them, after {found['traces']} traced runs of "
        f"{found['events']} writes, syncs and changes of names ({found['stopped']} of the runs killed and resumed); "
        f"{found['hit']} unsynced files and names lost, torn or zeroed; index absent, old or random bytes",
        f"{found['acknowledged']} rows were acknowledged: {found['lost']} lost, {found['wrong']} wrong, "
        f"{found['quarantined']} damaged shards set aside, {found['unopenable']} caches that do not open, "
        f"{found['unfinished']} not completed by the next run",
    )
    assert {name: found[name] for name in LOST} == dict.fromkeys(LOST, 0)
    assert found["states"] == size(40, 500)
    assert found["hit"] > found["states"]
    assert found["acknowledged"] > 0


@pytest.mark.parametrize("without", ["syncs_files", "syncs_folders"])
def test_without_a_sync_rows_are_lost(tmp_path, size, figure, without):
    """The twins: the same runs, on a disk that ignores fsync of files, or of folders."""
    least = size(1, 10**9)
    found = alone(__file__, "campaign", root=tmp_path, states=100, traces=2, least=least, **{without: False})
    assert found["lost"] > 0
    what = {"syncs_files": "files", "syncs_folders": "folders"}[without]
    figure(
        f"The same, had the cache not synced its {what}",
        f"{found['states']} disks",
        f"{found['lost']} of {found['acknowledged']} acknowledged rows lost, {found['wrong']} wrong",
    )


def test_trusting_what_a_killed_process_left_loses_rows(tmp_path, size):
    """The twin for kill, resume and then power loss: names that another process made need to be synced, too."""
    found = alone(__file__, "campaign", root=tmp_path, states=300, traces=size(6, 25), trusting=True, least=1)
    assert found["lost"] > 0


def campaign(root, states, traces, trusting=False, least=10**9, **syncs):
    root, chance = Path(root), random.Random(3)
    if trusting:
        commit.make_folder = files.make_folder = trusting_make_folder
        Store._settle = lambda self, names: None
    found = dict.fromkeys((*LOST, "states", "events", "stopped", "hit", "acknowledged", "quarantined"), 0)
    found["traces"] = traces
    made = [record(root / f"trace {number}", chance, found) for number in range(traces)]
    real_sync, os.fsync = os.fsync, lambda descriptor: None  # the rest needs no disk
    try:
        for number in range(states):
            try_one(made[number % traces], root / f"state {number}", chance, found, syncs)
            if found["lost"] >= least:  # of a twin, which has shown what it should
                break
    finally:
        os.fsync = real_sync
    return found


def trusting_make_folder(folder, root=None):
    if not folder.is_dir():
        if folder.parent != root:
            trusting_make_folder(folder.parent, root)
        folder.mkdir(exist_ok=True)
        files.sync_folder(folder.parent)


def record(root, chance, found):
    """Trace a run of commits and a merge, killed at a random moment and resumed, but for the first."""
    root.mkdir()
    trace = Trace(root)
    numbers = list(NUMBERS)
    chance.shuffle(numbers)
    if found["stopped"] or found["events"]:
        trace.stop_at = chance.randrange(1, 150)
        with trace.recording():
            try:
                commits(root / "cache", numbers, trace)
            except Stopped:
                found["stopped"] += 1
        trace.stop_at = None
    forget()
    with trace.recording():
        commits(root / "cache", numbers, trace)
    found["events"] += len(trace.events)
    return trace


def commits(directory, numbers, trace):
    """What an extraction into two recipes does, in small units, and a merge of them."""
    for start in range(0, len(numbers), 6):
        some = numbers[start : start + 6]
        for recipe in (RECIPE, OTHER):
            rows = Store(recipe, directory)
            if rows.missing(map(key, some)):
                rows.append(unit(some))
            assert not rows.missing(map(key, some))
            trace.note("kept", recipe, some)
            save_index(directory, trace)
    compact(directory)
    save_index(directory, trace)


def forget():
    """What a process remembers of the folders that it has synced is not known to the next."""
    files._synced.clear()


def save_index(directory, trace):
    trace.note("index", (directory / "index.sqlite").read_bytes())


def try_one(trace, target, chance, found, syncs):
    """Let the power fail somewhere in a trace, and look at what the cache makes of the disk."""
    events = trace.events[: chance.randrange(len(trace.events) + 1)]
    found["hit"] += Disk(trace.root, events, **syncs).lose_power(target, chance)
    found["states"] += 1
    cache = target / "cache"
    give_index(cache, [event[1] for event in events if event[0] == "index"], found["states"], chance)
    kept = {recipe: set() for recipe in (RECIPE, OTHER)}
    for event in events:
        if event[0] == "kept":
            kept[event[1]].update(event[2])
    for recipe, numbers in kept.items():
        found["acknowledged"] += len(numbers)
        look(cache, recipe, numbers, found)
    shutil.rmtree(target)


def look(cache, recipe, numbers, found):
    forget()
    try:
        with heard() as warnings:
            first = Store(recipe, cache)
            found["wrong"] += wrong(first, NUMBERS)
            found["lost"] += len(first.missing(map(key, numbers)))
        found["quarantined"] += sum("set aside" in one.lower() for one in warnings)
        left = [number for number in NUMBERS if key(number) not in first]
        if left:
            first.append(unit(left))
        again = Store(recipe, cache)
        same = np.array_equal(again.rows([key(number) for number in NUMBERS]), vectors(NUMBERS))
        found["unfinished"] += not same
    except CacheError as error:
        print(error)  # noqa: T201
        found["unopenable"] += 1


def give_index(cache, before, number, chance):
    """Put an index beside the shards: none, that of an earlier moment as it was or as if nothing had changed, noise."""
    kind = INDEXES[number % len(INDEXES)]
    path = cache / "index.sqlite"
    if (
        kind == "missing" or not cache.is_dir() or not (before or (cache / "FORMAT").exists())
    ):  # sqlite comes after FORMAT is synced
        return
    if kind == "random bytes":
        path.write_bytes(chance.randbytes(chance.randrange(1, 9000)))
    elif before:
        path.write_bytes(chance.choice(before))
    if kind == "old, and believed" and before:
        index = Index(cache)
        for recipe in (RECIPE, OTHER):
            entries = index.shards(recipe.id)
            for name, entry in entries.items():
                shard = cache / "recipes" / recipe.id / "shards" / name[:2] / name
                if shard.exists():
                    entries[name] = entry._replace(stat=stat_line(shard.stat()))
            index.remember_shards(recipe.id, entries)


if __name__ == "__main__":
    script(globals())
