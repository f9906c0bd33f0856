"""The main job on ants against bees, as a user runs it: extract twice, compare all heads; and what a help text costs.

    python benchmarks/main_job.py DATA --vgg16 FILE [--write docs/ants_bees.md] [--json FILE]

Every figure comes from the command line's own JSON or from the clock around the command; with --write they go into the
document. About four minutes on two cores.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for an interpreter that is safe from what lies beside a script

from marked import replaced

MARKS = "<!-- heads: written by benchmarks/main_job.py -->\n", "<!-- end of heads -->\n"


def fc7(*arguments):
    """Run one verb with --json and return its answer and the seconds of the whole process."""
    command = [sys.executable, "-m", "fc7", *map(str, arguments), "--json", "--quiet"]
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
    options = [data, "--backbone", backbone, "--weights", weights, "--layer", "gap", "--cache", folder / "cache"]
    first, seconds_first = fc7("extract", *options)
    seconds_again = []
    for _ in range(3):
        again, seconds = fc7("extract", *options)
        seconds_again.append(seconds)
    words = ("compare", *options, "--no-learning-curve", "-o", folder / "runs")
    compared, seconds_compare = fc7(*words)
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
    """Yield a line for each head, with what it gets right, its log loss and its seconds on each backbone."""
    n = jobs[0]["runs"][0]["n"]
    yield "| head | " + " | ".join(f"{one['backbone']}: right of {n} | log loss | fit, s" for one in jobs) + " |"
    yield "|---|" + "---|" * (3 * len(jobs))
    by_head = [{run["head"]: run for run in one["runs"]} for one in jobs]
    for head in sorted(by_head[0], key=lambda name: sum(runs[name]["log_loss"] for runs in by_head)):
        cells = [f"{round(runs[head]['accuracy'] * n)} | {runs[head]['log_loss']:.3f} | {runs[head]['seconds_fit']:.2f}"
                 for runs in by_head]  # fmt: skip
        yield f"| {head} | {' | '.join(cells)} |"


def sentences(jobs, headline):
    """Yield the headline, and what each backbone's chosen head, two extractions and comparison took."""
    yield f"- **{headline}**"
    for one in jobs:
        chosen, ratio = one["runs"][0], one["seconds_first"] / one["seconds_again"]
        low, high = chosen["interval"]
        yield (
            f"- **{one['backbone']}**: the folds of train choose {chosen['head']}, which gets {chosen['accuracy']:.3f} "
            f"on val (95 % interval {low:.3f} to {high:.3f}). The first `fc7 extract` takes "
            f"{one['seconds_first']:.1f} s, the second {one['seconds_again']:.2f} s: {ratio:.0f} times as fast. "
            f"`fc7 compare` of all heads takes {one['seconds_compare']:.1f} s, of which "
            f"{sum(run['seconds_fit'] for run in one['runs']):.1f} s fit."
        )


def main():
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="hymenoptera_data")
    parser.add_argument("--vgg16", type=Path, help="weights of VGG16's conv stack, .safetensors or .pth")
    parser.add_argument("--write", type=Path, help="the document between whose marks it goes")
    parser.add_argument("--json", type=Path, help="where to write everything")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [job(arguments.data, "squeezenet1_1", "ndf", Path(folder))]
        jobs.append(job(arguments.data, "timm:tf_efficientnet_lite0", "efficientnet-lite", Path(folder)))
        if arguments.vgg16:
            jobs.append(job(arguments.data, "vgg16", f"file:{arguments.vgg16.absolute()}", Path(folder)))
        words = ("report", f"{folder}/runs", "-o", f"{folder}/report.html")
        headline = fc7(*words)[0]["data_sets"][0]["verdict"][0]
    console_script = str(Path(sys.executable).with_name("fc7"))
    bare, help_text = median_seconds(sys.executable, "-c", "pass"), median_seconds(console_script, "--help")
    helped = f"- `fc7 --help` takes {help_text * 1000:.0f} ms, {help_text / bare:.1f} times `python -c pass`."
    text = "\n".join(["", *table(jobs), "", *sentences(jobs, headline), helped, "", ""])
    print(text)
    if arguments.write:
        arguments.write.write_text(replaced(arguments.write.read_text("utf-8"), MARKS, text), "utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps({"jobs": jobs, "help": help_text, "pass": bare}, indent=1))


if __name__ == "__main__":
    main()
