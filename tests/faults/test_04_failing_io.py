"""Fault test 4: each call to the system fails, once or from then on; the command says so and can be run again."""

import collections
import errno
import os
import shutil
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from faulty import Child, Counter, Fake, alone, between, gallery, heard, leftovers, script, warm_up
from waiting import LONG

from fc7 import cli
from fc7.cache import Store
from fc7.cache.maintenance import gc
from fc7.cache.verify import verify
from fc7.extract.backbones import published

resource = pytest.importorskip("resource", reason="this system limits no memory and no files")

IMAGES = 10  # three units
ERRORS = ("ENOSPC", "EIO", "EMFILE", "EACCES")
SHORT = ("one byte", "half")
NAMED = ("cache", "pictures", "fc7.toml", "ulimit -n")  # by a line: what failed, or what to do
BAD = ("signals", "hangs", "tracebacks", "wordless", "undocumented", "unfinished", "wrong", "damaged", "left")


def test_each_call_fails(tmp_path, size, figure):
    processes = size(1, 2)  # each takes seconds to begin

    def share(number):
        root = tmp_path / str(number)
        root.mkdir()
        return alone(__file__, "campaign", root=root, step=size(263, 1), share=number, of=processes)

    with ThreadPoolExecutor(processes) as pool:
        found = merged([*pool.map(share, range(processes))])
    told = ", ".join(f"{count} x exit {code}" for code, count in sorted(found["codes"].items()))
    figure(
        "Failing calls",
        f"{found['runs']} runs of `fc7 extract`, in each of which one of its {found['calls']} calls fails "
        f"({', '.join(ERRORS)}, writes cut short), once or from then on",
        f"{told}; {found['signals']} ended by a signal, {found['hangs']} hung, {found['tracebacks']} tracebacks, "
        f"{found['wordless']} without a line that names what to do, {found['unfinished']} not completed by the next "
        f"run, {found['wrong']} with other rows than an undisturbed run",
    )
    assert {name: found[name] for name in BAD} == dict.fromkeys(BAD, 0), "\n".join(found["said"][:3])
    assert set(found["codes"]) == {"0", "1"}


def test_a_full_disk(tmp_path, size, figure):
    if not mounted(tmp_path / "disk", "size=1m"):
        pytest.skip("no small file system can be mounted here (that takes root)")
    try:
        found = alone(__file__, "full_disk", root=tmp_path, disk=tmp_path / "disk", step=size(32_768, 8192))
    finally:
        subprocess.run(["umount", tmp_path / "disk"], check=True)
    figure(
        "A full disk",
        f"`fc7 extract` into a file system of 1 MiB, with {found['tries']} different amounts of it free",
        f"{found['refused']} x exit 1 and one line, {found['fitted']} x exit 0; {found['signals']} ended by a signal, "
        f"{found['lost']} of {found['acknowledged']} acknowledged rows lost, {found['unfinished']} not completed once "
        "there was room",
    )
    assert found["refused"] > 0
    assert (found["signals"], found["lost"], found["unfinished"], found["wordless"]) == (0, 0, 0, 0), "\n".join(
        found["said"]
    )


def test_few_files_may_be_open(tmp_path, size, figure):
    found = alone(__file__, "few_files", root=tmp_path, step=size(5, 1))
    figure(
        "Few files may be open",
        f"`fc7 extract` with RLIMIT_NOFILE such that {found['fewest']} to {found['most']} more files can be opened",
        f"{found['refused']} x exit 1 and one line, {found['fitted']} x exit 0; {found['signals']} ended by a signal, "
        f"{found['unfinished']} not completed once the limit was lifted",
    )
    assert found["refused"] > 0
    assert (found["signals"], found["unfinished"], found["wordless"]) == (0, 0, 0), "\n".join(found["said"][:3])


def extract(pictures, cache, hook=None, limit=None):
    """Return what runs ``fc7 extract`` with a failing call in a child."""

    def work(say):
        published.load_backbone = lambda *_, **__: Fake()
        words = ["extract", str(pictures), "--cache", str(cache), "--workers", "1"]
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        if hook is None:
            return cli.main(words)
        with between(hook):
            code = cli.main(words)
        say(len(hook.calls))
        return code

    return work


def reference(root):
    warm_up(root)
    pictures = gallery(root / "pictures", IMAGES)
    counter = Counter()
    code, said = Child(extract(pictures, root / "right", counter), root / "said").wait()
    assert code == 0, (root / "said").read_text()
    store = Store(Fake().recipes[0], root / "right")
    keys = store.keys
    assert len(keys) == IMAGES
    return pictures, keys, store.rows(keys), int(said[0])


def merged(shares):
    """Add up what several processes found."""
    (calls,) = {found["calls"] for found in shares}
    sums = {name: sum(found[name] for found in shares) for name in (*BAD, "runs")}
    codes = sum((collections.Counter(found["codes"]) for found in shares), collections.Counter())
    return sums | {"calls": calls, "codes": codes, "said": [said for found in shares for said in found["said"]]}


def campaign(root, step, share, of):
    root = Path(root)
    pictures, keys, expected, calls = reference(root)
    found = dict.fromkeys((*BAD, "runs"), 0) | {"calls": calls, "said": []}
    codes = collections.Counter()
    for number, (act, persistent) in list(enumerate(plans()))[share::of]:
        for at in range(1 + 5 * number % step, calls + 1, step):  # each plan begins elsewhere: together they meet most
            cache = root / "cache"
            hook = Failing(act, at, persistent=persistent)
            what = f"{act}, call {at}{' and all later ones' if persistent else ''}"
            code, _ = Child(extract(pictures, cache, hook), root / "said").wait(LONG)
            codes[str(code)] += 1
            found["runs"] += 1
            judge(code, (root / "said").read_text(), what, found)
            finish(pictures, cache, root / "said", keys, expected, what, found)
            shutil.rmtree(cache, ignore_errors=True)
    return found | {"codes": codes}


def plans():
    for persistent in (False, True):
        for act in ERRORS:
            yield act, persistent
    for act in SHORT:
        yield act, True


class Failing(Counter):
    """One call, or all from one on, fails with an error or does less than was asked for."""

    def __init__(self, act, at, *, persistent):
        super().__init__()
        self.how, self.at, self.persistent = act, at, persistent

    def __call__(self, name, call, args):
        self.calls.append(name)
        number = len(self.calls)
        if number != self.at and not (self.persistent and number > self.at):
            return call()
        if self.how in SHORT:
            return self._short(name, call, args)
        if name == "close":
            call()  # the descriptor is gone even if close reports an error
        if name == "connect":
            raise sqlite3.OperationalError("unable to open database file")
        raise OSError(getattr(errno, self.how), os.strerror(getattr(errno, self.how)))

    def _short(self, name, call, args):
        if name != "write" or not isinstance(args[0], int):
            return call()
        return real_write(args[0], bytes(args[1])[: 1 if self.how == "one byte" else max(len(args[1]) // 2, 1)])


def judge(code, said, what, found):
    """Count what is wrong with how a run ended and what it said."""
    lines = [line for line in said.splitlines() if line.startswith("fc7: ")]
    bad = {
        "hangs": code is None,
        "signals": code is not None and code < 0,
        "tracebacks": "Traceback" in said,
        "undocumented": code not in (0, 1),
        "wordless": code == 1 and not (lines and any(word in lines[-1] for word in NAMED)),
    }
    for name, is_so in bad.items():
        found[name] += is_so
        if is_so:
            found["said"].append(f"{name}: {what}: exit {code}: {said[-1500:]}")


def finish(pictures, cache, output, keys, expected, what, found):
    """Run again without the fault and count what is not as after an undisturbed run."""
    code, _ = Child(extract(pictures, cache), output).wait(LONG)
    if code:
        found["unfinished"] += 1
        found["said"].append(f"unfinished: {what}: {output.read_text()}")
        return
    with heard() as warnings:
        store = Store(Fake().recipes[0], cache)
    found["unfinished"] += bool(store.missing(keys))
    found["wrong"] += not np.array_equal(store.rows([key for key in keys if key in store]), expected)
    found["damaged"] += len(verify(cache, deep=True).damaged) + len(warnings)
    gc(cache)
    found["left"] += len(leftovers(cache))


def mounted(folder, options):
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
        )
    except OSError:
        return False
    return done.returncode == 0


def full_disk(root, disk, step):
    root, disk = Path(root), Path(disk)
    pictures, keys, expected, _ = reference(root)
    found = dict.fromkeys((*BAD, "tries", "refused", "fitted", "lost", "acknowledged"), 0) | {"said": []}
    for free in range(0, 200_000, step):
        cache = disk / "cache"
        cache.mkdir()
        ballast(disk / "ballast", free)
        code, said = Child(acknowledged(pictures, cache), root / "said").wait(LONG)
        found["tries"] += 1
        found["refused" if code else "fitted"] += 1
        judge(code, (root / "said").read_text(), f"{free} bytes free", found)
        (disk / "ballast").unlink()
        finish(pictures, cache, root / "said", keys, expected, f"{free} bytes free", found)
        found["acknowledged"] += len(said)
        store = Store(Fake().recipes[0], cache)
        found["lost"] += len(set(said) - store.entries.keys())
        shutil.rmtree(cache)
    return found


def acknowledged(pictures, cache):
    """Run ``fc7 extract`` and say which shards it has acknowledged."""

    def work(say):
        append = Store.append

        def appended(self, shard):
            path = append(self, shard)
            say(path.name)
            return path

        Store.append = appended
        return extract(pictures, cache)(say)

    return work


def ballast(path, free):
    """Fill a file system but for some bytes."""
    with path.open("wb") as file:
        room = os.statvfs(path).f_bavail * os.statvfs(path).f_frsize - free
        file.write(bytes(max(room, 0)))


def few_files(root, step):
    root = Path(root)
    pictures, keys, expected, _ = reference(root)
    found = dict.fromkeys((*BAD, "refused", "fitted"), 0) | {"said": [], "fewest": 0, "most": 15}
    used = max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 1
    for more in range(found["fewest"], found["most"] + 1, step):
        cache = root / "cache"
        code, _ = Child(extract(pictures, cache, limit=used + more), root / "said").wait(LONG)
        found["refused" if code else "fitted"] += 1
        judge(code, (root / "said").read_text(), f"{more} more files", found)
        finish(pictures, cache, root / "said", keys, expected, f"{more} more files", found)
        shutil.rmtree(cache)
    return found


real_write = os.write

if __name__ == "__main__":
    script(globals())
