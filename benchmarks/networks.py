"""Claims about today's backbones: images per second against a DataLoader, one after the other in one run.

    python benchmarks/networks.py DATA [--rounds 5] [--images 64] [--backbone NAME ...] [--batches] [--json FILE]

DATA is a folder with train/ and val/, or of class folders, of which the first images are taken. The plain script is
ImageFolder with the network's own transform, a DataLoader with 2 workers, batches of 32, float32, ``torch.no_grad()``,
and torch's own number of threads. Both start with a network that is loaded and warm; fc7's time has hashing and
committing in it. Each contender runs in a process of its own, in turns; the median of the ratios of a round is the
claim. ``bound`` is what both forward passes allow: the plain one's time on one thread by that of packed layers in
batches of fc7's size, in processor time, which other work does not change much. Parameters are random: speed does not
ask.

With ``--batches``, processor time of an image for batches of 1 to 16 when all cores compute, and how many of the
numbers are those of the largest batch.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NETWORKS = ("vit_b_16", "resnet50", "convnext_tiny", "timm:tf_efficientnet_lite0")
SIZES = (1, 2, 4, 8, 16)
PASSES = 3  # forward passes of which the fastest counts


def constructed(name):
    """Return the network as its library makes it, and the transform of its weights."""
    import torch
    from torchvision import models

    torch.manual_seed(0)
    if name.startswith("timm:"):
        import timm

        network = timm.create_model(name.removeprefix("timm:"), num_classes=0).eval()
        return network, timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    return models.get_model(name).eval(), models.get_model_weights(name).DEFAULT.transforms()


def plain(name, root, count):
    """Return the seconds of the plain script per image."""
    import torch
    from torch.utils.data import ConcatDataset, DataLoader, Subset
    from torchvision.datasets import ImageFolder

    network, transform = constructed(name)
    splits = [root / split for split in ("train", "val") if (root / split).is_dir()] or [root]
    images = ConcatDataset([ImageFolder(split, transform) for split in splits])
    images = Subset(images, range(min(count, len(images))))
    with torch.no_grad():
        network(torch.zeros(32, 3, 224, 224))
        start = time.perf_counter()
        rows = [network(batch) for batch, _ in DataLoader(images, batch_size=32, num_workers=2)]
        seconds = time.perf_counter() - start
    assert len(torch.cat(rows)) == len(images)
    return {"seconds": seconds / len(images)}


def ours(name, root, count):
    """Return the seconds of fc7 per image."""
    from fc7.extract import fill, load_backbone, read_manifest
    from fc7.extract.manifest.manifest import Manifest

    manifest = read_manifest(root)
    manifest = Manifest(manifest.root, manifest.images[:count], manifest.classes)
    with tempfile.TemporaryDirectory() as cache:
        backbone = load_backbone(name, weights="random:0", device="cpu", cache=cache)
        backbone.forward(noise(backbone, backbone.batch_size))
        (done,) = fill(manifest, [backbone], cache=cache)
    return {"seconds": (done.seconds["total"] - done.seconds["load"]) / done.computed}


def noise(backbone, images):
    """Return pixels."""
    import numpy as np

    crop = backbone.recipes[0].transform.crop
    return np.random.default_rng(0).integers(0, 256, (images, crop, crop, 3), dtype=np.uint8)


def bound(name, root, count):
    """Return processor seconds of an image in both forward passes, each on one thread."""
    import torch

    from fc7.extract import load_backbone
    from fc7.extract.engines.malloc import keep_freed_memory

    torch.set_num_threads(1)
    network, _ = constructed(name)
    images = torch.randn(16, 3, 224, 224)
    with torch.no_grad():
        unpacked = fastest(lambda: network(images)) / len(images)
    with tempfile.TemporaryDirectory() as cache, keep_freed_memory():
        backbone = load_backbone(name, weights="random:0", device="cpu", cache=cache)
        pixels = noise(backbone, backbone.batch_size)
        packed = fastest(lambda: backbone.forward(pixels)) / len(pixels)
    return {"plain": unpacked, "packed": packed}


def fastest(work):
    """Return the least processor seconds of a piece of work that was done before."""
    work()
    times = []
    for _ in range(PASSES):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def batches(name, root, count):
    """Return processor seconds of an image by batch size when all cores compute, and the share of equal numbers."""
    import numpy as np

    from fc7.extract import load_backbone
    from fc7.extract.backbones.torch_runtime import each_with
    from fc7.extract.engines.local import MOST_THREADS
    from fc7.extract.engines.malloc import keep_freed_memory
    from fc7.extract.machine import cores

    threads, found, rows = min(cores(), MOST_THREADS), {}, {}
    with (
        tempfile.TemporaryDirectory() as cache,
        keep_freed_memory(),
        each_with(1) as begin,
        ThreadPoolExecutor(threads, initializer=begin) as pool,
    ):
        for size in SIZES:
            options = {"weights": "random:0", "device": "cpu", "cache": cache, "batch_size": size}
            backbone = load_backbone(name, **options)
            pixels = noise(backbone, max(SIZES))
            parts = [pixels[start : start + size] for start in range(0, len(pixels), size)]

            def whole(_, backbone=backbone, parts=parts):
                return np.concatenate([backbone.forward(part)[0] for part in parts])

            rows[size] = pool.submit(whole, 0).result()
            seconds = fastest(lambda whole=whole: list(pool.map(whole, range(threads))))
            found[size] = seconds / threads / len(pixels)
    return {
        str(size): {"ms": 1e3 * found[size], "equal": float((rows[size] == rows[max(SIZES)]).mean())} for size in SIZES
    }


WORK = {work.__name__: work for work in (plain, ours, bound, batches)}


def once(name, who, arguments):
    """Measure in a process of its own."""
    words = [str(arguments.data), "--images", str(arguments.images), "--one", name, who]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def compared(name, arguments):
    """Return medians and the ratios of one network."""
    rounds = [
        {who: once(name, who, arguments)["seconds"] for who in ("plain", "ours")} for _ in range(arguments.rounds)
    ]
    ratios = sorted(each["plain"] / each["ours"] for each in rounds)
    allowed = once(name, "bound", arguments)
    return {
        "backbone": name,
        "plain": 1 / statistics.median(each["plain"] for each in rounds),
        "fc7": 1 / statistics.median(each["ours"] for each in rounds),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "bound": allowed["plain"] / allowed["packed"],
        "forward_ms": 1e3 * allowed["packed"],
    }


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--backbone", action="append")
    parser.add_argument("--batches", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, who = arguments.one
        print(json.dumps(WORK[who](name, arguments.data, arguments.images)))
        return
    rows = []
    if arguments.batches:
        print("| batch of | " + " | ".join(map(str, SIZES)) + " |\n|---" + "|---" * len(SIZES) + "|")
    else:
        columns = [
            "plain, images/s",
            "fc7, images/s",
            "times plain",
            "from to",
            "by forward passes",
            "forward, core ms",
        ]
        print(f"| backbone | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    for name in arguments.backbone or NETWORKS:
        if arguments.batches:
            found = once(name, "batches", arguments)
            cells = [f"{each['ms']:.1f} ms, {each['equal']:.0%} equal" for each in found.values()]
            rows.append({"backbone": name, "batches": found})
        else:
            row = compared(name, arguments)
            spread = f"{row['ratios'][0]:.2f} to {row['ratios'][-1]:.2f}"
            cells = [f"{row['plain']:.1f}", f"{row['fc7']:.1f}", f"{row['ratio']:.2f}", spread]
            cells += [f"{row['bound']:.2f}", f"{row['forward_ms']:.1f}"]
            rows.append(row)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"cores": os.cpu_count(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
