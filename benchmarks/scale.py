"""Claims about millions of images: what planning, committing and a repeated extract cost, without decoding a picture.

    python benchmarks/scale.py [--sizes 100000,300000,1000000] [--ten-million] [--folder DIR] [--json FILE]

For each size a folder of that many empty files is made, an index that knows their (invented) hashes, and an empty
cache. Then, each in a process of its own whose peak of memory is read from the system:

- plan: read_manifest, a stat of every file against the index, missing keys against the store, names of all units;
- commit: all units through Store.append, synced to the disk as always, with 256 numbers per row (AlexNet's gap);
- open: the store as the next process finds it, once with the index and once after the index was deleted;
- again: `fc7 extract FOLDER`, the whole verb, which has nothing to compute;
- part: the same with `--shard 3/8`;
- writers: shards per second of one process and of eight at once, which share the index.

Files of 1e6 and less are files; those of 1e7 are links to a thousand of them, which a file system has room for. From
the costs per image the table of docs/scale.md is printed; its assumptions are the constants below.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PER_FOLDER = 1000
WRITERS, WRITTEN = 8, 100  # processes, and shards of each
LINKED = 5_000_000  # from here on, names are links
ROWS = 1024
OPTIONS = ("--backbone", "alexnet", "--layer", "gap")

# Assumptions of the projection; everything else is measured here.
DIM = 4096  # fc7 of AlexNet or VGG16, float16
IMAGE_BYTES = 110e3  # ImageNet's average
HASH_BYTES_PER_SECOND = 1.2e9  # sha256 on one core, benchmarks/cache.py
DECODE_MS = 3.3  # one core, 500 x 375 pixels, docs/extraction.md
CORES_PER_GPU = 12  # as cloud machines have them
GPU_IMAGES_PER_SECOND = {"alexnet": 8000, "vgg16": 1500}  # not measured: forward pass of an A100, mixed precision


def peak():
    """Return the most memory that this process has had, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


class Timer:
    """Seconds by name."""

    def __init__(self):
        self.seconds, self._last = {}, time.perf_counter()

    def __call__(self, name):
        """Assign the time since the last call to a name."""
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now


def keys_of(count):
    """Return as many invented keys, the same ones each time."""
    import numpy as np

    from fc7.cache.keys import Keys

    return Keys(np.random.default_rng(count).integers(0, 256, (count, 32), np.uint8))


def recipe_of(folder):
    """Return the recipe of the verb that is measured."""
    from fc7.extract import load_backbone

    return load_backbone("alexnet", "gap", weights=f"file:{folder / 'weights.pth'}", cache=folder / "cache").recipes[0]


def build(folder, count):
    """Make names, an index that knows what they hold, and weights that nobody will run."""
    import torch
    from torchvision.models import alexnet

    from fc7.cache.directory import open_directory
    from fc7.cache.index import Index, stat_line

    timer, then = Timer(), 1_500_000_000
    open_directory(folder / "cache")
    originals = []
    for number in range(count):
        split = "val" if number // PER_FOLDER % 10 == 9 else "train"
        label = number // PER_FOLDER // 10 * 10 + (0 if split == "val" else number // PER_FOLDER % 10)
        if number % PER_FOLDER == 0:
            above = folder / "data" / split / f"class {label:06}"
            above.mkdir(parents=True, exist_ok=True)
        path = f"{above}/{number:09}.jpg"
        if count >= LINKED and number >= PER_FOLDER:
            os.link(originals[number % PER_FOLDER], path)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            os.utime(path, (then, then))
            originals.append(path)
    timer("files")
    names = [path for _, path in sorted((path.name, path) for path in (folder / "data").glob("*/*"))]
    keys, index, number = iter(keys_of(count)), Index(folder / "cache"), 0
    for above in sorted((folder / "data").glob("*/*")):
        found = sorted(os.scandir(above), key=lambda entry: entry.name)
        rows = [(os.fsencode(entry.path), stat_line(entry.stat()), next(keys)) for entry in found]
        index.remember_files(rows)
        number += len(rows)
    assert number == count, (number, count, len(names))
    timer("index")
    torch.save(alexnet().state_dict(), folder / "weights.pth")
    os.utime(folder / "weights.pth", (then, then))
    recipe_of(folder)
    return timer.seconds


def plan(folder, count):
    """Plan a first extraction: everything is missing."""
    recipe = recipe_of(folder)
    from fc7.cache.shard import unit_id
    from fc7.extract.manifest.hashing import Hashed
    from fc7.extract.manifest.manifest import read_manifest

    before, begun, timer = peak(), time.process_time(), Timer()
    manifest = read_manifest(folder / "data")
    timer("manifest")
    hashed = Hashed.of(manifest, folder / "cache")
    timer("stat and index")
    missing = hashed.store(recipe).missing(hashed.images)
    timer("missing")
    names = {unit_id(recipe.id, missing[start : start + ROWS]) for start in range(0, len(missing), ROWS)}
    timer("unit names")
    assert (len(missing), len(names), len(hashed.files(missing[:ROWS]))) == (count, -(-count // ROWS), min(count, ROWS))
    return timer.seconds | {"cpu": time.process_time() - begun, "peak": peak(), "interpreter": before}


def commit(folder, count):
    """Commit rows for all of them."""
    recipe = recipe_of(folder)
    import numpy as np

    from fc7.cache import Store
    from fc7.cache.shard import Shard

    keys = keys_of(count).unique()
    store = Store(recipe, folder / "cache")
    rows = np.random.default_rng(0).random((ROWS, recipe.dim), np.float32).astype(recipe.dtype)
    took = []
    for start in range(0, count, ROWS):
        unit = keys[start : start + ROWS]
        begun = time.perf_counter()
        store.append(Shard(unit, rows[: len(unit)], {}, {"seconds": "1"}))
        took.append(time.perf_counter() - begun)
    tenth = max(len(took) // 10, 1)
    sizes = [path.stat().st_size for path in store.folder.glob("shards/*/*.h5")]
    return {
        "all": sum(took),
        "per shard": sum(took) / len(took),
        "per shard, first tenth": sum(took[:tenth]) / tenth,
        "per shard, last tenth": sum(took[-tenth:]) / tenth,
        "shards": len(sizes),
        "shard overhead": sum(sizes) / len(sizes) - ROWS * recipe.dim * 2,
        "index": (folder / "cache" / "index.sqlite").stat().st_size,
        "peak": peak(),
    }


def reopen(folder, count):
    """Open the store as the next process does."""
    recipe = recipe_of(folder)
    from fc7.cache import Store

    timer = Timer()
    store = Store(recipe, folder / "cache")
    timer("open")
    most = peak()
    assert len(store) == count
    return timer.seconds | {"peak": most}


def reopen_without_index(folder, count):
    """Open it where the index is gone: every shard is read and checked."""
    kept = (folder / "cache" / "index.sqlite").rename(folder / "index.sqlite")
    try:
        return reopen(folder, count)
    finally:
        kept.rename(folder / "cache" / "index.sqlite")


def again(folder, count, *more):
    """Run the verb, which finds nothing to compute."""
    import contextlib
    import io

    begun = time.perf_counter()
    from fc7.cli import main

    said = io.StringIO()
    words = [folder / "data", *OPTIONS, "--weights", f"file:{folder / 'weights.pth'}", "--cache", folder / "cache"]
    with contextlib.redirect_stdout(said):
        code = main(["extract", *map(str, words), *more, "--json", "--quiet"])
    answer = json.loads(said.getvalue())
    assert (code, answer["computed"]) == (0, 0), answer
    assert more or answer["ok"] == count
    return {"all": time.perf_counter() - begun, "cpu": time.process_time(), "seen": answer["seen"], "peak": peak()}


def part(folder, count):
    """Run it for one part of eight."""
    return again(folder, count, "--shard", "3/8")


def writers(folder, count):
    """Let one process and then several commit at once: they share one index."""
    found = {}
    for several in (1, WRITERS):
        code = f"import runpy; runpy.run_path({__file__!r})['write']({str(folder)!r}, {several})"
        started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(several)]
        spans = [json.loads(one.communicate()[0]) for one in started]
        begun, ended = min(span[0] for span in spans), max(span[1] for span in spans)
        found[str(several)] = several * WRITTEN / (ended - begun)
        found[f"{several}, longest"] = max(span[2] for span in spans)
    return found


def write(folder, several):
    """Commit shards of small rows to a store of its own, in the cache of all; say from when to when."""
    import numpy as np

    from fc7.cache import Recipe, Store
    from fc7.cache.shard import Shard

    store = Store(Recipe("writer", "small", 4, os.urandom(32).hex()), Path(folder) / "cache")
    keys, rows = keys_of(ROWS * WRITTEN), np.zeros((ROWS, 4), np.float16)
    time.sleep(several > 1)  # until all are there
    times = [time.time()]
    for start in range(0, ROWS * WRITTEN, ROWS):
        store.append(Shard(keys[start : start + ROWS], rows))
        times.append(time.time())
    print(json.dumps([times[0], times[-1], max(np.diff(times))]))


STEPS = {
    "build": build,
    "plan": plan,
    "commit": commit,
    "open": reopen,
    "open without index": reopen_without_index,
    "again": again,
    "part": part,
    "writers": writers,
}


def measure(count, above):
    """Run every step of one size in a process of its own."""
    found = {}
    with tempfile.TemporaryDirectory(dir=above) as folder:
        for name in STEPS:
            command = [sys.executable, __file__, "--step", name, "--folder", folder, "--sizes", str(count)]
            repeat = name in ("plan", "again")  # the second time, names and the index are in the system's memory
            for _ in range(1 + repeat):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{name} of {count}: {done.stderr}")
                found[name] = json.loads(done.stdout)
    return found


def show(sizes):
    """Print what was measured, per size and per image."""
    rows = [
        ("planning, seconds", lambda one: sum_of(one["plan"])),
        ("planning, microseconds per image", lambda one: sum_of(one["plan"]) / one["count"] * 1e6),
        ("... of the processor", lambda one: one["plan"]["cpu"] / one["count"] * 1e6),
        ("... reading the folder", lambda one: one["plan"]["manifest"] / one["count"] * 1e6),
        ("... stat and index", lambda one: one["plan"]["stat and index"] / one["count"] * 1e6),
        ("... missing keys and unit names",
         lambda one: (one["plan"]["missing"] + one["plan"]["unit names"]) / one["count"] * 1e6),
        ("planning, peak MB", lambda one: one["plan"]["peak"]),
        ("... of which before the first image", lambda one: one["plan"]["interpreter"]),
        ("commit, milliseconds per shard", lambda one: one["commit"]["per shard"] * 1e3),
        ("... first tenth", lambda one: one["commit"]["per shard, first tenth"] * 1e3),
        ("... last tenth", lambda one: one["commit"]["per shard, last tenth"] * 1e3),
        ("opening the store, seconds", lambda one: one["open"]["open"]),
        ("... without the index", lambda one: one["open without index"]["open"]),
        ("opening the store, peak MB", lambda one: one["open"]["peak"]),
        ("extract again, seconds", lambda one: one["again"]["all"]),
        ("... of the processor", lambda one: one["again"].get("cpu")),
        ("extract again, peak MB", lambda one: one["again"]["peak"]),
        ("extract again, one part of eight, seconds", lambda one: one["part"]["all"]),
        ("... peak MB", lambda one: one["part"]["peak"]),
        ("shards per second, small rows, one process", lambda one: one["writers"]["1"]),
        (f"... {WRITERS} processes", lambda one: one["writers"][str(WRITERS)]),
        ("... the longest commit, seconds", lambda one: one["writers"][f"{WRITERS}, longest"]),
        ("index, bytes per image", lambda one: one["commit"]["index"] / one["count"]),
    ]  # fmt: skip
    table(
        ["", *(f"{one['count']:,}" for one in sizes)],
        [[name, *(shown(of(one)) for one in sizes)] for name, of in rows],
    )


def shown(value):
    """Return a figure; empty where an earlier version of this script did not measure it."""
    return "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def sum_of(plan):
    """Return the seconds of a plan."""
    return sum(seconds for name, seconds in plan.items() if name not in ("cpu", "peak", "interpreter"))


def project(largest):
    """Print what more images would take on more devices, from the costs per image of the largest size."""
    rows = []
    for images in (1e6, 1e7, 1e8):
        shards = images / ROWS
        storage = shards * (ROWS * DIM * 2 + largest["commit"]["shard overhead"])
        index = images * largest["commit"]["index"] / largest["count"]
        for devices in (1, 8, 64):
            hours = [seconds(largest, images, devices, speed) / 3600 for speed in GPU_IMAGES_PER_SECOND.values()]
            memory = images * bytes_per_image(largest, devices)
            sizes = f"{storage / 1e9:,.0f}", f"{shards:,.0f}", f"{index / 1e9:.2g}", f"{memory / 1e9:.2g}"
            rows.append([f"{images:.0e}".replace("e+0", "e"), devices, *(f"{one:.2g}" for one in hours), *sizes])
    head = ["images", "GPUs", *(f"{name}, hours" for name in GPU_IMAGES_PER_SECOND)]
    table([*head, "rows, GB", "shards", "index, GB", "planning memory of a process, GB"], rows)


def seconds(largest, images, devices, speed):
    """Return what a first extraction takes with a part for each device.

    Every process lists all names; its own part it hashes, then plans, and decodes and computes at the pace of what is
    slower, while its threads commit. All of them together commit no faster than one index takes it.
    """
    count, cores = largest["count"], CORES_PER_GPU
    listing = largest["plan"]["manifest"] / count * images
    planning = (sum_of(largest["plan"]) - largest["plan"]["manifest"]) / count * images / devices
    hashing = IMAGE_BYTES / HASH_BYTES_PER_SECOND / cores * images / devices
    rate = min(
        speed,
        cores / (DECODE_MS / 1e3 + IMAGE_BYTES / HASH_BYTES_PER_SECOND),
        largest["writers"][str(WRITERS)] * ROWS / devices,
    )
    commits = commit_seconds(largest) / ROWS * images / devices / cores
    return listing + planning + hashing + images / devices / rate + commits


def bytes_per_image(largest, parts):
    """Return what planning holds for each image of the whole data set: something for all of them, the rest by part."""
    count, before = largest["count"], largest["plan"]["interpreter"]
    whole, eighth = ((largest[name]["peak"] - before) * 2**20 / count for name in ("again", "part"))
    always = (eighth - whole / 8) * 8 / 7
    return always + (whole - always) / parts


def commit_seconds(largest):
    """Return what committing a shard of :data:`DIM` numbers per row costs: what was measured, and writing the rest."""
    return largest["commit"]["per shard"] + ROWS * DIM * 2 / HASH_BYTES_PER_SECOND


def table(head, rows):
    """Print a table of Markdown."""
    print()
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(map(str, row)) + " |")


def main():
    """Measure each size, print what was found and what it means for more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="100000,300000,1000000", help="(default: %(default)s)")
    parser.add_argument("--ten-million", action="store_true", help="and 10,000,000 names, linked; about half an hour")
    parser.add_argument("--folder", type=Path, help="where to make them (default: the folder for temporary files)")
    parser.add_argument("--json", type=Path, help="write everything that was measured")
    parser.add_argument("--read", type=Path, help="print the tables of such a file and measure nothing")
    parser.add_argument("--step", choices=tuple(STEPS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    counts = [int(float(size)) for size in arguments.sizes.split(",")]
    if arguments.step:
        print(json.dumps(STEPS[arguments.step](arguments.folder, counts[0])))
        return
    if arguments.read:
        sizes = json.loads(arguments.read.read_text())
    else:
        counts += [10_000_000] * arguments.ten_million
        sizes = [{"count": count, **measure(count, arguments.folder)} for count in counts]
    if arguments.json:
        arguments.json.write_text(json.dumps(sizes, indent=1) + "\n")
    show(sizes)
    project(max((one for one in sizes if one["count"] < LINKED), key=lambda one: one["count"], default=sizes[-1]))


if __name__ == "__main__":
    main()
