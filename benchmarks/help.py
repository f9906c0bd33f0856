"""Help comes at once: for every verb, the wall time of its help over that of an interpreter that does nothing.

    python benchmarks/help.py

Both are started in turns, and the medians of 15 are divided. It exits 1 if a ratio is 6 or more. Byte code is written
before, as an installer does, whatever PYTHONDONTWRITEBYTECODE says (-E).
"""

import statistics
import subprocess
import sys
import time

from fc7 import cli
from fc7.extract.commands import cache

TIMES = 15
LIMIT = 6.0


def seconds(*words):
    """Return the wall time of an interpreter with these words."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-EP", *words], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def ratio(verb):
    """Return the time of the help of a verb over that of nothing, and both medians."""
    command = ("-m", "fc7", *verb.split(), "--help")
    seconds(*command)
    helps, nothings = [], []
    for _ in range(TIMES):
        nothings.append(seconds("-c", "pass"))
        helps.append(seconds(*command))
    return statistics.median(helps) / statistics.median(nothings), statistics.median(helps), statistics.median(nothings)


def main():
    """Print a table and return the exit code."""
    verbs = ["", *cli.VERBS, *(f"cache {verb}" for verb in cache.VERBS)]
    print(f"{'help of':<20} {'ratio':>5} {'ms':>6} {'pass ms':>8}")
    largest = 0.0
    for verb in verbs:
        times, helped, nothing = ratio(verb)
        largest = max(largest, times)
        print(f"{f'fc7 {verb}':<20} {times:5.2f} {helped * 1e3:6.1f} {nothing * 1e3:8.1f}")
    print(f"largest ratio {largest:.2f}, must be below {LIMIT:g}")
    return int(largest >= LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
