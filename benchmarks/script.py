"""A user's own script, with and without saving its array, and fc7 on the same photographs.

Usage: python benchmarks/script.py DATA [--rounds 3] [--draw docs/images/script.svg] [--write README.md]

First run, second run, and 20 photographs added. Each figure is the median of the seconds of whole processes, taken in
turns. The script is what the task needs and no more: an ImageFolder in a DataLoader with a worker for each core,
batches of 32, AlexNet's fc7, written as .npy. The script that saves also writes the list of files, and computes nothing
if the list is as before. fc7 writes the same vectors, from `fc7 extract DATA --backbone alexnet --weights file:WEIGHTS
-o FILE.npy`. All read the weights from a file, as they would those of torchvision; here they are random, because speed
does not ask.
"""

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).parent))  # for an interpreter that is safe from what lies beside a script

from marked import replaced

WEIGHTS = """
import sys

import torch
from torchvision import models

torch.manual_seed(0)
torch.save(models.alexnet().state_dict(), sys.argv[1])
"""
SCRIPT = """
import os
import sys

import numpy
import torch
from torchvision import datasets, models

transform = models.AlexNet_Weights.DEFAULT.transforms()
network = models.alexnet().eval()
network.load_state_dict(torch.load(sys.argv[3], weights_only=True))
network.classifier = network.classifier[:6]
images = datasets.ImageFolder(sys.argv[1], transform)
loader = torch.utils.data.DataLoader(images, batch_size=32, num_workers=os.cpu_count())
with torch.no_grad():
    numpy.save(sys.argv[2], torch.cat([network(batch) for batch, _ in loader]).numpy())
"""
SAVING = (
    SCRIPT.replace(
        "network = ",
        """images = datasets.ImageFolder(sys.argv[1], transform)
names, known = [path for path, _ in images.samples], sys.argv[2] + ".txt"
if os.path.exists(known) and open(known).read().splitlines() == names:
    sys.exit()
network = """,
        1,
    )
    + "open(known, 'w').write('\\n'.join(names))\n"
)
WAYS = {"your script": "#9aa0a6", "with numpy.save": "#c3a45a", "fc7": "#1f5fa8"}
MARKS = "<!-- seconds: written by benchmarks/script.py -->\n", "<!-- end of seconds -->\n"
ADDED = 20
STEPS = ("first run", "second run", f"{ADDED} photographs added")
WIDE, ROW, LEFT = 720, 22, 190


def seconds(command):
    """Return the seconds of a whole process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True)
    return time.perf_counter() - start


def three_runs(work, add):
    """Return the seconds of a first run, a second one, and one after more photographs came."""
    first, second = seconds(work), seconds(work)
    add()
    return first, second, seconds(work)


def measured(data, folder):
    """Return the seconds of the scripts and of fc7, each on a copy of its own."""
    files = sorted(path for path in data.rglob("*.jp*g"))
    weights = folder / "alexnet.pth"
    seconds(["-c", WEIGHTS, weights])
    ways = {}
    for way, code in zip(WAYS, (SCRIPT, SAVING, None), strict=True):
        root = folder / way.replace(" ", "-")
        for number, path in enumerate(files):
            target = root / path.parent.name / f"{number}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

        def add(root=root):
            for number, path in enumerate(files[:ADDED]):
                (root / path.parent.name / f"new-{number}.jpg").write_bytes(path.read_bytes() + b"\0")

        vectors = root.with_suffix(".npy")
        if code:
            work = ["-c", code, root, vectors, weights]
        else:
            options = ("--backbone", "alexnet", "--weights", f"file:{weights}", "--cache", folder / "cache")
            work = ["-m", "fc7", "extract", root, *options, "-o", vectors]
        ways[way] = three_runs(work, add)
    return len(files), ways


def machine():
    """Return the processor and its cores."""
    info = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return f"{os.cpu_count()} cores, {name[1] if name else platform.processor()}"


def drawn(medians, count):
    """Return the chart as SVG."""
    group_rows = len(WAYS) + 1
    height = len(STEPS) * group_rows * ROW + 2 * ROW
    svg = ElementTree.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDE} {height}", role="img")
    ElementTree.SubElement(svg, "rect", width=str(WIDE), height=str(height), fill="#fff")
    longest = max(max(figures) for figures in medians.values())

    def text(x, y, words, **options):
        options = {"font-family": "sans-serif", "font-size": "13", "fill": "#222"} | options
        ElementTree.SubElement(svg, "text", x=f"{x:.0f}", y=f"{y:.0f}", **options).text = words

    text(LEFT, ROW * 0.8, f"seconds for {count} photographs, AlexNet fc7, whole process", fill="#555")
    for group, step in enumerate(STEPS):
        top = ROW * (1.4 + group_rows * group)
        text(8, top + ROW * 1.7, step)
        for bar, (way, colour) in enumerate(WAYS.items()):
            length = max(2, (WIDE - LEFT - 170) * medians[way][group] / longest)
            y = top + bar * ROW
            ElementTree.SubElement(
                svg, "rect", x=str(LEFT), y=f"{y:.0f}", width=f"{length:.0f}", height=str(ROW - 4), fill=colour
            )
            text(LEFT + length + 6, y + ROW * 0.65, f"{way}  {medians[way][group]:.1f} s")
    text(LEFT, height - 8, machine(), fill="#555", **{"font-size": "11"})
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def sentence(medians, count, rounds):
    """Return what the README says beside the chart."""
    (_, again, _), (_, saved, more), (_, nothing, new) = (medians[way] for way in WAYS)
    said = (
        f"Medians of {rounds} rounds of `benchmarks/script.py` over {count} photographs with AlexNet, start of Python "
        f"included, on {machine()} without a graphics card. A loop over torchvision's `ImageFolder` keeps nothing: its "
        f"second run takes {again:.1f} s again. With `numpy.save` and a list of files it takes {saved:.1f} s, and "
        f"{more:.1f} s if {ADDED} photographs are new; fc7 takes {nothing:.1f} s and {new:.1f} s."
    )
    return textwrap.fill(said, 128, break_long_words=False, break_on_hyphens=False) + "\n"


def main():
    """Measure, print, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a folder of photographs in class folders")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--draw", type=Path, help="where the chart goes")
    parser.add_argument("--write", type=Path, help="the document that has the sentence between its marks")
    arguments = parser.parse_args()
    rounds = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            count, ways = measured(arguments.data, Path(folder))
        rounds.append(ways)
    medians = {way: [statistics.median(found[way][step] for found in rounds) for step in range(3)] for way in rounds[0]}
    print(f"{machine()}; {count} photographs; medians of {arguments.rounds} rounds, seconds")
    print(f"| | {' | '.join(WAYS)} |\n|---|---|---|---|")
    for step, name in enumerate(STEPS):
        print(f"| {name} | {' | '.join(f'{medians[way][step]:.1f}' for way in WAYS)} |")
    if arguments.draw:
        arguments.draw.write_text(drawn(medians, count), encoding="utf-8")
    if arguments.write:
        text = replaced(arguments.write.read_text("utf-8"), MARKS, sentence(medians, count, arguments.rounds))
        arguments.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
