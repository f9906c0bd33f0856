"""Claims about rows that are more than memory: heads that stream them, in the memory allowed.

    python benchmarks/streaming.py [--rows 200000] [--dim 4096] [--classes 2] [--max-ram 512] [--heads NAME ...]

Synthetic float16 embeddings (200,000 x 4,096 are 1.6 GB) are put into a cache in a temporary folder, a tenth of them
to evaluate on. Each head is then fitted in a process of its own, as ``fc7 fit --max-ram 512M`` would, its
hyper-parameters chosen over their grid in 5 folds. The process reports its peak memory twice: when everything is
imported and the table of labels, paths and keys is in memory, and at the end. What lies between may be ``--max-ram``,
and on top of it what the program itself takes, a constant: compiled code, thread stacks, the record that is written.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fc7.cache import Embeddings, Recipe, Store
from fc7.cache.shard import Shard
from fc7.cache.store import StoredVectors

SHARD = 1024
HEADS = ("baseline", "centroid", "gaussian-nb", "ridge", "lda", "linear-svm", "logreg")
MB = 2**20


def recipe(dim):
    """Return the recipe of the made-up embeddings."""
    return Recipe("synthetic", "fc7", dim, "0" * 64)


def keys_of(rows):
    """Return keys in order, so that shards hold neighbours."""
    return [number.to_bytes(4) + bytes(28) for number in range(rows)]


def labels_of(rows, classes):
    """Return codes ``(rows,)``."""
    return np.random.default_rng(1).integers(0, classes, rows)


def fill(folder, rows, dim, classes):
    """Write the cache."""
    generator = np.random.default_rng(0)
    directions = generator.standard_normal((64, dim)).astype(np.float32) / 8
    centres = 0.35 * generator.standard_normal((classes, 64)).astype(np.float32)
    store, keys, y = Store(recipe(dim), folder), keys_of(rows), labels_of(rows, classes)
    for first in range(0, rows, SHARD):
        some = y[first : first + SHARD]
        inside = (centres[some] + generator.standard_normal((len(some), 64), dtype=np.float32)) @ directions
        noise = generator.standard_normal((len(some), dim), dtype=np.float32)
        vectors = np.maximum(inside + 0.3 * noise - 0.3, 0).astype(np.float16)
        store.append(Shard(keys[first : first + SHARD], vectors))


def table(folder, rows, dim, classes, max_ram):
    """Return the embeddings, on disk."""
    keys, y = keys_of(rows), labels_of(rows, classes)
    return Embeddings(
        labels=np.array([f"class-{code}" for code in range(classes)])[y],
        paths=np.array([f"{row:07d}.jpg" for row in range(rows)]),
        split=np.where(np.arange(rows) % 10 == 0, "val", "train"),
        group=np.full(rows, ""),
        sha256=np.frombuffer(b"".join(keys), np.uint8).reshape(rows, 32),
        classes=tuple(f"class-{code}" for code in range(classes)),
        vectors=StoredVectors(Store(recipe(dim), folder), keys, max_ram),
        recipe=recipe(dim),
    )


def peak():
    """Return this process' peak memory in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def work(arguments):
    """Fit one head in this process, and print what it took."""
    import torch  # noqa: F401 - part of the constant: large eigenvalue problems are torch's

    from fc7.classify import fit

    embeddings = table(arguments.folder, arguments.rows, arguments.dim, arguments.classes, arguments.max_ram * MB)
    before, start = peak(), time.perf_counter()
    run = fit(embeddings, arguments.work).run
    seconds = time.perf_counter() - start
    found = {"head": arguments.work, "seconds": seconds, "before": before, "peak": peak()}
    print(json.dumps(found | {"accuracy": run.metrics["accuracy"], "chosen": run.hyperparameters, "notes": run.notes}))


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--max-ram", type=int, default=512, metavar="MB")
    parser.add_argument("--heads", nargs="+", default=HEADS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        fill(folder, arguments.rows, arguments.dim, arguments.classes)
        print(
            "| head | seconds | before, MB | peak, MB | more, MB | accuracy | chosen |\n|---|---|---|---|---|---|---|"
        )
        for head in arguments.heads:
            again = [sys.executable, __file__, *sys.argv[1:], "--folder", folder, "--work", head]
            found = json.loads(subprocess.run(again, check=True, stdout=subprocess.PIPE).stdout)
            more = found["peak"] - found["before"]
            print(
                f"| {head} | {found['seconds']:.0f} | {found['before'] // MB} | {found['peak'] // MB} | {more // MB} | "
                f"{found['accuracy']:.3f} | {found['chosen']} {' '.join(found['notes'])} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
