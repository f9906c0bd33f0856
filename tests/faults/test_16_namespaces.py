"""Fault test 16: extractions in PID namespaces of one machine, as in containers, share a folder with gc at work."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faulty import Fake, alone, gallery, leftovers, script
from waiting import until

from fc7.cache import Store
from fc7.cache.maintenance import gc
from fc7.cache.processes import Process
from fc7.extract import fill, read_manifest

ROWS = 4  # of a unit


@pytest.fixture
def unshare():
    """Return the command that starts a process in a PID namespace of its own."""
    for more in ([], ["--user", "--map-root-user"]):
        words = ["unshare", *more, "--pid", "--fork"]
        try:
            subprocess.run([*words, "--mount-proc", "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return words
    pytest.skip("this machine makes no PID namespaces for its users (unshare --pid)")


def test_neither_gc_nor_the_other_takes_a_live_process_for_a_dead_one(tmp_path, unshare, size, figure):
    units = size(6, 200)
    gallery(tmp_path / "pictures", ROWS * units)
    Store(Fake().recipes[0], tmp_path / "cache")
    # So many numbers are used up in each that no process has in another namespace the one that it has in its own.
    several = 'i=0; while [ $i -lt $0 ]; do /bin/true; i=$((i+1)); done; "$@"'
    with ThreadPoolExecutor(3) as pool:
        places = {"first": ["--mount-proc"], "second": []}  # the second one sees the machine's /proc
        extractions = [
            pool.submit(alone, __file__, "extract", prefix=[*unshare, *more, "sh", "-c", several, count], root=tmp_path)
            for count, more in zip(("40", "80"), places.values(), strict=True)
        ]
        collected = pool.submit(alone, __file__, "collect", prefix=[*unshare, "--mount-proc"], root=tmp_path)
        try:
            ended = [extraction.result() for extraction in extractions]
        finally:
            (tmp_path / "done").touch()
        found = collected.result()
    store = Store(Fake().recipes[0], tmp_path / "cache")
    again = sum(one["units"] for one in ended) - units
    figure(
        "PID namespaces of one machine",
        f"2 extractions of {units} units, each in a namespace of its own, {found['rounds']} x gc in a third one",
        f"{len(found['removed'])} claims or files of a live process removed, {again} units computed twice, "
        f"{ROWS * units - len(store)} rows missing, 0 processes failed",
    )
    assert found["removed"] == []
    assert found["seen"] > units, "gc looked while units were claimed"
    assert len({one["namespaces"] for one in ended}) == 2
    assert len(store) == ROWS * units
    assert again <= 2, "claims keep the processes out of each other's way"
    assert leftovers(tmp_path / "cache") == []


def extract(root):
    """Extract, and have gc look at each claim and each temporary file before going on."""
    root, units, link = Path(root), [], os.link
    backbone = Fake()
    backbone.on_forward = lambda: (units.append(1), wait_for_rounds(root, 2))

    def linked(*names, **options):
        wait_for_rounds(root, 2)
        return link(*names, **options)

    os.link = linked
    until(lambda: rounds_of(root) >= 1)
    fill(read_manifest(root / "pictures"), [backbone], cache=root / "cache", workers=1)
    return {"units": len(units), "namespaces": Process.mine().namespaces}


def collect(root):
    """Collect garbage whenever there is something of the extractions to look at, until they have ended."""
    root, removed, rounds, seen = Path(root), [], 0, 0
    while not (root / "done").exists():
        seen += len(leftovers(root / "cache"))
        removed += [one.file for one in gc(root / "cache")]
        rounds += 1
        (root / "rounds.new").write_text(str(rounds))
        (root / "rounds.new").replace(root / "rounds")
        until(lambda: leftovers(root / "cache") or (root / "done").exists())
    return {"removed": removed, "rounds": rounds, "seen": seen}


def wait_for_rounds(root, count):
    """Wait until gc has looked at everything so often again."""
    end = rounds_of(root) + count
    until(lambda: rounds_of(root) >= end)


def rounds_of(root):
    return int((root / "rounds").read_text()) if (root / "rounds").exists() else 0


if __name__ == "__main__":
    script({"extract": extract, "collect": collect})
