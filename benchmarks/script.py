"""A user's own script and fc7 on the same photographs: first run, second run, and 20 photographs added.

Usage: python benchmarks/script.py DATA [--rounds 3] [--draw docs/images/script.svg]

Each figure is the median of the seconds of whole processes, taken in turns. The script is what the task needs and no
more: an ImageFolder in a DataLoader with a worker for each core, batches of 32, AlexNet's fc7, written as .npy. fc7
writes the same vectors, from `fc7 extract DATA --backbone alexnet --weights file:WEIGHTS -o FILE.npy`. Both read the
weights from a file, as they would those of torchvision; here they are random, because speed does not ask.
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
import time
from pathlib import Path
from xml.etree import ElementTree

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
    """Return the seconds of the script and of fc7, each on a copy of its own."""
    files = sorted(path for path in data.rglob("*.jp*g"))
    weights = folder / "alexnet.pth"
    seconds(["-c", WEIGHTS, weights])
    ways = {}
    for way in ("script", "fc7"):
        root = folder / way
        for number, path in enumerate(files):
            target = root / path.parent.name / f"{number}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

        def add(root=root):
            for number, path in enumerate(files[:ADDED]):
                (root / path.parent.name / f"new-{number}.jpg").write_bytes(path.read_bytes() + b"\0")

        vectors = folder / f"{way}.npy"
        if way == "script":
            work = ["-c", SCRIPT, root, vectors, weights]
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
    height = len(STEPS) * 3 * ROW + 2 * ROW
    svg = ElementTree.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDE} {height}", role="img")
    ElementTree.SubElement(svg, "rect", width=str(WIDE), height=str(height), fill="#fff")
    longest = max(max(figures) for figures in medians.values())

    def text(x, y, words, **options):
        options = {"font-family": "sans-serif", "font-size": "13", "fill": "#222"} | options
        ElementTree.SubElement(svg, "text", x=f"{x:.0f}", y=f"{y:.0f}", **options).text = words

    text(LEFT, ROW * 0.8, f"seconds for {count} photographs, AlexNet fc7, whole process", fill="#555")
    for group, step in enumerate(STEPS):
        top = ROW * (1.4 + 3 * group)
        text(8, top + ROW * 1.2, step)
        for bar, (way, colour) in enumerate((("script", "#9aa0a6"), ("fc7", "#1f5fa8"))):
            length = max(2, (WIDE - LEFT - 140) * medians[way][group] / longest)
            y = top + bar * ROW
            ElementTree.SubElement(
                svg, "rect", x=str(LEFT), y=f"{y:.0f}", width=f"{length:.0f}", height=str(ROW - 4), fill=colour
            )
            text(
                LEFT + length + 6,
                y + ROW * 0.65,
                f"{'your script' if way == 'script' else way}  {medians[way][group]:.1f} s",
            )
    text(LEFT, height - 8, machine(), fill="#555", **{"font-size": "11"})
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def main():
    """Measure, print, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a folder of photographs in class folders")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--draw", type=Path, help="where the chart goes")
    arguments = parser.parse_args()
    rounds = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            count, ways = measured(arguments.data, Path(folder))
        rounds.append(ways)
    medians = {way: [statistics.median(found[way][step] for found in rounds) for step in range(3)] for way in rounds[0]}
    print(f"{machine()}; {count} photographs; medians of {arguments.rounds} rounds, seconds")
    print("| | your script | fc7 | times |\n|---|---|---|---|")
    for step, name in enumerate(STEPS):
        script, ours = medians["script"][step], medians["fc7"][step]
        print(f"| {name} | {script:.1f} | {ours:.1f} | {script / ours:.1f} |")
    if arguments.draw:
        arguments.draw.write_text(drawn(medians, count), encoding="utf-8")


if __name__ == "__main__":
    main()
