"""Claims about extraction: images per second against the script that a user would write, and against the bound.

    python benchmarks/extract.py DATA [--rounds 5] [--backbone NAME ...] [--device cuda] [--copies 3] [--json FILE]

DATA is a folder with train/ and val/, or of class folders. Everything is measured in one run, in turns, each in a
process of its own, and medians are compared; the ratios are the claim, the seconds belong to the machine. Each
photograph is there three times under bytes of its own (some that follow the end of the JPEG), so that a run is long
against its first and last moment; VGG16 is measured on fewer. The plain script is ImageFolder and a DataLoader with 2
workers, batches of 32, float32, ``torch.no_grad()``; ``img2vec_pytorch`` takes part where it is installed and knows the
network, in batches of 32. All start with a network that is loaded and warm; fc7's time has the hashing of the files and
the committing of the rows in it. Parameters are random: speed does not ask.

The bound is 1 / (t_forward + t_decode / cores), both measured in the same process as fc7's extraction: the forward pass
on ready pixels with all cores, and decoding on one core.

With ``--device cuda`` the plain script's DataLoader has a worker per core and pinned memory, its batches have 128
images, and its products are those that torch takes by itself; fc7 is measured with ``--decode hardware`` as well; and
the bound is 1 / max(t_forward, t_decode / cores), because a device computes while the cores decode.
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
IMAGES = {"vgg16": 128}  # on a processor; the others take all
# Of fc7: precision and rule of decoding.
OURS = {"fp32": ("fp32", "exact"), "bf16": ("bf16", "exact"), "bf16 hardware": ("bf16", "hardware")}
READY = 2.0  # seconds of forward passes on ready pixels


def copied(data, folder, copies):
    """Write the data set with several copies of each photograph, other bytes each."""
    for path in sorted(data.rglob("*.jp*g")):
        for number in range(copies):
            target = folder / path.relative_to(data).with_name(f"{path.stem}-{number}{path.suffix}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes() + bytes([number]))


def plain(name, root, count, device):
    """Return the seconds of the plain script per image."""
    import torch
    import torchvision
    from torch.utils.data import ConcatDataset, DataLoader, Subset
    from torchvision import datasets, transforms
    from torchvision.models.feature_extraction import create_feature_extractor

    torch.manual_seed(0)
    node = {"alexnet": "classifier.5", "vgg16": "classifier.4", "squeezenet1_1": "features.12.cat"}[name]
    network = create_feature_extractor(getattr(torchvision.models, name)(weights=None).eval(), [node]).to(device)
    accelerated = device != "cpu"
    size, workers = (128, os.cpu_count()) if accelerated else (32, 2)
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    steps.append(transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    splits = [root / split for split in ("train", "val") if (root / split).is_dir()] or [root]
    images = ConcatDataset([datasets.ImageFolder(split, transforms.Compose(steps)) for split in splits])
    images = Subset(images, range(min(count, len(images))))
    rows = []
    with torch.no_grad():
        network(torch.zeros(size, 3, 224, 224, device=device))[node].cpu()
        start = time.perf_counter()
        for batch, _ in DataLoader(images, batch_size=size, num_workers=workers, pin_memory=accelerated):
            found = network(batch.to(device, non_blocking=True))[node]
            rows.append((found.mean((2, 3)) if found.dim() == 4 else found).cpu())
        seconds = time.perf_counter() - start
    assert len(torch.cat(rows)) == len(images)
    return {"seconds": seconds / len(images)}


def img2vec(name, root, count, device):
    """Return the seconds of img2vec_pytorch per image, in batches of 32 as its own page shows."""
    from PIL import Image

    files = sorted(root.rglob("*.jp*g"))[:count]
    with tempfile.TemporaryDirectory() as home:
        network = _img2vec(name, Path(home), cuda=device != "cpu")
        start = time.perf_counter()
        rows = 0
        for first in range(0, len(files), 32):
            rows += len(network.get_vec([Image.open(file).convert("RGB") for file in files[first : first + 32]]))
        seconds = time.perf_counter() - start
    assert rows == len(files)
    return {"seconds": seconds / len(files)}


def _img2vec(name, home, *, cuda):
    """Return it with random parameters, by a file where torchvision looks for its own."""
    import torch
    import torchvision
    from img2vec_pytorch import Img2Vec

    url = torchvision.models.get_model_weights(name).DEFAULT.url
    path = home / "hub" / "checkpoints" / url.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    torch.save(getattr(torchvision.models, name)().state_dict(), path)
    os.environ["TORCH_HOME"] = str(home)
    return Img2Vec(model=name, cuda=cuda)


def ours(name, root, count, device, precision, decode):
    """Return the seconds of fc7 per image, and those of its parts by themselves."""
    import numpy as np

    from fc7.extract import fill, load_backbone, read_manifest
    from fc7.extract.backbones.torch_runtime import each_with
    from fc7.extract.engines.local import MOST_THREADS
    from fc7.extract.engines.malloc import keep_freed_memory
    from fc7.extract.machine import cores
    from fc7.extract.manifest.manifest import Manifest

    manifest = read_manifest(root)
    manifest = Manifest(manifest.root, manifest.images[:count], manifest.classes)
    with tempfile.TemporaryDirectory() as cache:
        options = {"weights": "random:0", "device": device, "precision": precision, "decode": decode}
        backbone = load_backbone(name, LAYERS[name], cache=cache, **options)
        pixels = np.random.default_rng(0).integers(0, 256, (backbone.batch_size, 224, 224, 3), dtype=np.uint8)
        backbone.forward(pixels)
        done = fill(manifest, [backbone], cache=cache)[0]
    threads = min(cores(), MOST_THREADS) if device == "cpu" else 1

    def ready(_):
        start, images = time.perf_counter(), 0
        while time.perf_counter() - start < READY:
            backbone.forward(pixels)
            images += len(pixels)
        return images / (time.perf_counter() - start)

    with (
        keep_freed_memory(),
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
    from fc7.extract.decoding.decode import decode, read_image_bytes
    from fc7.extract.decoding.views import view

    wanted = Input(Transform(), DECODES["exact"], 0)
    files = manifest.files[:150]
    start = time.perf_counter()
    for path in files:
        view(decode(read_image_bytes(path)), wanted, b"")
    return (time.perf_counter() - start) / len(files)


def once(*words):
    """Measure in a process of its own."""
    command = [sys.executable, __file__, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measure(name, root, rounds, device):
    """Return all rounds of one backbone, in turns."""
    contenders = {"plain": []} | {
        label: how for label, how in OURS.items() if device == "cuda" or "hardware" not in how
    }
    if name in IMG2VEC and importlib.util.find_spec("img2vec_pytorch"):
        contenders["img2vec"] = []
    found = {label: [] for label in contenders}
    for _ in range(rounds):
        for label, words in contenders.items():
            who = "ours" if words else label
            found[label].append(once(str(root), "--device", device, "--one", name, who, *words))
    return found


def summary(name, found, device):
    """Return medians and ratios of one backbone."""
    labels = [label for label in OURS if label in found]

    def bound(one):
        forward, decode = one["forward"], one["decode"] / os.cpu_count()
        return forward + decode if device == "cpu" else max(forward, decode)

    def median(label, part="seconds"):
        return statistics.median(one[part] for one in found[label])

    rows = {}
    for label in labels:
        shares = [bound(one) / one["seconds"] for one in found[label]]
        rows[label] = {
            "images_per_second": 1 / median(label),
            "against_plain": median("plain") / median(label),
            "share_of_bound": statistics.median(shares),
            "forward_ms": 1e3 * median(label, "forward"),
            "decode_ms": 1e3 * median(label, "decode"),
        }
    others = {f"{label}_images_per_second": 1 / median(label) for label in ("plain", "img2vec") if label in found}
    stages = {label: found[label][-1]["stages"] for label in labels}
    return {"backbone": name, "layer": LAYERS[name], "device": device, **others, "stages": stages} | rows


def show(row):
    """Print one backbone's lines of the table."""
    other = f"{row['img2vec_images_per_second']:.0f}" if "img2vec_images_per_second" in row else ""
    for label in (label for label in OURS if label in row):
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
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--copies", type=int, default=3, help="of each photograph")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, who, *how = arguments.one
        count = IMAGES.get(name, 10**6) if arguments.device == "cpu" else 10**6
        work = {"plain": plain, "ours": ours, "img2vec": img2vec}[who]
        print(json.dumps(work(name, arguments.data, count, arguments.device, *how)))
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
        copied(arguments.data, Path(folder), arguments.copies)
        for name in arguments.backbone or LAYERS:
            found = measure(name, Path(folder), arguments.rounds, arguments.device)
            rows.append(summary(name, found, arguments.device))
            show(rows[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
