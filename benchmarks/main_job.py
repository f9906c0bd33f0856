"""The main job on ants against bees, as a user runs it: extract twice, compare, and what the help text costs.

Prints the README's table and, with --json, everything behind it. Every figure comes from the command line's own JSON or
from the clock around the command.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def fc7(*arguments, cache):
    """Run one verb with --json and return its answer and the seconds of the whole process."""
    command = [sys.executable, "-m", "fc7", *map(str, arguments), "--json", "--quiet", "--cache", str(cache)]
    start = time.perf_counter()
    reply = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(reply.stdout), time.perf_counter() - start


def median_seconds(*command, repeats=15):
    """Return the median wall time of a command."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def job(data, backbone, weights, folder):
    """Extract twice and compare all heads; the second extraction is the median of three."""
    options = [data, "--backbone", backbone, "--weights", weights, "--layer", "gap"]
    first, seconds_first = fc7("extract", *options, cache=folder / "cache")
    seconds_again = []
    for _ in range(3):
        again, seconds = fc7("extract", *options, cache=folder / "cache")
        seconds_again.append(seconds)
    compared, seconds_compare = fc7("compare", *options, "-o", folder / backbone, cache=folder / "cache")
    return {
        "backbone": backbone,
        "first": first,
        "again": again,
        "seconds_first": seconds_first,
        "seconds_again": statistics.median(seconds_again),
        "seconds_compare": seconds_compare,
        "runs": compared["runs"],
    }


def table(jobs):
    """Yield the README's lines."""
    yield "| backbone, `gap` | head (first: the choice inside train) | accuracy on val | 95 % | fit, s |"
    yield "|---|---|---|---|---|"
    for one in jobs:
        for run in one["runs"]:
            low, high = run["interval"]
            right = round(run["accuracy"] * run["n"])
            yield (
                f"| {one['backbone']} | {run['head']} | {run['accuracy']:.3f} ({right}/{run['n']}) | "
                f"{low:.3f}-{high:.3f} | {run['seconds_fit']:.2f} |"
            )
    yield ""
    for one in jobs:
        ratio = one["seconds_first"] / one["seconds_again"]
        yield (
            f"{one['backbone']}: first `extract` {one['seconds_first']:.1f} s ({one['first']['computed']} computed, "
            f"{one['first']['images_per_second']:.0f} images/s), again {one['seconds_again']:.2f} s "
            f"({one['again']['computed']} computed), {ratio:.0f} times faster."
        )


def main():
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="hymenoptera_data")
    parser.add_argument("--vgg16", type=Path, help="weights of VGG16's conv stack, .safetensors or .pth")
    parser.add_argument("--json", type=Path, help="where to write everything")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [job(arguments.data, "squeezenet1_1", "ndf", Path(folder))]
        jobs.append(job(arguments.data, "timm:tf_efficientnet_lite0", "efficientnet-lite", Path(folder)))
        if arguments.vgg16:
            jobs.append(job(arguments.data, "vgg16", f"file:{arguments.vgg16.absolute()}", Path(folder)))
    console_script = str(Path(sys.executable).with_name("fc7"))
    bare, help_text = median_seconds(sys.executable, "-c", "pass"), median_seconds(console_script, "--help")
    print("\n".join(table(jobs)))
    print(f"`fc7 --help` takes {help_text * 1000:.0f} ms, {help_text / bare:.1f} times `python -c pass`.")
    if arguments.json:
        arguments.json.write_text(json.dumps({"jobs": jobs, "help": help_text, "pass": bare}, indent=1))


if __name__ == "__main__":
    main()
