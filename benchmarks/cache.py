"""Claims about the cache: what committing, reading, verifying and a repeated extract cost, against the alternatives.

    python benchmarks/cache.py [--json FILE]

Everything is measured in one run, alternating, medians of several rounds; the ratios are the claim, the seconds belong
to the machine. The matrix is 65,536 x 4,096 float16 (0.54 GB) and is read from the page cache. The layout with a group
per image is written and read at an eighth of that and compared per row.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np

from fc7.cache import Recipe, Store
from fc7.cache.shard import Shard
from fc7.extract import load_backbone

SHARDS, ROWS, DIM = 64, 1024, 4096
FEW = SHARDS // 8
RECIPE = Recipe("alexnet", "fc7", DIM, "0" * 64)
FILES = 20_000


def seconds(work, *given):
    """Return how long a call takes; what it returns is thrown away before the clock is read again."""
    start = time.perf_counter()
    work(*given)
    return time.perf_counter() - start


def alternating(rounds, **works):
    """Run each work once per round, in turn, after one round that does not count; return the medians."""
    times = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            took = seconds(work)
            if number:
                times[name].append(took)
    return {name: statistics.median(several) for name, several in times.items()}


def keys_of(number):
    """Return the keys of one shard's rows."""
    return [hashlib.sha256(f"{number}/{row}".encode()).digest() for row in range(ROWS)]


def write_alternatives(folder, matrix):
    """Write the same rows as other tools keep them."""
    np.save(folder / "matrix.npy", matrix)
    with h5py.File(folder / "contiguous.h5", "w") as file:
        file["embeddings"] = matrix
    with h5py.File(folder / "fletcher32.h5", "w") as file:
        file.create_dataset("embeddings", data=matrix, chunks=(16, DIM), fletcher32=True)


def append_and_flush(path, matrix):
    """One growing file, flushed after every batch of 32: what a kill can destroy."""
    with h5py.File(path, "w") as file:
        rows = file.create_dataset("embeddings", (0, DIM), "f2", maxshape=(None, DIM), chunks=(32, DIM))
        for start in range(0, len(matrix), 32):
            rows.resize(start + 32, axis=0)
            rows[start:] = matrix[start : start + 32]
            file.flush()


def group_per_image(path, matrix):
    """Keep every row in a group of its own, as features by image name are often kept."""
    with h5py.File(path, "w") as file:
        for number, row in enumerate(matrix):
            file.create_dataset(f"{number}/embedding", data=row)


def read_groups(path, count):
    """Read them back into one matrix."""
    with h5py.File(path) as file:
        np.stack([file[f"{number}/embedding"][:] for number in range(count)])


def read_h5(path):
    """Read a matrix by h5py alone."""
    with h5py.File(path) as file:
        file["embeddings"][:]


def reading(folder, rounds):
    """Time reading all rows back, and verifying them for the first time."""
    generator = np.random.default_rng(0)
    matrix = generator.random((SHARDS * ROWS, DIM), np.float32).astype(np.float16)
    keys = [key for number in range(SHARDS) for key in keys_of(number)]
    store = Store(RECIPE, folder / "cache")
    for number in range(SHARDS):
        rows = slice(number * ROWS, (number + 1) * ROWS)
        store.append(Shard(keys[rows], matrix[rows]))
    write_alternatives(folder, matrix)
    append_and_flush(folder / "appended.h5", matrix)
    group_per_image(folder / "groups.h5", matrix[: FEW * ROWS])
    order = generator.permutation(len(keys))
    shuffled = [keys[number] for number in order]
    assert (store.rows(shuffled) == matrix[order]).all()
    del matrix
    shards = sorted(store.folder.glob("shards/*/*.h5"))

    def verify():
        store.index.forget_all()
        Store(RECIPE, folder / "cache")

    def verify_and_read():
        store.index.forget_all()
        Store(RECIPE, folder / "cache").rows(keys)

    def sha256(threads):
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda path: hashlib.sha256(path.read_bytes()).digest(), shards))

    return alternating(
        rounds,
        numpy_load=lambda: np.load(folder / "matrix.npy"),
        fc7_in_order=lambda: store.rows(keys),
        fc7_shuffled=lambda: store.rows(shuffled),
        h5py_contiguous=lambda: read_h5(folder / "contiguous.h5"),
        h5py_appended=lambda: read_h5(folder / "appended.h5"),
        h5py_fletcher32=lambda: read_h5(folder / "fletcher32.h5"),
        group_per_image=lambda: read_groups(folder / "groups.h5", FEW * ROWS),
        fc7_verify=verify,
        fc7_verify_and_read=verify_and_read,
        sha256_one_thread=lambda: sha256(1),
        sha256_all_cores=lambda: sha256(os.cpu_count()),
    )


def committing(folder, rounds):
    """Time making 1,024 rows durable, and the fastest that AlexNet could compute them: the network alone."""
    store = Store(RECIPE, folder / "commits")
    matrix = np.random.default_rng(1).random((ROWS, DIM), np.float32).astype(np.float16)
    number = iter(range(10**6))
    alexnet = load_backbone("alexnet", "fc7", weights="random:0", device="cpu", batch_size=32, cache=folder / "commits")
    batch = np.random.default_rng(2).integers(0, 256, (32, 224, 224, 3), np.uint8)
    alexnet.load()

    def network():
        for _ in range(ROWS // 32):
            alexnet.forward(batch)

    return alternating(
        rounds,
        fc7_commit=lambda: store.append(Shard(keys_of(f"commit {next(number)}"), matrix)),
        append_and_flush=lambda: append_and_flush(folder / "one.h5", matrix),
        group_per_image=lambda: group_per_image(folder / "many.h5", matrix),
        alexnet_forward=network,
    )


def walk(folder):
    """See every file of a tree once: the reference."""
    for entry in os.scandir(folder):
        if entry.is_dir():
            walk(entry.path)
        else:
            entry.stat()


def repeating(folder, rounds):
    """Time a repeated extract of 20,000 unchanged files, the interpreter's start, and walking the tree."""
    data, cache = folder / "data", folder / "repeated"
    then = time.time() - 3600
    for number in range(FILES):
        path = data / ("train" if number % 3 else "val") / f"class {number % 20:02d}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"the bytes of image {number}".encode())
        os.utime(path, (then, then))
    weights = folder / "weights.pth"
    write_weights(weights)
    os.utime(weights, (then, then))
    options = [data, "--backbone", "alexnet", "--weights", f"file:{weights}", "--cache", cache, "--json"]
    command = [sys.executable, "-m", "fc7", "extract", *map(str, options)]
    recipe = load_backbone("alexnet", weights=f"file:{weights}", cache=cache).recipes[0]
    store = Store(recipe, cache)
    keys = sorted(hashlib.sha256(f"the bytes of image {number}".encode()).digest() for number in range(FILES))
    for start in range(0, FILES, ROWS):
        unit = keys[start : start + ROWS]
        store.append(Shard(unit, np.zeros((len(unit), DIM), np.float16)))
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert (answer["computed"], answer["ok"]) == (0, FILES), answer
    return alternating(
        rounds,
        fc7_extract=lambda: subprocess.run(command, capture_output=True, check=True),
        interpreter=lambda: subprocess.run([sys.executable, "-c", "pass"], check=True),
        walk=lambda: walk(data),
    )


def write_weights(path):
    """Write a network that nobody will run."""
    import torch
    from torchvision.models import alexnet

    torch.save(alexnet().state_dict(), path)


def summary(read, commit, repeat):
    """Return the ratios that are the claim."""
    group = read["group_per_image"] * SHARDS / FEW
    return {
        "commit, share of AlexNet's forward pass": commit["fc7_commit"] / commit["alexnet_forward"],
        "commit against append and flush": commit["append_and_flush"] / commit["fc7_commit"],
        "commit against a group per image": commit["group_per_image"] / commit["fc7_commit"],
        "read in order, share of numpy.load": read["numpy_load"] / read["fc7_in_order"],
        "read shuffled, share of numpy.load": read["numpy_load"] / read["fc7_shuffled"],
        "read against h5py contiguous": read["h5py_contiguous"] / read["fc7_shuffled"],
        "read against h5py append and flush": read["h5py_appended"] / read["fc7_shuffled"],
        "read against chunked fletcher32": read["h5py_fletcher32"] / read["fc7_shuffled"],
        "read against a group per image": group / read["fc7_shuffled"],
        "verify, share of sha256 in one thread": read["sha256_one_thread"] / read["fc7_verify"],
        "verify, share of sha256 on all cores": read["sha256_all_cores"] / read["fc7_verify"],
        "verify and read, share of sha256 in one thread": read["sha256_one_thread"] / read["fc7_verify_and_read"],
        "verify and read, share of sha256 on all cores": read["sha256_all_cores"] / read["fc7_verify_and_read"],
        "repeated extract of 20,000 files, in walks of the tree": (repeat["fc7_extract"] - repeat["interpreter"])
        / repeat["walk"],
    }


def main():
    """Measure, print the ratios, write the rest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write everything that was measured")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        parts = [part(folder, arguments.rounds) for part in (repeating, committing, reading)]
    repeat, commit, read = parts
    ratios = summary(read, commit, repeat)
    for name, ratio in ratios.items():
        print(f"{name:58} {ratio:8.3f}")
    gigabytes = SHARDS * ROWS * DIM * 2 / 1e9
    for name in ("numpy_load", "fc7_in_order", "fc7_shuffled", "h5py_contiguous", "fc7_verify", "fc7_verify_and_read"):
        print(f"{name:58} {gigabytes / read[name]:8.2f} GB/s")
    if arguments.json:
        found = {"ratios": ratios, "seconds": {"read": read, "commit": commit, "repeat": repeat}}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
