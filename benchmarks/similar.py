"""How long the nearest images take to find, beside NumPy's blocked product and argpartition, in one run.

    python benchmarks/similar.py [--rows 1000000] [--dim 512] [--queries 100] [-k 10] [--device cpu] [--json FILE]

Rows are float16, made before the clock starts, as they are once read. NumPy's way keeps the k largest of each block of
a product in float32, with the block size that is fastest here of four, and of their union the k largest. Its rows have
unit length beforehand, so that it has less to do. Both ways take turns, the best of each counts. Memory is what the
process took at most beyond what it had before.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from fc7.classify.arrays import unit
from fc7.classify.fitting.device import MANY, heads_device
from fc7.classify.solvers.nearest import nearest

BLOCKS = (2**11, 2**12, 2**13, 2**15)


def made(rows, dim, generator):
    """Return float16 rows of unit length."""
    vectors = np.empty((rows, dim), np.float16)
    for start in range(0, rows, 2**15):
        block = generator.standard_normal((min(2**15, rows - start), dim), dtype=np.float32)
        vectors[start : start + len(block)] = unit(block)
    return vectors


def by_numpy(vectors, queries, count, size):
    """Return places and cosines ``(q, count)``."""
    places, values = [], []
    for start in range(0, len(vectors), size):
        products = queries @ vectors[start : start + size].astype(np.float32).T
        best = np.argpartition(products, -count, axis=1)[:, -count:]
        places.append(best + start)
        values.append(np.take_along_axis(products, best, axis=1))
    places, values = np.hstack(places), np.hstack(values)
    order = np.argsort(-values, axis=1)[:, :count]
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(values, order, axis=1)


def timed(function):
    """Return seconds, and what a function returns."""
    start = time.perf_counter()
    answer = function()
    return time.perf_counter() - start, answer


def peak():
    """Return the most memory that this process took so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--device", default="cpu", help="cpu, or one of torch")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    vectors = made(arguments.rows, arguments.dim, generator)
    queries = unit(generator.standard_normal((arguments.queries, arguments.dim), dtype=np.float32))
    k, before, device = arguments.k, peak(), heads_device(arguments.device, MANY)

    def ours():
        return nearest(vectors, k, queries=queries, device=device)

    found = ours()
    memory = peak() - before
    sizes = {size: timed(lambda size=size: by_numpy(vectors, queries, k, size))[0] for size in BLOCKS}
    size = min(sizes, key=sizes.get)
    seconds = {"fc7": [], "numpy": []}
    for _ in range(arguments.repeats):
        seconds["fc7"].append(timed(ours)[0])
        spent, (places, cosines) = timed(lambda: by_numpy(vectors, queries, k, size))
        seconds["numpy"].append(spent)
    best = {name: min(times) for name, times in seconds.items()}
    results = {
        "seconds": best,
        "ratio": best["fc7"] / best["numpy"],
        "numpy's block": size,
        "MiB": memory,
        "MiB of the rows": vectors.nbytes / 2**20,
        "same places": float((places == found.places).mean()),
        "largest difference of cosines": float(np.abs(cosines - found.cosines).max()),
    }
    for name, value in results.items():
        print(f"| {name} | {value} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
