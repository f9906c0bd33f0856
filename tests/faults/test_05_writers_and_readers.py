"""Fault test 5: processes that write the same units at the same time, without claims, while others read."""

import random
import threading
from pathlib import Path

from faulty import RECIPE, Child, Fake, alone, gallery, heard, key, leftovers, script, unit, warm_up, wrong
from waiting import spend, until

from fc7.cache import Store
from fc7.cache.shard import encode
from fc7.cache.verify import verify
from fc7.extract import fill, read_manifest

UNIT = 4  # rows
WRITERS = READERS = 4


def test_four_write_the_same_units_and_four_read(tmp_path, size, figure):
    units = size(24, 200)
    found = alone(__file__, "race", root=tmp_path, units=units)
    figure(
        "Writers and readers at once",
        f"{WRITERS} processes write the same {units} units, without claims; {READERS} read, {found['looks']} times",
        f"{found['shards']} shards, {found['twice']} rows twice, {found['errors']} errors of readers or writers, "
        f"{found['wrong']} wrong rows, {found['gone']} rows that a reader saw and then did not, "
        f"{found['left']} temporary files left",
    )
    assert (found["shards"], found["rows"]) == (units, UNIT * units)
    bad = ("twice", "errors", "wrong", "gone", "left", "damaged")
    assert {name: found[name] for name in bad} == dict.fromkeys(bad, 0), found["said"]
    assert found["looks"] > READERS, "the readers looked while the writers wrote"
    assert found["partial"] > 0, "some looks were at an unfinished cache"


def test_extractions_share_the_work_and_take_over_from_the_killed(tmp_path, size, figure):
    images = size(80, 400)
    found = alone(__file__, "share", root=tmp_path, images=images, rounds=size(1, 10))
    figure(
        "Extractions that share a folder",
        f"{found['rounds']} x {WRITERS} processes extract the same {images} images, one of them killed",
        f"{found['again']} of {found['units']} units computed more than once (by the killed and its heir, or at one "
        f"moment by two), {found['missing']} rows missing, {found['wrong']} wrong, {found['failed']} processes failed",
    )
    assert (found["missing"], found["wrong"], found["failed"]) == (0, 0, 0), found["said"]
    assert found["killed"] == found["rounds"]
    assert found["again"] <= found["rounds"] * WRITERS, "claims keep the processes out of each other's way"


def race(root, units):
    root = Path(root)
    cache, done = root / "cache", root / "done"
    encode(unit([0]), RECIPE)  # h5py is imported once, here
    numbers = range(UNIT * units)
    starts = range(0, len(numbers), UNIT)
    gate = root / "gate"

    def write(seed):
        def work(say):
            until(gate.exists)
            store = Store(RECIPE, cache)
            for place, start in enumerate(random.Random(seed).sample(starts, units)):
                store.append(unit(range(start, start + UNIT)))
                if place == 0:  # until every reader has seen an unfinished cache
                    until(lambda: len(list(root.glob("partial *"))) == READERS)

        return work

    def look(reader):
        def work(say):
            until(gate.exists)
            seen = set()
            last = False
            while not last:
                last = done.exists()
                with heard() as warnings:
                    store = Store(RECIPE, cache)
                there = {number for number in numbers if key(number) in store}
                say(f"{len(there)} {wrong(store, sorted(there))} {len(seen - there)} {len(warnings)}")
                seen = there
                if 0 < len(there) < len(numbers):
                    (root / f"partial {reader}").touch()

        return work

    writers = [Child(write(seed), root / f"writer {seed}") for seed in range(WRITERS)]
    readers = [Child(look(number), root / f"reader {number}") for number in range(READERS)]
    gate.touch()
    codes = [child.wait()[0] for child in writers]
    done.touch()
    ended = [child.wait() for child in readers]
    looks = [tuple(map(int, line.split())) for _, said in ended for line in said]
    store = Store(RECIPE, cache)
    return {
        "shards": len(list(store.folder.glob("shards/*/*"))),
        "rows": len(store),
        "twice": sum(len(entry.keys) for entry in store.entries.values()) - len(store),
        "errors": sum(code != 0 for code in [*codes, *(code for code, _ in ended)]) + sum(one[3] for one in looks),
        "wrong": wrong(store, numbers) + sum(one[1] for one in looks),
        "gone": sum(one[2] for one in looks),
        "looks": len(looks),
        "partial": sum(0 < one[0] < len(numbers) for one in looks),
        "left": len(leftovers(cache)),
        "damaged": len(verify(cache, deep=True).damaged),
        "said": [path.read_text()[-2000:] for path in [*root.glob("writer *"), *root.glob("reader *")]],
    }


def share(root, images, rounds):
    root = Path(root)
    warm_up(root)
    pictures = gallery(root / "pictures", images)
    manifest = read_manifest(pictures)
    recipe = Fake().recipes[0]
    found = dict.fromkeys(("units", "again", "missing", "wrong", "failed", "killed"), 0) | {
        "said": [],
        "rounds": rounds,
    }
    fill(manifest, [Fake()], cache=root / "right")
    right = Store(recipe, root / "right")
    keys = right.keys
    for number in range(rounds):
        cache, gate = root / f"cache {number}", root / f"gate {number}"
        Store(recipe, cache)

        def stay(say, cache=cache, gate=gate):
            backbone = Fake()
            backbone.on_forward = lambda: (say("unit"), gate.touch(), threading.Event().wait())
            fill(manifest, [backbone], cache=cache, workers=1)

        def work(say, cache=cache, gate=gate):
            backbone = Fake()
            backbone.on_forward = lambda: (say("unit"), spend(0.01))
            until(gate.exists)
            fill(manifest, [backbone], cache=cache, workers=1)

        children = [Child(work if child else stay, root / f"said {child}") for child in range(WRITERS)]
        until(gate.exists)
        until(lambda cache=cache, least=number % 7: len(list(cache.rglob("*.h5"))) >= least)
        children[0].kill()
        ended = [child.wait(120) for child in children]
        found["killed"] += ended[0][0] == -9
        found["failed"] += sum(code != 0 for code, _ in ended[1:])
        found["said"] += [(root / f"said {child}").read_text()[-2000:] for child in range(1, WRITERS)]
        store = Store(recipe, cache)
        found["missing"] += len(store.missing(keys))
        there = [one for one in keys if one in store]
        found["wrong"] += int((store.rows(there) != right.rows(there)).any(axis=1).sum())
        found["units"] += len(right.entries)
        found["again"] += sum(len(said) for _, said in ended) - len(right.entries)
    return found


if __name__ == "__main__":
    script(globals())
