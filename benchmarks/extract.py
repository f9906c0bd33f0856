"""Claims about extraction: images per second against the script that a user would write, and against the bound.

    python benchmarks/extract.py DATA [--rounds 5] [--backbone NAME ...] [--json FILE]

DATA is a folder with train/ and val/. Everything is measured in one run, in turns, each in a process of its own, and
medians are compared; the ratios are the claim, the seconds belong to the machine. Each photograph is there three times
under bytes of its own (some that follow the end of the JPEG), so that a run is long against its first and last moment;
VGG16 is measured on fewer. The plain script is ImageFolder and a DataLoader with 2 workers, batches of 32, float32,
``torch.no_grad()``; ``img2vec_pytorch`` takes part where it is installed and knows the network, in batches of 32. All
start with a network that is loaded and warm; fc7's time has the hashing of the files and the committing of the rows in
it. Parameters are random: speed does not ask.

The bound is 1 / (t_forward + t_decode / cores), both measured in the same process as fc7's extraction: the forward pass
on ready pixels with all cores, and decoding on one core.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LAYERS = {"alexnet": "fc7", "vgg16": "fc7", "squeezenet1_1": "gap"}
IMG2VEC = {"alexnet"}  # of these networks, those that it knows
COPIES = 3  # of each photograph
IMAGES = {"vgg16": 128}  # the others take all
READY = 2.0  # seconds of forward passes on ready pixels


def copied(data, folder):
    """Write the data set with several copies of each photograph, other bytes each."""
    for path in sorted(data.glob("*/*/*.jp*g")):
        for number in range(COPIES):
            target = folder / path.relative_to(data).with_name(f"{path.stem}-{number}{path.suffix}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes() + bytes([number]))


def plain(name, root, count):
    """Return the seconds of the plain script per image."""
    import torch
    import torchvision
    from torch.utils.data import ConcatDataset, DataLoader, Subset
    from torchvision import datasets, transforms
    from torchvision.models.feature_extraction import create_feature_extractor

    torch.manual_seed(0)
    node = {"alexnet": "classifier.5", "vgg16": "classifier.4", "squeezenet1_1": "features.12.cat"}[name]
    network = create_feature_extractor(getattr(torchvision.models, name)(weights=None).eval(), [node])
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    steps.append(transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    parts = [datasets.ImageFolder(root / split, transforms.Compose(steps)) for split in ("train", "val")]
    images = ConcatDataset(parts)
    images = Subset(images, range(min(count, len(images))))
    rows = []
    with torch.no_grad():
        network(torch.zeros(32, 3, 224, 224))
        start = time.perf_counter()
        for batch, _ in DataLoader(images, batch_size=32, num_workers=2):
            found = network(batch)[node]
            rows.append(found.mean((2, 3)) if found.dim() == 4 else found)
        seconds = time.perf_counter() - start
    assert len(torch.cat(rows)) == len(images)
    return {"seconds": seconds / len(images)}


def img2vec(name, root, count):
    """Return the seconds of img2vec_pytorch per image, in batches of 32 as its own page shows."""
    from PIL import Image

    files = sorted(root.glob("*/*/*.jp*g"))[:count]
    with tempfile.TemporaryDirectory() as home:
        network = _img2vec(name, Path(home))
        start = time.perf_counter()
        rows = 0
        for first in range(0, len(files), 32):
            rows += len(network.get_vec([Image.open(file).convert("RGB") for file in files[first : first + 32]]))
        seconds = time.perf_counter() - start
    assert rows == len(files)
    return {"seconds": seconds / len(files)}


def _img2vec(name, home):
    """Return it with random parameters, by a file where torchvision looks for its own."""
    import torch
    import torchvision
    from img2vec_pytorch import Img2Vec

    url = torchvision.models.get_model_weights(name).DEFAULT.url
    path = home / "hub" / "checkpoints" / url.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    torch.save(getattr(torchvision.models, name)().state_dict(), path)
    os.environ["TORCH_HOME"] = str(home)
    return Img2Vec(model=name)


def ours(name, root, count, precision):
    """Return the seconds of fc7 per image, and those of its parts by themselves."""
    import numpy as np

    from fc7.extract import fill, load_backbone, read_manifest
    from fc7.extract.manifest import Manifest
    from fc7.extract.memory import kept
    from fc7.extract.network import each_with
    from fc7.extract.pipeline import MOST_THREADS, cores

    manifest = read_manifest(root)
    manifest = Manifest(manifest.root, manifest.images[:count], manifest.classes)
    with tempfile.TemporaryDirectory() as cache:
        options = {"weights": "random:0", "device": "cpu", "precision": precision, "cache": cache}
        backbone = load_backbone(name, LAYERS[name], **options)
        pixels = np.random.default_rng(0).integers(0, 256, (backbone.batch_size, 224, 224, 3), dtype=np.uint8)
        backbone.forward(pixels)
        done = fill(manifest, [backbone], cache=cache)[0]
    threads = min(cores(), MOST_THREADS)

    def ready(_):
        start, images = time.perf_counter(), 0
        while time.perf_counter() - start < READY:
            backbone.forward(pixels)
            images += len(pixels)
        return images / (time.perf_counter() - start)

    with (
        kept(),
        each_with(max(cores() // MOST_THREADS, 1)) as begin,
        ThreadPoolExecutor(threads, initializer=begin) as pool,
    ):
        forward = sum(pool.map(ready, range(threads)))
    return {
        "seconds": (done.seconds["total"] - done.seconds["load"]) / done.computed,
        "forward": 1 / forward,
        "decode": decoding(manifest),
        "stages": {stage: value / done.computed for stage, value in done.seconds.items()},
    }


def decoding(manifest):
    """Return the seconds per image of reading and decoding on one core."""
    from fc7.cache.recipe import DECODES, Input, Transform
    from fc7.extract.decode import decode, read_image_bytes
    from fc7.extract.views import view

    wanted = Input(Transform(), DECODES["exact"], 0)
    files = manifest.files[:150]
    start = time.perf_counter()
    for path in files:
        view(decode(read_image_bytes(path)), wanted, b"")
    return (time.perf_counter() - start) / len(files)


def once(*words):
    """Measure in a process of its own."""
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measure(name, root, rounds):
    """Return all rounds of one backbone, in turns."""
    contenders = {"plain": ["plain"], "fp32": ["ours", "fp32"], "bf16": ["ours", "bf16"]}
    if name in IMG2VEC and importlib.util.find_spec("img2vec_pytorch"):
        contenders["img2vec"] = ["img2vec"]
    found = {label: [] for label in contenders}
    for _ in range(rounds):
        for label, words in contenders.items():
            found[label].append(once(root, "--one", name, *words))
    return found


def summary(name, found):
    """Return medians and ratios of one backbone."""

    def median(label, part="seconds"):
        return statistics.median(one[part] for one in found[label])

    rows = {}
    for label in ("fp32", "bf16"):
        shares = [(one["forward"] + one["decode"] / os.cpu_count()) / one["seconds"] for one in found[label]]
        rows[label] = {
            "images_per_second": 1 / median(label),
            "against_plain": median("plain") / median(label),
            "share_of_bound": statistics.median(shares),
            "forward_ms": 1e3 * median(label, "forward"),
            "decode_ms": 1e3 * median(label, "decode"),
        }
    others = {f"{label}_images_per_second": 1 / median(label) for label in ("plain", "img2vec") if label in found}
    stages = {label: found[label][-1]["stages"] for label in ("fp32", "bf16")}
    return {"backbone": name, "layer": LAYERS[name], **others, "stages": stages} | rows


def show(row):
    """Print one backbone's lines of the table."""
    other = f"{row['img2vec_images_per_second']:.0f}" if "img2vec_images_per_second" in row else ""
    for label in ("fp32", "bf16"):
        one = row[label]
        print(
            f"| {row['backbone']} {row['layer']} {label} | {row['plain_images_per_second']:.0f} | {other} | "
            f"{one['images_per_second']:.0f} | {one['against_plain']:.2f} | {one['share_of_bound']:.0%} | "
            f"{one['forward_ms']:.2f} | {one['decode_ms']:.2f} |",
            flush=True,
        )


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", action="append", choices=LAYERS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, kind, *precision = arguments.one
        count = IMAGES.get(name, 10**6)
        work = {"plain": plain, "ours": ours, "img2vec": img2vec}[kind]
        print(json.dumps(work(name, arguments.data, count, *precision)))
        return
    columns = [
        "backbone",
        "plain, images/s",
        "img2vec, images/s",
        "fc7, images/s",
        "times plain",
        "of the bound",
        "forward, ms",
        "decode, ms",
    ]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        copied(arguments.data, Path(folder))
        for name in arguments.backbone or LAYERS:
            rows.append(summary(name, measure(name, Path(folder), arguments.rounds)))
            show(rows[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
