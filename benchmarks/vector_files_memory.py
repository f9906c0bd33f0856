"""Peak memory of writing a file of vectors, from 100,000 and from a million synthetic rows.

    python benchmarks/vector_files_memory.py [--suffix .parquet ...] [--rows 100000 1000000] [--dim 8]

Each file is written in a process of its own from a cache that another has filled, as `fc7 extract DATA
-o FILE` does where nothing is left to compute. Vectors are short, so that what each row needs beside its vector
shows: with long ones the block of vectors that is in memory hides it.

What a data set needs before a file is begun is counted on its own: packed paths and labels, the key of each image,
and where its row is. It grows with the rows by design. `ratio` leaves that growth out: it is what writing takes.
`raw` is the ratio of the peaks themselves. Memory is that of the process, so it has the libraries in it (VmRSS
before the file is begun, and VmHWM from then on).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

UNIT = 10_000  # rows of a shard


def memory(name):
    """Return a figure of this process in MB: VmRSS now, or VmHWM, its peak."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


def data_set(folder, count, dim):
    """Return a synthetic data set, hashed, and its recipe; rows on disk are in another order than its images."""
    from fc7.cache import Recipe
    from fc7.cache.keys import Keys
    from fc7.extract.manifest.columns import Images
    from fc7.extract.manifest.hashing import Hashed
    from fc7.extract.manifest.manifest import Manifest

    images = Images()
    for label in range(10):
        paths = (f"class {label}/some folder/picture {number:09}.jpg" for number in range(label, count, 10))
        images.extend(paths, f"class {label}", "train")
    keys = Keys(np.random.default_rng(0).integers(0, 256, (count, 32), np.uint8))
    first = keys.first()
    manifest = Manifest(folder, images, tuple(f"class {label}" for label in range(10)), name="synthetic")
    hashed = Hashed(manifest, folder / "cache", keys, {}, images=keys[first], first=first, seconds=0.0)
    return hashed, Recipe("synthetic", "fc7", dim, "0" * 64)


def fill(folder, count, dim):
    """Commit the rows of the data set."""
    from fc7.cache.directory import open_directory
    from fc7.cache.shard import Shard

    open_directory(folder / "cache")
    hashed, recipe = data_set(folder, count, dim)
    store = hashed.store(recipe)
    rng = np.random.default_rng(1)
    for start in range(0, count, UNIT):
        keys = hashed.images[start : start + UNIT]
        store.append(Shard(keys, rng.standard_normal((len(keys), dim)).astype(np.float16), {}, {"seconds": "1"}))


def write(folder, count, dim, suffix):
    """Write the file and print what this process had before, and at most."""
    from fc7.extract.vector_files.cached import CachedRows
    from fc7.extract.vector_files.formats import VectorFile

    hashed, recipe = data_set(folder, count, dim)
    output = VectorFile(folder / f"{suffix[1:]}{suffix}")  # .npy writes a .csv of its name, too
    rows = CachedRows(hashed, recipe)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory("VmRSS")
    output.write(rows)
    print(json.dumps({"before": before, "peak": memory("VmHWM")}))


def started(*words):
    """Run a step of this script in a process of its own and return what it prints."""
    environment = os.environ | {"MALLOC_ARENA_MAX": "2"}
    command = [sys.executable, __file__, *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def main():
    """Fill caches, write files, and print the peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suffix", nargs="+", default=[".parquet", ".csv", ".npz", ".npy", ".h5", ".safetensors"])
    parser.add_argument("--rows", nargs=2, type=int, default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step, folder, suffix = options.step
        where = Path(folder), options.rows[0], options.dim
        fill(*where) if step == "fill" else write(*where, suffix)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folders = {count: Path(temporary, str(count)) for count in options.rows}
        for count, folder in folders.items():
            folder.mkdir()
            started("--rows", count, count, "--dim", options.dim, "--step", "fill", folder, "-")
        print(f"{'suffix':14}{'rows':>10}{'data set, MB':>14}{'peak, MB':>10}")
        for suffix in options.suffix:
            peaks, added = [], []
            for count, folder in folders.items():
                words = ["--rows", count, count, "--dim", options.dim, "--step", "write", folder, suffix]
                figures = json.loads(started(*words))
                peaks.append(figures["peak"])
                added.append(figures["before"])
                print(f"{suffix:14}{count:>10,}{figures['before']:>14.0f}{figures['peak']:>10.0f}", flush=True)
            grown = added[1] - added[0]
            bytes_each = grown * 2**20 / (options.rows[1] - options.rows[0])
            print(f"{'':14}raw {peaks[1] / peaks[0]:.2f}, ratio {(peaks[1] - grown) / peaks[0]:.2f}; ", end="")
            print(f"the data set takes {bytes_each:.0f} bytes a row")


if __name__ == "__main__":
    main()
