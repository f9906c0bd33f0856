"""How long a comparison of all heads without a split takes, beside another version of fc7.

    python benchmarks/nested.py [--before FOLDER] [--rounds 3] [--json FILE]

400 made images of four classes, 512 numbers each, are cross-validated in five folds with every head: the choice of
hyper-parameters is nested in them, and so is that of the head. FOLDER holds the other version, as `fc7` in it, such as
the checkout of an older commit. Both take turns, each in a process of its own; the least of each counts. Asked: under
20 seconds, and at most three times those of the version before the choice of the head was nested.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ASKED, TIMES = 20.0, 3.0

WORK = """
import json, sys, time, resource
import numpy as np
import fc7
from fc7.classify import compare
generator = np.random.default_rng(0)
y = np.arange(400) % 4
centres = generator.standard_normal((4, 512))
X = (0.3 * centres[y] + 2 * generator.standard_normal((400, 512))).astype(np.float32)
begin, cpu = time.perf_counter(), time.process_time()
runs = compare((X, np.array(["abcd"[place] for place in y])))
seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
heads = {run.head: round(run.seconds["fit"] + run.seconds["predict"], 3) for run in runs}
print(json.dumps({"seconds": seconds, "cpu": cpu, "heads": heads, "version": fc7.__file__}))
"""


def measure(folder):
    """Return what a comparison took, of the fc7 in a folder, or of the installed one."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1"} | ({"PYTHONPATH": str(folder)} if folder else {})
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [sys.executable, "-c", WORK], cwd=empty, env=environment, check=True, capture_output=True, text=True
        )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Measure in turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folders = {"now": None} | ({"before": arguments.before.resolve()} if arguments.before else {})
    found = {name: [] for name in folders}
    for _ in range(arguments.rounds):
        for name, folder in folders.items():
            found[name].append(measure(folder))
    best = {name: min(rows, key=lambda row: row["seconds"]) for name, rows in found.items()}
    print("| head, s | " + " | ".join(best) + " |\n|---|" + "---|" * len(best))
    for head in best["now"]["heads"]:
        print(
            f"| {head} | " + " | ".join(f"{row['heads'].get(head, float('nan')):.2f}" for row in best.values()) + " |"
        )
    for what in "seconds", "cpu":
        print(f"| all, {what} | " + " | ".join(f"{row[what]:.1f}" for row in best.values()) + " |")
    seconds = best["now"]["seconds"]
    print(f"\n{seconds:.1f} s; asked: under {ASKED:g}{'' if seconds < ASKED else ' **no**'}")
    if "before" in best:
        for what in "seconds", "cpu":
            ratio = best["now"][what] / best["before"][what]
            print(f"{ratio:.2f} times ({what}); asked: at most {TIMES:g}{'' if ratio <= TIMES else ' **no**'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
